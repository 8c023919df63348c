"""Rows that are on the local disk when the call returns, and in PostgreSQL soon after."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from neural_gpu_bus.arguments import check_job_id, check_seconds
from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import (
    BadParameterError,
    ClosedError,
    DeliveryTimeoutError,
    JournalFullError,
    NeuralGpuBusError,
    RowsRefusedError,
)
from neural_gpu_bus.stores.postgres.write_behind.checking import (
    check_acknowledgement,
    checked_name,
    checked_rows,
)
from neural_gpu_bus.stores.postgres.write_behind.delivery import Batch, Courier, Lend
from neural_gpu_bus.stores.postgres.write_behind.delivery_thread import DeliveryThread
from neural_gpu_bus.stores.postgres.write_behind.disk import disk_trouble_told
from neural_gpu_bus.stores.postgres.write_behind.journal import Journal
from neural_gpu_bus.stores.postgres.write_behind.journal_folder import JournalFolder
from neural_gpu_bus.stores.postgres.write_behind.journal_writer import JournalWriter
from neural_gpu_bus.stores.postgres.write_behind.payload import (
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
        self._begin()
        _opened.add(self)

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._closed = False
        self._room = Room(self._bytes_max)
        self._folder = JournalFolder(self._folder_path, self._room)
        self._shelf = Shelf()
        self._own: Journal | None = None
        self._writer: JournalWriter | None = None
        self._thread: DeliveryThread | None = None
        #: Refused records of the own journal that somebody was told of.
        self._told: set[int] = set()

    def begin_in_child(self) -> None:
        """In the child of a fork: what is open is the parent's."""
        if self._writer is not None:
            self._writer.forget()
        self._begin()

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
        name = checked_name(table)
        check_job_id(job_id)
        data, key = checked_rows(columns, mode, key)
        metadata = RecordMetadata(name, mode, key, job_id, data.num_rows, time.time_ns())
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
        check_acknowledgement(acknowledgement)
        check_seconds("timeout_s", timeout_s)
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
            self._told.add(sequence)
            raise _refused(refused)
        tally = self._started().tally
        repeated = (journal.name, sequence) in tally.repeated
        rows = 0 if repeated else acknowledgement.rows
        return StoreReceipt(rows=rows, lsn=tally.lsn, repeated=repeated)

    def flush(self, timeout_s: float = 60.0) -> StoreReceipt:
        """Wait until all that this process acknowledged before is in its tables: rows stored
        meanwhile, and up to where the log has them.

        Raises RowsRefusedError where some were refused, meanwhile or before, and nobody was told
        yet; DeliveryTimeoutError.
        """
        self._check_alive()
        check_seconds("timeout_s", timeout_s)
        journal, writer, thread = self._own, self._writer, self._thread
        if journal is None or writer is None or thread is None:
            return StoreReceipt(rows=0, lsn="")
        last, rows_before = writer.last_sequence, thread.tally.rows
        self._wait(
            lambda: not any(journal.waits(table, last) for table in journal.tables()),
            timeout_s,
            "rows",
        )
        untold = self._untold(journal.name)
        if untold:
            raise _refused(untold[0], len(untold) - 1)
        return StoreReceipt(rows=thread.tally.rows - rows_before, lsn=thread.tally.lsn)

    def _untold(self, journal: str) -> list[RefusedRows]:
        """Rows of the own journal that are set aside, in order, each told of once."""
        aside = self._folder.set_aside
        sequences = aside.sequences(journal) - self._told
        self._told |= sequences
        found = (aside.find(journal, sequence) for sequence in sorted(sequences))
        return [one for one in found if one is not None]

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
        aside = self._folder.set_aside
        with aside.held(refused_id):
            record = aside.record(refused_id)
            batch = Batch(
                refused_id, record.metadata.table, [record], [decode_payload(record.payload)]
            )
            stored = self._courier.deliver(batch)
            aside.settle(refused_id)
            # The rows are stored: the delivery thread forgets the ledger's row later, else.
            with suppress(NeuralGpuBusError):
                self._courier.forget(refused_id)
        return StoreReceipt(rows=stored.rows, lsn=stored.lsn, repeated=bool(stored.repeated))

    def drop(self, refused_id: str) -> None:
        """Forget rows that are set aside, for good. Raises BadParameterError."""
        with self._folder.set_aside.held(refused_id):
            self._folder.set_aside.settle(refused_id)

    # ---- how it stands, and the end

    def statistics(self) -> WriteBehindStatistics:
        """At this moment."""
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

    def __repr__(self) -> str:
        records, nbytes = self._shelf.waiting()
        return (
            f"WriteBehind {self._state(records)}: {records:,} records wait, {nbytes:,} bytes; "
            "statistics() and set_aside() say more"
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


def _refused(refused: RefusedRows, others: int = 0) -> RowsRefusedError:
    rows = "1 row" if refused.rows == 1 else f"{refused.rows:,} rows"
    was, are = ("was", "is") if refused.rows == 1 else ("were", "are")
    calls = "1 more call was" if others == 1 else f"{others:,} more calls were"
    return RowsRefusedError(
        f"{rows} for table {refused.table!r} {was} refused and {are} set aside: {refused.reason}"
        + (f"; {calls} refused, see plane.write_behind.set_aside()" if others else ""),
        hint=f"{refused.hint}; then plane.write_behind.retry({refused.id!r}), or drop",
        id=refused.id,
        table=refused.table,
        reason=refused.reason,
        kind=refused.kind,
    )


_opened: weakref.WeakSet[WriteBehind] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Before any thread of the child can come: two at once would find half of the parent's."""
    for one in list(_opened):
        one.begin_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
