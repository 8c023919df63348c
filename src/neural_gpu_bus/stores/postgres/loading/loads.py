"""Files into tables: one transaction a file, safe to repeat, nothing half-done left behind.

The bytes of each file are known by their hash in ``ngb_ledger.loaded_files``, written in the same
transaction as the rows: loading the same bytes into the same table again adds nothing. Tables
with a key take a file by upsert, so that an overlapping file corrects rows instead of doubling
them, and the same file again brings back what was deleted or changed since. A table without a key
cannot tell which rows those are: the report says how many are missing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pyarrow as pa
from psycopg import sql

from neural_gpu_bus.errors import (
    BadFileError,
    BadParameterError,
    BadValueError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.files import DataFile, FileRows, open_file
from neural_gpu_bus.stores.files.content import bad_file
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.loading.known_schemas import recognise
from neural_gpu_bus.stores.postgres.loading.read_ahead import read_ahead
from neural_gpu_bus.stores.postgres.loading.table_state import table_state
from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name
from neural_gpu_bus.stores.postgres.tables.table_definition import (
    TableDefinition,
    nanosecond_columns,
    read_table,
)
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name
from neural_gpu_bus.stores.postgres.writing.ledgers import (
    claim_file,
    ensure_ledgers,
    forget_files,
    loaded_file,
    loaded_rows,
    note_file_rows,
    note_table_state,
)
from neural_gpu_bus.stores.postgres.writing.row_writing import (
    count_rows,
    is_empty,
    mend_rows,
    open_table,
    write_rows,
)
from neural_gpu_bus.stores.postgres.writing.sources import Rows

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Progress
    from neural_gpu_bus.stores.postgres.writing.writer import Lend

#: What a text file's column is read as, by the kind of the existing table's column.
_READ_AS: dict[str, Any] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}


class LoadReport(msgspec.Struct, frozen=True):
    """What loading one file did."""

    file: str
    table: str
    #: Rows of the file; when these bytes had been loaded before, those of them that were missing or
    #: different and are now as in the file.
    rows: int
    #: Size of the file.
    nbytes: int
    seconds: float
    #: True when the table was made for this file.
    created: bool
    #: True when an earlier load of the same bytes made this one a no-op.
    repeated: bool
    #: After a no-op on a table without a key: by how many rows the table is shorter than the files
    #: loaded into it; ``again=True`` loads this one once more.
    missing_rows: int = 0
    #: What is worth a look, in sentences: columns of numbers that were read as text.
    notes: tuple[str, ...] = ()

    @property
    def rows_per_second(self) -> float:
        """Rows written a second, from opening the file to the commit."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0


