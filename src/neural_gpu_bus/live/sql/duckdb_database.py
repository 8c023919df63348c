"""DuckDB, held so that a statement sees the tables it is given and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import (
    BadParameterError,
    HostError,
    MissingDependencyError,
    QueryError,
    QueryTimeoutError,
)
from neural_gpu_bus.sql_text import quoted_name

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Params = Mapping[str, Any] | Sequence[Any] | None

#: Rows that are taken at a time: between two, the result's bytes are counted.
BATCH_ROWS = 100_000
#: A statement that is given up is told again: one that had not begun does not hear it.
INTERRUPT_EVERY_S = 0.02
#: What may stand behind FROM besides tables. Others read files, or memory at any address.
TABLE_FUNCTIONS = frozenset({"generate_series", "range", "repeat", "unnest", "json_each"})
#: No files, no network, nothing loaded, no variables of the calling program; and where DuckDB lets
#: one choose, PostgreSQL's meaning, so that a statement answers the same in both.
_OPTIONS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "integer_division": "true",
    "default_null_order": "postgres",
    "arrow_large_buffer_size": "true",
}


class TableNamed(NamedTuple):
    """A table as a statement names it; what it leaves out is empty."""

    catalog: str
    schema: str
    name: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)


class DuckDbDatabase:
    """One database in memory that stays empty: each statement has tables of its own."""

    def __init__(self, bytes_max: int) -> None:
        """``bytes_max``: of a result, and of what DuckDB may take to make it.

        Raises MissingDependencyError.
        """
        self._bytes_max = bytes_max
        self._database = _opened(bytes_max)

    def close(self) -> None:
        """Statements that run end with an error."""
        self._database.close()

    def tables_of(self, statement: str) -> list[TableNamed]:
        """Tables that a SELECT names, by DuckDB's own parser, which asks nobody whether they are
        there; those that it makes itself (WITH) count in.

        Raises QueryError for what is none, BadParameterError for what is no single SELECT.
        """
        with self._database.cursor() as session:
            _check_select(session, statement)
            row = session.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchone()
        assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
        found = json.loads(row[0])
        if found["error"]:
            if found["error_type"] == "not implemented":  # PRAGMA, to name one
                raise _no_select("another statement")
            raise _refused(found["error_message"])
        named = list(dict.fromkeys(_named(found)))
        for name in named:
            if isinstance(name, str) and name.lower() not in TABLE_FUNCTIONS:
                raise _no_function(name)
        return [name for name in named if isinstance(name, TableNamed)]

    def run(
        self,
        statement: str,
        params: Params,
        tables: Mapping[TableNamed, pa.Table],
        timeout_s: float,
    ) -> pa.Table:
        """The answer. Raises QueryError, QueryTimeoutError, HostError where memory is short."""
        import duckdb
        import pyarrow as pa

        def answered() -> pa.Table:
            _show(session, tables)
            return self._answer(session, statement, params)

        with ExitStack() as closing:
            database = self._database
            if any(name.schema for name in tables):  # schemas are seen by all of a database
                database = closing.enter_context(_opened(self._bytes_max))
            session = closing.enter_context(database.cursor())
            try:
                return _within(timeout_s, session, answered)
            except (duckdb.Error, pa.ArrowException, OSError, RuntimeError) as error:
                raise self._told(error) from None

    def _answer(
        self, session: duckdb.DuckDBPyConnection, statement: str, params: Params
    ) -> pa.Table:
        import pyarrow as pa

        given = dict(params) if isinstance(params, Mapping) else list(params or ())
        asked = session.execute(statement, given or None)
        # duckdb 1.4 and older have it under another name.
        read: Any = getattr(asked, "to_arrow_reader", None) or asked.fetch_record_batch
        reader = read(BATCH_ROWS)
        batches, nbytes = [], 0
        for batch in reader:
            batches.append(batch)
            nbytes += batch.nbytes
            if nbytes > self._bytes_max:
                raise self._no_room(f"the result has over {nbytes:,} bytes")
        return pa.Table.from_batches(batches, reader.schema)

    def _told(self, error: Exception) -> Exception:
        """What DuckDB raised; by way of Arrow's batches it comes as another class."""
        if isinstance(error, QueryTimeoutError | HostError):
            return error
        said = str(error)
        return self._no_room(said) if "Out of Memory" in said else _refused(said)

    def _no_room(self, why: str) -> HostError:
        return HostError(
            f"the statement needs more memory than {self._bytes_max:,} bytes: {_first_line(why)}",
            hint="narrow the statement, or raise NGB_QUERY_BYTES_MAX",
            bytes_max=self._bytes_max,
        )


