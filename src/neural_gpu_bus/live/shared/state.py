"""What the one process that follows PostgreSQL says: ``LiveState``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from neural_gpu_bus.errors import ClosedError, ProtocolError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.shared import words as layout
from neural_gpu_bus.live.shared.freshness import own_start_ns
from neural_gpu_bus.live.shared.manifest import (
    SHOWN_STATES,
    Manifest,
    TableState,
    by_name,
    read_manifest,
    write_manifest,
)
from neural_gpu_bus.memory.files.folder import folder_locked, make_file, no_room_told
from neural_gpu_bus.memory.series.clock import view
from neural_gpu_bus.memory.series.locking import NOBODY, WRITER, WriterLock
from neural_gpu_bus.memory.series.order import KEEPS_ORDER

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

#: Why tables of a writer that ended are not fresh, until the next one has looked at them.
TAKEN_OVER = "the process that followed it ended, and another has just begun"


class LiveState:
    """The writer's side: one a memory folder, in one process, safe for its threads.

    The order of its calls makes true what readers conclude. *Publish, then* ``applied``: who sees
    a position sees its rows. ``set_table`` *with another state than live, then publish* a step that
    the table does not follow. *Publish a new version whole, then* ``set_table`` with it as
    ``live``, *then* remove the old one. When tables are given up because the stream is another
    (server, timeline, slot), ``begin_anew`` first.
    """

    def __init__(
        self,
        memory: Path,
        *,
        published: tuple[int, int] = (0, 0),
        clock_ns: Callable[[], int] = host_clock_ns,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises SeriesBusyError with the pid of the process that has it, SharedMemoryFullError.

        Tables of the writer before become ``stale``, as of where that one had come.
        ``published``: position and commit time in the group's newest stamp. A writer that was
        killed between publishing them and saying so left them there alone.
        """
        self._clock_ns, self._wall_clock_ns = clock_ns, wall_clock_ns
        self._turn = threading.RLock()
        folder = layout.state_path(memory).parent
        _make_lock_file(folder)
        self._lock: WriterLock | None = WriterLock(folder, "live")
        try:
            self._array = _opened(memory)
            self._words = view(self._array).cast("q")
            self._store = ordered_store(self._array, self._words)
            found = read_manifest(self._array, self._words)
            self._manifest = found or Manifest(self._words[layout.EPOCH])
            self._tables = by_name(self._manifest.tables)
            if found is None:  # of another version, or damaged: what there is will be told anew
                self._tell(Manifest(self._manifest.epoch + 1))
            if published[0] > self._words[layout.APPLIED_LSN]:
                self.applied(*published)
            #: What the writer before had applied.
            self.applied_before = self._words[layout.APPLIED_LSN]
            self.begin_anew(TAKEN_OVER)
            self._store(layout.WRITER_STARTED_NS, own_start_ns())
            self._store(layout.WRITER_PID, os.getpid())
            self._store(layout.CLOCK, layout.clock_number())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write; readers see that nobody does. Harmless when repeated."""
        with self._turn:
            if self._lock is not None:
                if hasattr(self, "_store"):
                    self._store(layout.WRITER_PID, 0)
                self._lock.close()
                self._lock = None

    # ---- how far the stream has come

    def beat(self, received_lsn: int | None = None) -> None:
        """This process lives; several times a second. ``received_lsn``: last byte received."""
        if received_lsn is not None:
            self._store(layout.RECEIVED_LSN, received_lsn)
        self._store(layout.HEARTBEAT_WALL_NS, self._wall_clock_ns())
        self._store(layout.HEARTBEAT_NS, self._clock_ns())

    def applied(self, lsn: int, committed_ns: int = 0) -> None:
        """What is published is every live table as of this position: the end of the last
        transaction, or a keepalive's position while nothing is open. ``committed_ns``: of that
        transaction, since 1970; 0 leaves the one before.
        """
        if committed_ns:
            self._store(layout.COMMITTED_NS, committed_ns)
        self._store(layout.APPLIED_LSN, lsn)

    def confirmed(self, at_ns: int) -> None:
        """Whatever was committed before that moment of the host's clock is published; see
        ``AskedPositions``. 0: not known yet.
        """
        self._store(layout.CONFIRMED_NS, at_ns)

    def shown(self, name: str, lsn: int, confirmed_ns: int) -> None:
        """The same of one ``polled`` table: told when what it shows is published."""
        table = self._tables.get(name)
        if table is not None:
            self._words[layout.table_word(table.place, layout.SHOWN_LSN)] = lsn
            self._store(layout.table_word(table.place, layout.SHOWN_CONFIRMED_NS), confirmed_ns)

    def count(
        self,
        name: str,
        *,
        rows_copied: int | None = None,
        rows_expected: int | None = None,
        bytes_copied: int | None = None,
        changes: int = 0,
        transactions: int = 0,
        stream_bytes: int = 0,
    ) -> None:
        """Counters of a table: the copy's as they stand, the others by how much they grew. Nothing
        where it was dropped meanwhile.
        """
        table, words = self._tables.get(name), self._words
        if table is None:
            return
        place = table.place
        given = {
            layout.ROWS_EXPECTED: rows_expected,
            layout.ROWS_COPIED: rows_copied,
            layout.BYTES_COPIED: bytes_copied,
        }
        for word, value in given.items():
            if value is not None:
                words[layout.table_word(place, word)] = value
        grown = {
            layout.CHANGES: changes,
            layout.TRANSACTIONS: transactions,
            layout.STREAM_BYTES: stream_bytes,
        }
        for word, more in grown.items():
            if more:
                words[layout.table_word(place, word)] += more

    # ---- tables

    @property
    def tables(self) -> dict[str, TableState]:
        """As last told, without their counters."""
        return dict(self._tables)

    def set_table(self, table: TableState) -> TableState:
        """Tell of a table, added where it is new; see ``set_tables``."""
        return self.set_tables([table])[0]

    def set_tables(self, several: Iterable[TableState]) -> list[TableState]:
        """Tell of tables in one step; what is told now, completed.

        ``series`` counts where the state is ``live``: else readers keep the version they have, and
        what that is as of is kept for them. Raises BadParameterError for too many tables.
        """
        with self._turn:
            epoch, tables = self._manifest.epoch + 1, dict(self._tables)
            told = []
            for given in several:
                table = self._completed(given, tables, epoch)
                tables[table.name] = table
                told.append(table)
                if given.rows_copied or given.rows_expected:
                    self._words[layout.table_word(table.place, layout.ROWS_COPIED)] = (
                        given.rows_copied
                    )
                    self._words[layout.table_word(table.place, layout.ROWS_EXPECTED)] = (
                        given.rows_expected
                    )
            if tables != self._tables:
                self._tell_more(tables=tuple(tables.values()))
            return told

    def drop_table(self, name: str) -> None:
        """Readers are told that it is live no more. Nothing where it was not."""
        with self._turn:
            kept = tuple(table for table in self._tables.values() if table.name != name)
            if len(kept) < len(self._tables):
                self._tell_more(tables=kept)

    def set_source(self, source: str) -> None:
        """Where tables come from, for a person: no password."""
        with self._turn:
            self._tell_more(source=source)

    def set_slot(self, slot: str, *, alarm: str = "") -> None:
        """A slot that outlives this process, for a person; empty for none."""
        with self._turn:
            if (slot, alarm) != (self._manifest.slot, self._manifest.slot_alarm):
                self._tell_more(slot=slot, slot_alarm=alarm)

    def begin_anew(
        self, why: str, names: Collection[str] | None = None, *, retry_ns: int = 0
    ) -> None:
        """Another stream: nothing is known of it yet. Tables that readers see are ``stale`` as of
        where this one had come; the others are ``starting``. ``names``: of those that follow it;
        None: all. ``retry_ns``: when the next stream is tried, by the host's clock.
        """
        with self._turn:
            several = [
                msgspec.structs.replace(
                    table,
                    state="stale" if table.series else "starting",
                    detail=why,
                    error=None,
                    retry_ns=retry_ns,
                )
                for table in self._tables.values()
                if names is None or table.name in names
            ]
            self.set_tables(several)
            for word in (
                layout.CONFIRMED_NS,
                layout.APPLIED_LSN,
                layout.COMMITTED_NS,
                layout.RECEIVED_LSN,
            ):
                self._store(word, 0)

    # ---- inside

    def _completed(
        self, given: TableState, tables: dict[str, TableState], epoch: int
    ) -> TableState:
        before = tables.get(given.name)
        was = "" if before is None else before.state
        place = self._new_place(tables) if before is None else before.place
        kept = before or TableState(given.name)
        since_ns = kept.since_ns if given.state == kept.state and before else self._wall_clock_ns()
        words = self._words
        if given.state in SHOWN_STATES:
            shown = (given.series, 0, 0, 0)
        elif was == "polled":
            lsn = words[layout.table_word(place, layout.SHOWN_LSN)]
            at_ns = words[layout.table_word(place, layout.SHOWN_CONFIRMED_NS)]
            shown = (kept.series, lsn, 0, at_ns)
        elif was == "live":
            lsn, committed_ns = words[layout.APPLIED_LSN], words[layout.COMMITTED_NS]
            shown = (kept.series, lsn, committed_ns, words[layout.CONFIRMED_NS])
        else:
            shown = (kept.series, kept.lsn, kept.committed_ns, kept.confirmed_ns)
        same = shown[0] == kept.series and (was in SHOWN_STATES) == (given.state in SHOWN_STATES)
        return msgspec.structs.replace(
            given,
            series=shown[0],
            lsn=shown[1],
            committed_ns=shown[2],
            confirmed_ns=shown[3],
            since_ns=given.since_ns or since_ns,
            version=kept.version if same and before else epoch,
            place=place,
        )

    def _new_place(self, tables: dict[str, TableState]) -> int:
        """Counters that no table has, all 0."""
        taken = {table.place for table in tables.values()}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        if place < layout.TABLES_MAX:
            for word in range(layout.TABLE_WORDS):
                self._words[layout.table_word(place, word)] = 0
        return place

    def _tell_more(self, **parts: object) -> None:
        epoch = self._manifest.epoch + 1
        self._tell(msgspec.structs.replace(self._manifest, epoch=epoch, **parts))

    def _tell(self, manifest: Manifest) -> None:
        if self._lock is None:
            raise ClosedError("this state is closed", hint="open another: LiveState(folder)")
        write_manifest(self._array, manifest)
        self._store(layout.EPOCH, manifest.epoch)
        self._manifest, self._tables = manifest, by_name(manifest.tables)


def _make_lock_file(folder: Path) -> None:
    """Room for the writer's pid is there before it is needed."""
    with folder_locked(folder), no_room_told(folder, len(NOBODY)):
        if not (folder / WRITER).exists():
            file = make_file(folder / WRITER)
            try:
                os.write(file, NOBODY)
            finally:
                os.close(file)


def _opened(memory: Path) -> Bytes:
    """The file for its one writer; of another layout, its readers are told and a new one made."""
    path = layout.make_state_file(memory)
    try:
        return layout.map_state(path, writable=True)
    except ProtocolError:
        layout.replace_state_file(path)
        return layout.map_state(path, writable=True)


def ordered_store(array: Bytes, words: memoryview) -> Callable[[int, int], None]:
    """One aligned store, after all before it. x86 keeps stores in order by itself."""
    if KEEPS_ORDER:
        return words.__setitem__
    from functools import partial

    import numpy as np

    from neural_gpu_bus.memory.series.kernels import store_in_order

    return partial(store_in_order, array.view(np.int64))
