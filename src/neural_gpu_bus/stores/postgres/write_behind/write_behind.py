"""Rows that are on the local disk when the call returns, and in PostgreSQL soon after."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import (
    BadParameterError,
    ClosedError,
    DeliveryTimeoutError,
    JournalFullError,
    RowsRefusedError,
)
from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name
from neural_gpu_bus.stores.postgres.write_behind.delivery import Batch, Courier, Lend
from neural_gpu_bus.stores.postgres.write_behind.delivery_thread import DeliveryThread
from neural_gpu_bus.stores.postgres.write_behind.disk import disk_trouble_told
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal
from neural_gpu_bus.stores.postgres.write_behind.journal_folder import JournalFolder
from neural_gpu_bus.stores.postgres.write_behind.journal_writer import JournalWriter
from neural_gpu_bus.stores.postgres.write_behind.payload import (
    check_types,
    decode_payload,
    encode_payload,
)
from neural_gpu_bus.stores.postgres.write_behind.receipts import (
    Acknowledgement,
    State,
    WriteBehindStatistics,
)
from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    RecordMetadata,
    WriteBehindMode,
    encode_body,
)
from neural_gpu_bus.stores.postgres.write_behind.room import Room
from neural_gpu_bus.stores.postgres.write_behind.set_aside import RefusedRows
from neural_gpu_bus.stores.postgres.write_behind.shelf import Shelf

if TYPE_CHECKING:
    import pyarrow as pa

_log = structlog.get_logger(__name__)

#: Segments are deleted whole, so a journal that is nearly full frees an eighth at a time; larger
#: ones than this only take longer to look through after a crash (16 MiB: 20 ms).
SEGMENT_BYTES_MAX = 16 << 20
SEGMENT_BYTES_MIN = 64 << 10


class WriteBehind:
    """Journals below ``folder``, delivered by a thread of its own. Thread-safe; the child of a fork
    has a journal of its own and leaves its parent's alone.

    ``lend`` gives a connection; ``address`` stands in messages; ``bytes_max`` bounds what waits on
    disk; ``close_timeout_s`` bounds the last try.
    """

    def __init__(
        self, lend: Lend, address: str, folder: Path, *, bytes_max: int, close_timeout_s: float
    ) -> None:
        self._courier = Courier(lend, address)
        self._folder_path = folder
        self._bytes_max = bytes_max
        self._close_timeout_s = close_timeout_s
        self._starting = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._starting = threading.Lock()
        self._closed = False
        self._room = Room(self._bytes_max)
        self._folder = JournalFolder(self._folder_path, self._room)
        self._shelf = Shelf()
        self._own: Journal | None = None
        self._writer: JournalWriter | None = None
        self._thread: DeliveryThread | None = None

    # ---- storing

    def store_later(
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: WriteBehindMode = "append",
        job_id: str | None = None,
    ) -> Acknowledgement:
        """Return once the rows are on the local disk, where neither kill -9 nor a power cut takes
        them; they are stored as ``PostgresWriter.store`` would, in order within a table.

        Raises BadParameterError and UnsupportedTypeError for what no table takes, JournalFullError,
        DiskFullError, HostError; then nothing was taken. What only the server can refuse is set
        aside when it does, see ``wait_stored`` and ``set_aside``.
        """
        name = str(parse_table_name(table))
        data = _checked(columns, mode, key)
        metadata = RecordMetadata(
            name, mode, tuple(key or ()), job_id, data.num_rows, time.time_ns()
        )
        journal, writer = self._own_journal()
        body = encode_body(metadata, encode_payload(data), journal.name)
        try:
            sequence = writer.append(name, body)
        except JournalFullError:
            # Others may have delivered theirs since the last look.
            self._room.note_others(self._folder.others_bytes(self._shelf.names()))
            sequence = writer.append(name, body)
        return Acknowledgement(journal.name, sequence, name, data.num_rows, body.nbytes)

    def resume(self) -> None:
        """For this package: deliver what processes that have ended left, where there is any."""
        try:
            is_needed = self._folder.has_leftovers()
        except OSError as error:  # another user's, say: no reason to open no plane
            _log.warning("rows that wait cannot be looked for", error=str(error))
            return
        if is_needed:
            self._started()

    def _started(self) -> DeliveryThread:
        """This process's thread, begun where it is not."""
        if self._process != os.getpid():
            self._begin()
        with self._starting:
            if self._closed:
                raise ClosedError("write-behind is closed", hint="open a new plane")
            if self._thread is None:
                self._thread = DeliveryThread(self._shelf, self._folder, self._courier, self._room)
            return self._thread

    def _own_journal(self) -> tuple[Journal, JournalWriter]:
        thread = self._started()
        with self._starting:
            if self._own is None or self._writer is None:
                with disk_trouble_told(self._folder_path):
                    self._own = self._folder.make()
                segment_bytes = min(SEGMENT_BYTES_MAX, max(SEGMENT_BYTES_MIN, self._bytes_max // 8))
                self._writer = JournalWriter(
                    self._own,
                    self._room,
                    segment_bytes=segment_bytes,
                    on_durable=thread.wake,
                )
                thread.own(self._own, self._writer)
                self._shelf.add(self._own)
            return self._own, self._writer

    # ---- waiting

    def wait_stored(
        self, acknowledgement: Acknowledgement, timeout_s: float = 60.0
    ) -> StoreReceipt:
        """Wait until those rows are in the table: rows stored and up to where the log has them.

        Raises RowsRefusedError with the server's reason, DeliveryTimeoutError (the rows stay on
        disk), BadParameterError for what another process acknowledged.
        """
        self._check_alive()
        journal = self._shelf.find(acknowledgement.journal)
        if journal is None:
            raise BadParameterError(
                f"journal {acknowledgement.journal!r} is none of this plane's",
                hint="wait in the process that called store_later, before it closes the plane",
                parameter="acknowledgement",
            )
        table, sequence = acknowledgement.table, acknowledgement.sequence
        self._wait(lambda: not journal.waits(table, sequence), timeout_s, f"rows for {table!r}")
        refused = self._folder.set_aside.find(journal.name, sequence)
        if refused is not None:
            raise _refused(refused)
        tally = self._started().tally
        repeated = (journal.name, sequence) in tally.repeated
        rows = 0 if repeated else acknowledgement.rows
        return StoreReceipt(rows=rows, lsn=tally.lsn, repeated=repeated)

    def flush(self, timeout_s: float = 60.0) -> StoreReceipt:
        """Wait until all that this plane acknowledged before is in its tables: rows stored
        meanwhile, and up to where the log has them.

        Raises RowsRefusedError where rows were refused meanwhile, DeliveryTimeoutError.
        """
        self._check_alive()
        journal, writer, thread = self._own, self._writer, self._thread
        if journal is None or writer is None or thread is None:
            return StoreReceipt(rows=0, lsn="")
        last, rows_before = writer.last_sequence, thread.tally.rows
        known = self._folder.set_aside.sequences(journal.name)
        self._wait(
            lambda: not any(journal.waits(table, last) for table in journal.tables()),
            timeout_s,
            "rows",
        )
        for sequence in sorted(self._folder.set_aside.sequences(journal.name) - known):
            refused = self._folder.set_aside.find(journal.name, sequence)
            if refused is not None:
                raise _refused(refused)
        return StoreReceipt(rows=thread.tally.rows - rows_before, lsn=thread.tally.lsn)

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        self._started().hurry()
        if self._shelf.wait_until(lambda: condition() or self._closed, timeout_s):
            if not condition():
                raise ClosedError("write-behind was closed meanwhile", hint="open a new plane")
            return
        why = self._started().tally.last_error
        raise DeliveryTimeoutError(
            f"{what} were not delivered within {timeout_s:g} s"
            + (f"; the last try failed: {why}" if why else ""),
            hint="they stay on disk and are delivered when PostgreSQL takes them; see "
            "plane.write_behind.statistics()",
            timeout_s=timeout_s,
        )

    def _check_alive(self) -> None:
        if self._process != os.getpid():
            self._begin()
        if self._closed:
            raise ClosedError("write-behind is closed", hint="open a new plane")

    # ---- what was refused

    def set_aside(self) -> list[RefusedRows]:
        """All rows of this home and server that were refused, oldest first."""
        return self._folder.set_aside.all()

    def columns_of(self, refused_id: str) -> pa.Table:
        """The rows that are set aside by that id. Raises BadParameterError."""
        return decode_payload(self._folder.set_aside.record(refused_id).payload)

    def retry(self, refused_id: str) -> StoreReceipt:
        """Store rows that are set aside, now: after what was stored since. Once, also when the
        answer is lost and this is called again. Raises what ``PostgresWriter.store`` raises; then
        they stay set aside.
        """
        record = self._folder.set_aside.record(refused_id)
        tables = [decode_payload(record.payload)]
        stored = self._courier.deliver(Batch(refused_id, record.metadata.table, [record], tables))
        with suppress(BadParameterError):  # another process was as quick
            self._folder.set_aside.settle(refused_id)
        self._courier.forget(refused_id)
        return StoreReceipt(rows=stored.rows, lsn=stored.lsn, repeated=bool(stored.repeated))

    def drop(self, refused_id: str) -> None:
        """Forget rows that are set aside, for good. Raises BadParameterError."""
        self._folder.set_aside.settle(refused_id)

    # ---- how it stands, and the end

    def statistics(self) -> WriteBehindStatistics:
        """At this moment."""
        if self._process != os.getpid():
            self._begin()
        records, nbytes = self._shelf.waiting()
        oldest_ns = self._shelf.oldest_ns()
        age_s = 0.0 if oldest_ns is None else max(0.0, (time.time_ns() - oldest_ns) / 1e9)
        tally = self._thread.tally if self._thread else None
        return WriteBehindStatistics(
            state=self._state(records),
            waiting_records=records,
            waiting_bytes=nbytes,
            oldest_waiting_s=age_s,
            delivered_records=tally.records if tally else 0,
            delivered_rows=tally.rows if tally else 0,
            refused_records=tally.refused if tally else 0,
            set_aside=tuple(self.set_aside()),
            last_error=tally.last_error if tally else "",
            disk_bytes=self._folder.all_bytes(),
            journals=self._folder.count(),
            disk_bytes_max=self._bytes_max,
        )

    def _state(self, waiting_records: int) -> State:
        if self._closed:
            return "closed"
        if not waiting_records:
            return "idle"
        is_away = self._thread is not None and self._thread.tally.is_server_away
        return "server away" if is_away else "delivering"

    def close(self) -> None:
        """Try to deliver for ``close_timeout_s`` at most; what is left stays on disk, for the next
        plane of this home. Harmless when repeated.
        """
        if self._process != os.getpid():
            return
        with self._starting:
            if self._closed:
                return
            self._closed = True
        self._shelf.notify()
        if self._writer is not None:
            self._writer.close()
        if self._thread is not None:
            self._thread.close(self._close_timeout_s)
        records, nbytes = self._shelf.waiting()
        if records:
            _log.warning(
                "rows stay on disk; the next plane of this home delivers them",
                records=records,
                bytes=nbytes,
                folder=str(self._folder_path),
            )


def _checked(columns: Any, mode: str, key: Sequence[str] | None) -> pa.Table:
    """The columns, as far as they can be checked without the server."""
    if mode not in ("append", "upsert"):
        raise BadParameterError(
            f"mode {mode!r} is none of append, upsert", hint="use one", parameter="mode"
        )
    if isinstance(key, str):
        raise BadParameterError(
            f"key is the text {key!r}, and no list of columns",
            hint=f"write key=[{key!r}]",
            parameter="key",
        )
    data = as_table(columns)
    bad = first_bad_name(data.column_names)
    if bad is not None:
        raise BadParameterError(bad.why, hint=bad.hint, parameter=bad.column or "columns")
    missing = next((name for name in key or () if name not in data.column_names), None)
    if missing is not None:
        raise BadParameterError(
            f"key column {missing!r} is not among the columns {', '.join(data.column_names)}",
            hint="name columns that are there",
            parameter="key",
        )
    check_types(data.schema)
    return data


def _refused(refused: RefusedRows) -> RowsRefusedError:
    return RowsRefusedError(
        f"{refused.rows:,} rows for table {refused.table!r} were refused and are set aside: "
        f"{refused.reason}",
        hint=f"{refused.hint}; then plane.write_behind.retry({refused.id!r}), or drop",
        id=refused.id,
        table=refused.table,
        reason=refused.reason,
        kind=refused.kind,
    )