def _opened(bytes_max: int) -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
    except ImportError:
        raise MissingDependencyError(
            "duckdb is not installed, and plane.sql asks it",
            hint="pip install 'neural-gpu-bus[analysis]'",
            library="duckdb",
            extra="analysis",
        ) from None
    options: dict[str, Any] = _OPTIONS | {"memory_limit": f"{max(1, bytes_max >> 20)}MiB"}
    database = duckdb.connect(":memory:", config=options)
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    database.execute("SET lock_configuration = true")
    return database


def _within(
    timeout_s: float, session: duckdb.DuckDBPyConnection, work: Callable[[], pa.Table]
) -> pa.Table:
    """What ``work`` answers, done by a thread of its own: DuckDB itself looks for Ctrl-C seldom.

    Raises QueryTimeoutError.
    """
    answer: Future[pa.Table] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001  whoever waits raises it
            answer.set_exception(error)

    thread = threading.Thread(target=do, name="ngb-sql", daemon=True)
    thread.start()
    try:
        wait([answer], min(timeout_s, threading.TIMEOUT_MAX))
        if answer.done():
            return answer.result()
        raise _too_long(timeout_s)
    finally:
        while thread.is_alive():
            if not answer.done():
                session.interrupt()
            thread.join(INTERRUPT_EVERY_S)


def _check_select(session: duckdb.DuckDBPyConnection, statement: str) -> None:
    import duckdb

    try:
        found = session.extract_statements(statement)
    except duckdb.Error as error:
        raise _refused(str(error)) from None
    kinds = [one.type.name for one in found]
    if kinds != ["SELECT"]:
        raise _no_select(" and ".join(kinds[:5]) or "no statement")


def _no_select(what: str) -> BadParameterError:
    return BadParameterError(
        f"plane.sql answers one SELECT, this is {what}",
        hint="live tables are read; plane.store writes, plane.query asks PostgreSQL. "
        "PIVOT needs its values: IN (...)",
        parameter="statement",
    )


def _named(node: Any) -> Iterator[TableNamed | str]:
    """Tables and table functions (a text each) of a parse tree."""
    if isinstance(node, list):
        for one in node:
            yield from _named(one)
    elif isinstance(node, dict):
        kind = node.get("type")
        if kind == "BASE_TABLE":
            parts = ("catalog_name", "schema_name", "table_name")
            yield TableNamed(*(node.get(part) or "" for part in parts))
        elif kind == "TABLE_FUNCTION":
            yield str(node["function"]["function_name"])
        for one in node.values():
            yield from _named(one)


def _show(session: duckdb.DuckDBPyConnection, tables: Mapping[TableNamed, pa.Table]) -> None:
    """Under the names that the statement has for them."""
    for number, (name, table) in enumerate(tables.items()):
        if not name.schema:
            session.register(name.name, table)
            continue
        session.register(f"__live_{number}", table)
        schema = quoted_name(name.schema)
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        session.execute(
            f"CREATE VIEW {schema}.{quoted_name(name.name)} AS SELECT * FROM __live_{number}"  # noqa: S608
        )


def _no_function(name: str) -> BadParameterError:
    return BadParameterError(
        f"plane.sql reads live tables, and not what {name}() does",
        hint=f"behind FROM there may be tables and {', '.join(sorted(TABLE_FUNCTIONS))}",
        parameter="statement",
    )


def _refused(said: str) -> QueryError:
    """DuckDB's own words: the first line says what it is, the others where, or what else."""
    first, _, place = said.strip().partition("\n")
    hint = f"DuckDB says:\n{place.strip(chr(10))}" if "LINE " in place else place.strip()
    return QueryError(f"DuckDB refused the statement: {first}", hint=hint, sqlstate="")


def _first_line(said: str) -> str:
    return said.strip().partition("\n")[0]


def _too_long(timeout_s: float) -> QueryTimeoutError:
    return QueryTimeoutError(
        f"DuckDB did not finish the statement in {timeout_s:g} s; it was cancelled",
        hint="narrow the statement, or give it a longer timeout_s",
        timeout_s=timeout_s,
        sqlstate=None,
    )