class FileLoader:
    """Loads files. ``lend`` gives a connection for the time of one file; ``clock_s`` counts
    seconds.
    """

    def __init__(
        self, lend: Lend, address: str, *, clock_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._lend = lend
        self._address = address
        self._clock_s = clock_s

    def load(
        self,
        files: Sequence[str | os.PathLike[str]],
        table: str,
        *,
        key: Sequence[str] | None = None,
        text: Sequence[str] = (),
        again: bool = False,
        progress: Progress | None = None,
    ) -> list[LoadReport]:
        """Load each file into ``table``, in order, each in a transaction of its own.

        ``key``: columns that tell rows apart; left out, the known schemas have theirs and an
        existing table its primary key. ``text``: columns of a CSV that are text whatever they
        look like. ``again``: append also what was loaded before, where the table has no key.
        ``progress`` is told rows done and, where known, all rows of the file.

        Raises BadFileError naming the file and, where there is one, row and column;
        BadParameterError when columns or key do not fit the table. Files before the bad one stay
        loaded.
        """
        name = parse_table_name(table)
        wanted_key = None if key is None else tuple(key)
        loads = [
            _Load(_open(Path(file)), name, wanted_key, tuple(text), again, progress)
            for file in files
        ]
        return [self._run(load) for load in loads]

    def _run(self, load: _Load) -> LoadReport:
        start_s = self._clock_s()
        nbytes = load.file.path.stat().st_size
        with translated(self._address), self._lend() as connection:
            ensure_ledgers(connection)
            outcome = load.run(connection)
        return LoadReport(
            file=str(load.file.path),
            table=str(load.table),
            rows=outcome.rows,
            nbytes=nbytes,
            seconds=self._clock_s() - start_s,
            created=outcome.created,
            repeated=outcome.repeated,
            missing_rows=outcome.missing_rows,
            notes=outcome.notes,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one file; see ``LoadReport``."""

    rows: int = 0
    created: bool = False
    repeated: bool = False
    missing_rows: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Load:
    """One file on its way into one table."""

    file: DataFile
    table: TableName
    #: None: the known schema's, or the existing table's own.
    key: tuple[str, ...] | None
    text: tuple[str, ...]
    again: bool
    progress: Progress | None

    def run(self, connection: psycopg.Connection) -> _Outcome:
        """The whole of it."""
        self._check_text()
        before = _state(self.file.path)
        digest = _sha256(self.file.path)
        found = read_table(connection, self.table)
        if found is not None and self._is_no_work(connection, found, digest):
            return _nothing_done(connection, found)
        data = self.file.read(self._types(connection, found))
        with _names_file(self.file, data), connection.transaction():
            outcome = self._write(connection, data, digest)
            if _state(self.file.path) != before:
                raise bad_file(
                    self.file.path,
                    "changed while it was being loaded",
                    "load it again when nothing writes to it; nothing was stored",
                )
        if outcome.rows:
            connection.execute(sql.SQL("ANALYZE {}").format(self.table.identifier))
        return outcome

    def _is_no_work(
        self, connection: psycopg.Connection, table: TableDefinition, digest: str
    ) -> bool:
        """True when these bytes were loaded and would only be appended, or nothing changed since.
        It saves reading the file; ``claim_file`` is what decides.
        """
        if self.again or is_empty(connection, table):
            return False
        loaded = loaded_file(connection, table.oid, digest)
        if loaded is None or not self._existing_key(table):
            return loaded is not None
        rows, state = loaded
        return state is not None and state == table_state(connection, table, rows)

    def _write(self, connection: psycopg.Connection, data: FileRows, digest: str) -> _Outcome:
        known = recognise(self.file.column_names)
        wanted_key = known.key if self.key is None else self.key
        table = open_table(connection, self.table, data.schema, wanted_key)
        definition = table.definition
        if not table.created and is_empty(connection, definition):
            forget_files(connection, definition.oid)
        key = wanted_key if table.created else self._existing_key(definition)
        rows = Rows(
            data.schema, lambda: _told(read_ahead(data.batches()), data.rows, self.progress)
        )
        if not claim_file(connection, definition.oid, str(self.table), digest):
            if key:
                return _mend(connection, definition, rows, key, digest)
            if not self.again:
                return _nothing_done(connection, definition)
        count = write_rows(
            connection,
            table,
            rows,
            key=key,
            mode="upsert" if key else "append",
            index=() if wanted_key else known.index,
        )
        note_file_rows(connection, definition.oid, digest, count)
        if table.created and key:  # nobody else has seen it yet
            state = table_state(connection, definition, count)
            note_table_state(connection, definition.oid, digest, state)
        return _Outcome(count, created=table.created, notes=data.notes)

    def _types(
        self, connection: psycopg.Connection, table: TableDefinition | None
    ) -> dict[str, pa.DataType]:
        """What the columns of a text file are to be read as, where that is known beforehand."""
        if table is None:
            types = dict(recognise(self.file.column_names).types)
        else:
            types = {
                column.name: _READ_AS.get(column.type.kind, pa.string()) for column in table.columns
            }
            nanoseconds = nanosecond_columns(connection, table)
            types |= dict.fromkeys(nanoseconds, pa.timestamp("ns", "UTC"))
        return types | dict.fromkeys(self.text, pa.string())

    def _check_text(self) -> None:
        unknown = next((name for name in self.text if name not in self.file.column_names), None)
        if unknown is not None:
            raise BadParameterError(
                f"{self.file.path} has no column {unknown!r} to be read as text; it has "
                f"{', '.join(self.file.column_names)}",
                hint="name columns of the file",
                parameter="text",
            )

    def _existing_key(self, table: TableDefinition) -> tuple[str, ...]:
        """What an existing table is upserted by: the key asked for, else its own primary key where
        the file has it; empty to append.
        """
        if self.key is not None:
            return self.key
        has_it = set(table.primary_key) <= set(self.file.column_names)
        return table.primary_key if has_it else ()


def _open(path: Path) -> DataFile:
    """The file, whose columns a table can have."""
    file = open_file(path)
    bad = first_bad_name(file.column_names)
    if bad is not None:
        raise bad_file(path, bad.why, bad.hint, column=bad.column)
    return file


def _mend(
    connection: psycopg.Connection,
    table: TableDefinition,
    rows: Rows,
    key: Sequence[str],
    digest: str,
) -> _Outcome:
    """Bring back what is missing or different. The state is taken before: a row that somebody
    changes meanwhile then differs from it.
    """
    loaded = loaded_file(connection, table.oid, digest)
    state = table_state(connection, table, loaded[0]) if loaded else None
    mended = mend_rows(connection, table, rows, key)
    if not mended:
        note_table_state(connection, table.oid, digest, state)
    return _Outcome(mended, repeated=not mended)


def _nothing_done(connection: psycopg.Connection, table: TableDefinition) -> _Outcome:
    """The bytes were there before. Counting tells rows that went only where no file wrote over
    another's.
    """
    if table.unique_keys:
        return _Outcome(repeated=True)
    missing = loaded_rows(connection, table.oid) - count_rows(connection, table)
    return _Outcome(repeated=True, missing_rows=max(0, missing))


def _told(
    batches: Iterator[pa.RecordBatch], rows: int | None, progress: Progress | None
) -> Iterator[pa.RecordBatch]:
    """The batches; ``progress`` hears of each once it was sent."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        if progress is not None:
            progress(done, rows)


@contextmanager
def _names_file(file: DataFile, data: FileRows) -> Iterator[None]:
    """Put the file's name (and line) before what is wrong with a value."""
    try:
        yield
    except BadFileError:
        raise
    except BadValueError as error:
        line = data.line_of(error.row)
        what = error.what
        if line is not None:
            what = what.replace(f"row {error.row}", f"row {error.row} (line {line})", 1)
        raise bad_file(
            file.path, what, error.hint, row=error.row, column=error.facts.get("column"), line=line
        ) from None
    except UnsupportedTypeError as error:
        raise bad_file(
            file.path, error.what, error.hint, column=error.column, type=error.type
        ) from None
    except psycopg.errors.ProgramLimitExceeded as error:  # a row of many columns fits no page
        why = f"PostgreSQL refused it: {error.diag.message_primary}"
        raise bad_file(file.path, why, "spread its columns over several tables") from None


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
