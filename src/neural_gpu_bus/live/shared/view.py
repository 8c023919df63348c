"""What readers see of it: ``LiveView``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.shared import words as layout
from neural_gpu_bus.live.shared.freshness import (
    SILENT_S,
    LiveAsOf,
    Progress,
    age_s,
    as_of,
    why_silent,
)
from neural_gpu_bus.live.shared.manifest import TableState, by_name, read_manifest
from neural_gpu_bus.memory.series.clock import view

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class _File(NamedTuple):
    """The state file as it was mapped last."""

    array: npt.NDArray[np.uint8]
    words: memoryview
    inode: int


class LiveView:
    """The reader's side, for any number of processes and threads; none waits for the writer.

    ``words[EPOCH]`` moves on with every change of what is told of any table.
    """

    def __init__(self, memory: Path, *, clock_ns: Callable[[], int] = host_clock_ns) -> None:
        """Also where nobody has ever followed anything. Raises SharedMemoryFullError."""
        self.clock_ns = clock_ns
        self._path = layout.make_state_file(memory)
        #: Which clock ``clock_ns`` is, as the writer tells its own in ``words[CLOCK]``.
        self.clock = layout.clock_number()
        self._open()

    def _open(self) -> None:
        array = layout.map_state(self._path)
        inode = os.stat(self._path).st_ino  # noqa: PTH116
        #: In one step, because other threads look meanwhile; no lock, because a child made by fork
        #: would find one that another thread had taken.
        self._file = _File(array, view(array).cast("q"), inode)
        self._known: tuple[memoryview, int, str, dict[str, TableState], tuple[str, str]] | None = (
            None
        )

    @property
    def words(self) -> memoryview:
        """The 64-bit words of the file, see ``words``; another object where the file is another."""
        return self._file.words

    @property
    def epoch(self) -> int:
        """Moves on with every change of what is told of any table."""
        return self.words[layout.EPOCH]

    @property
    def source(self) -> str:
        """Where tables come from."""
        return self._told()[0]

    @property
    def slot(self) -> tuple[str, str]:
        """A slot that outlives the process that reads it, and what is to be worried about of it."""
        return self._told()[2]

    def tables(self) -> dict[str, TableState]:
        """All of them as told now, with their counters."""
        return {name: self._counted(table) for name, table in self._told()[1].items()}

    def table(self, name: str) -> TableState | None:
        """One of them, without its counters; None where it is not live."""
        return self._told()[1].get(name)

    def counted(self, name: str) -> TableState | None:
        """The same with its counters."""
        found = self.table(name)
        return None if found is None else self._counted(found)

    def progress(self) -> Progress:
        """How far the stream has come. What it says is true of what is looked at afterwards."""
        words = self.words
        return Progress(
            heartbeat_ns=words[layout.HEARTBEAT_NS],
            received_lsn=words[layout.RECEIVED_LSN],
            applied_lsn=words[layout.APPLIED_LSN],
            committed_ns=words[layout.COMMITTED_NS],
            confirmed_ns=words[layout.CONFIRMED_NS],
            pid=words[layout.WRITER_PID],
            started_ns=words[layout.WRITER_STARTED_NS],
            same_clock=words[layout.CLOCK] == self.clock,
        )

    def as_of(self, table: TableState) -> LiveAsOf:
        """Of one table, now."""
        progress = self.progress()  # first: a heartbeat that comes now is not of the future
        if table.state == "polled":
            words, place = self.words, table.place
            table = msgspec.structs.replace(
                table,
                lsn=words[layout.table_word(place, layout.SHOWN_LSN)],
                confirmed_ns=words[layout.table_word(place, layout.SHOWN_CONFIRMED_NS)],
            )
        return as_of(table, progress, self.clock_ns())

    def why_not_live(self, name: str) -> str:
        """What keeps a table from being live, and when it is tried again; ``name``: empty for one
        that the process that follows PostgreSQL has not told of.
        """
        progress, state = self.progress(), self.table(name)
        if state is not None:
            return as_of(state, progress, self.clock_ns()).stale
        silent_s = age_s(progress.heartbeat_ns, progress, self.clock_ns())
        if silent_s > SILENT_S:
            return why_silent(progress, silent_s)
        return f"process {progress.pid}, which follows PostgreSQL, has not taken it up yet"

    def look_again(self) -> bool:
        """Whether another file stands in this one's place, which is then looked at."""
        file = self._file
        with suppress(FileNotFoundError):
            there = os.stat(self._path).st_ino  # noqa: PTH116  (asked while somebody waits)
            if file.words[layout.GONE] or there != file.inode:
                self._open()
                return True
        return False

    def _told(self) -> tuple[str, dict[str, TableState], tuple[str, str]]:
        array, words, _ = self._file
        known = self._known
        if known is not None and known[0] is words and known[1] == words[layout.EPOCH]:
            return known[2:]
        epoch = words[layout.EPOCH]  # first: what is read then is of this one or a later
        found = read_manifest(array, words)
        if found is None:
            raise ProtocolError(
                f"{str(self._path)!r} tells of live tables in a way this version cannot read",
                hint="all processes of a home need the same version; `ngb down`, then `ngb up`",
                position=0,
            )
        told = found.source, by_name(found.tables), (found.slot, found.slot_alarm)
        self._known = (words, epoch, *told)
        return told

    def _counted(self, table: TableState) -> TableState:
        words, place = self.words, table.place
        return msgspec.structs.replace(
            table,
            rows_copied=words[layout.table_word(place, layout.ROWS_COPIED)],
            rows_expected=words[layout.table_word(place, layout.ROWS_EXPECTED)],
            bytes_copied=words[layout.table_word(place, layout.BYTES_COPIED)],
            changes=words[layout.table_word(place, layout.CHANGES)],
            transactions=words[layout.table_word(place, layout.TRANSACTIONS)],
            stream_bytes=words[layout.table_word(place, layout.STREAM_BYTES)],
        )
