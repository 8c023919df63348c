"""What each process counted, in one small file that all map: who asks sums, nobody waits.

``tables/processes`` is 1,024 records of 256 bytes, ``RECORD`` below. Each process owns one while
its session lives and alone writes to it. Record 0 is the gone: what ended processes had counted.
Numbers are single aligned words, so a reader sees each whole; records are claimed and folded under
the index's writers' lock.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from neural_gpu_bus.descriptors import REGIONS, Region
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory.files.folder import TABLES, foreign_table, uuid_head
from neural_gpu_bus.memory.files.shared_table import SharedTable

if TYPE_CHECKING:
    import numpy.typing as npt

#: Processes that may have one memory folder open at once, and one record for the gone.
RECORDS_MAX = 1024
ENGINES = ("cpu", "gpu", "neural")

#: Ever growing numbers, in the order in which ``OwnCounters.write_down`` packs them.
COUNTERS = np.dtype(
    [
        ("hits", "<u8", 3),  # three are by region: neural, gpu, shared
        ("misses", "<u8", 3),
        ("evictions", "<u8", 3),
        ("evicted_bytes", "<u8", 3),
        ("saved_ns", "<u8", 3),
        ("uses", "<u8", 3),  # by engine: cpu, gpu, neural
        ("puts", "<u8"),
        ("put_bytes", "<u8"),
        ("attaches", "<u8"),
        ("attach_misses", "<u8"),
        ("reused_bytes", "<u8"),
    ]
)
#: One process, 256 bytes: offsets 0, 8, 16, 24, 32, 216, 240 and 248.
RECORD = np.dtype(
    [
        ("session", "<u8"),  # uuid_head of the session; 0: free. Record 0: the format
        ("pid", "<u8"),
        ("started_ns", "<u8"),  # of the process: tells a reused pid apart
        ("opened_ns", "<u8"),
        ("counters", COUNTERS),
        ("unnamed_bytes", "<u8", 3),  # now, by region
        # Now: of all that it has mapped. Record 0: folds, odd while a record is being folded.
        ("mapped_bytes", "<u8"),
        ("records", "<u8"),  # record 0: records that were ever claimed, itself included
    ]
)
#: In place of a session in record 0: another layout is never taken for this one.
_FORMAT = int.from_bytes(b"ngbproc1", "little")
#: Looks at the sums before one is taken that a fold may have disturbed: its process died there.
_LOOKS_MAX = 100

#: Full table, measured: 17 us one by one, 7 us so.
_ADDED_AT_ONCE = 16

_counters = struct.Struct(f"<{COUNTERS.itemsize // 8}Q")
_word = struct.Struct("<Q")
_COUNTERS_AT = RECORD.fields["counters"][1]  # type: ignore[index]
_UNNAMED_AT = RECORD.fields["unnamed_bytes"][1]  # type: ignore[index]
_SUMMED = slice(_COUNTERS_AT // 8, _UNNAMED_AT // 8)
_UNNAMED = {region: _UNNAMED_AT // 8 + place for place, region in enumerate(REGIONS)}
_FOLDS, _RECORDS = 30, 31
_MAPPED = _FOLDS


class RegionCounters:
    """What this process did in one region. A hit costs its reader one ``+=``: 16 ns."""

    __slots__ = ("evicted_bytes", "evictions", "hits", "misses", "saved_ns")

    def __init__(self) -> None:
        self.hits = self.misses = self.evictions = self.evicted_bytes = self.saved_ns = 0


class OwnCounters:
    """This process's counters: plain integers here, copied to its record by ``write_down``.

    Threads need no lock for them: the interpreter does not switch within ``+=`` on a slot (on a
    free-threaded build a count may be lost). Bytes without a name go to the record at once,
    because every reservation sums them against the budget.
    """

    __slots__ = (
        "_buffer",
        "_lock",
        "_mapped_bytes",
        "_offset",
        "_pid",
        "_unnamed",
        "attach_misses",
        "attaches",
        "gpu",
        "neural",
        "place",
        "put_bytes",
        "puts",
        "reused_bytes",
        "shared",
        "uses",
    )

    def __init__(self, buffer: memoryview, place: int, pid: int) -> None:
        self._buffer: memoryview | None = buffer
        # A finalizer may give bytes back in the middle of giving others back.
        self._lock = threading.RLock()
        self._offset = place * RECORD.itemsize
        self._pid = pid
        self._unnamed = dict.fromkeys(REGIONS, 0)
        self._mapped_bytes = 0
        self.place = place
        self.neural, self.gpu, self.shared = RegionCounters(), RegionCounters(), RegionCounters()
        self.uses = dict.fromkeys(ENGINES, 0)
        self.puts = self.put_bytes = self.attaches = self.attach_misses = self.reused_bytes = 0

    def region(self, region: Region) -> RegionCounters:
        """Those of one region: hold on to it where finds are counted."""
        return {"neural": self.neural, "gpu": self.gpu, "shared": self.shared}[region]

    def add_unnamed(self, region: Region, nbytes: int) -> None:
        """Bytes of blocks without a name that came, or with a minus went; others see it at once."""
        if os.getpid() != self._pid:
            return  # a child made by fork lets go of what its parent still has
        with self._lock:
            self._unnamed[region] += nbytes
            if self._buffer is not None:
                at = self._offset + _UNNAMED[region] * 8
                _word.pack_into(self._buffer, at, max(self._unnamed[region], 0))

    def add_mapped(self, nbytes: int) -> None:
        """Bytes that were mapped, or with a minus unmapped; others see it at once."""
        if os.getpid() != self._pid:
            return  # and in a child another thread's lock may be held for ever
        with self._lock:
            self._mapped_bytes += nbytes
            if self._buffer is not None:
                at = self._offset + _MAPPED * 8
                _word.pack_into(self._buffer, at, max(self._mapped_bytes, 0))

    def write_down(self) -> None:
        """Show the counters to the others; 2 us."""
        buffer = self._buffer
        if buffer is None or os.getpid() != self._pid:
            return
        n, g, s = self.neural, self.gpu, self.shared
        _counters.pack_into(
            buffer,
            self._offset + _COUNTERS_AT,
            *(n.hits, g.hits, s.hits),
            *(n.misses, g.misses, s.misses),
            *(n.evictions, g.evictions, s.evictions),
            *(n.evicted_bytes, g.evicted_bytes, s.evicted_bytes),
            *(n.saved_ns, g.saved_ns, s.saved_ns),
            *self.uses.values(),
            *(self.puts, self.put_bytes, self.attaches, self.attach_misses, self.reused_bytes),
        )

    def close(self) -> None:
        """Write down a last time; what finalizers tell later is dropped with the session."""
        self.write_down()
        with self._lock:
            self._buffer = None


class ProcessTable:
    """The records of one memory folder. Opened under the index's writers' lock.

    Raises SharedMemoryFullError where the file system has no room for them, HostError for a file
    that is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / TABLES / "processes"
        table = SharedTable(path, RECORD, RECORDS_MAX)
        self._buffer = table.buffer
        self._records = table.records[:RECORDS_MAX]
        self._words: npt.NDArray[np.uint64] = self._records.view("<u8").reshape(RECORDS_MAX, -1)
        gone = self._words[0]
        if gone[0] not in {0, _FORMAT}:
            raise foreign_table(path, "another layout")
        gone[0] = _FORMAT
        gone[_RECORDS] = max(gone[_RECORDS], 1)

    def claim(self, session_uuid: str, pid: int) -> OwnCounters:
        """A record for a session of process ``pid``. Only under the index's writers' lock.

        Raises HostError where 1,023 living processes have one.
        """
        free = np.flatnonzero(self._words[:, 0] == 0)
        if not len(free):
            raise HostError(
                f"{RECORDS_MAX - 1:,} processes have the memory folder {str(self._folder)!r} open, "
                "and there is no room for another",
                hint="end some of them; `ngb memory` lists them all",
                folder=str(self._folder),
            )
        place = int(free[0])
        record = self._records[place]
        record["pid"] = pid
        record["started_ns"] = process_started_ns(pid)
        record["opened_ns"] = time.time_ns()
        record["session"] = uuid_head(session_uuid)
        self._words[0, _RECORDS] = max(int(self._words[0, _RECORDS]), place + 1)
        return OwnCounters(self._buffer, place, pid)

    def release(self, own: OwnCounters) -> None:
        """Give a record back; what it counted stays counted. Only under the writers' lock."""
        own.close()
        self._fold([own.place])

    def fold_dead(self, living: Iterable[str]) -> None:
        """Fold the records of sessions whose uuids (hex) are not among ``living``.

        Only under the index's writers' lock.
        """
        alive = {0, *map(uuid_head, living)}
        heads = self._used()[1:, 0].tolist()
        self._fold([place for place, head in enumerate(heads, 1) if head not in alive])

    def sums(self) -> Any:
        """All processes and the gone together: one record of ``COUNTERS``."""
        for _ in range(_LOOKS_MAX):
            before = self._words.item(0, _FOLDS)
            total = self._total()
            if not before % 2 and self._words.item(0, _FOLDS) == before:
                break
        return total[_SUMMED].view(COUNTERS)[0]

    def unnamed_bytes(self, region: Region) -> int:
        """Bytes of all blocks without a name in that region."""
        return int(np.add.reduce(self._used()[:, _UNNAMED[region]]))

    def count(self) -> int:
        """Processes that have a record."""
        return int(np.count_nonzero(self._used()[1:, 0]))

    def mapped_bytes(self) -> int:
        """Bytes that processes have mapped; what two have mapped counts twice."""
        return int(np.add.reduce(self._used()[1:, _MAPPED]))

    def records(self) -> npt.NDArray[Any]:
        """A copy of the claimed records (``RECORD``), the oldest places first."""
        found: npt.NDArray[Any] = self._records[1 : self._words.item(0, _RECORDS)].copy()
        claimed: npt.NDArray[Any] = found[found["session"] != 0]
        return claimed

    def _used(self) -> npt.NDArray[np.uint64]:
        return self._words[: self._words.item(0, _RECORDS)]

    def _total(self) -> npt.NDArray[np.uint64]:
        """Sixteen records to a row, then the sixteen: numpy adds long rows three times as fast."""
        rows = -(-self._words.item(0, _RECORDS) // _ADDED_AT_ONCE)
        wide = self._words[: rows * _ADDED_AT_ONCE].reshape(rows, -1)
        once = np.add.reduce(wide, axis=0).reshape(_ADDED_AT_ONCE, -1)
        total: npt.NDArray[np.uint64] = np.add.reduce(once, axis=0)
        return total

    def _fold(self, places: list[int]) -> None:
        """Move counters to the gone. Whoever sums meanwhile looks again, so that no sum is ever
        less than one before.
        """
        gone = self._words[0]
        if not places and not gone[_FOLDS] % 2:  # odd: a process died while it folded
            return
        gone[_FOLDS] = int(gone[_FOLDS]) | 1
        for place in places:
            gone[_SUMMED] += self._words[place, _SUMMED]
            self._words[place] = 0
        gone[_FOLDS] += np.uint64(1)


def process_started_ns(pid: int) -> int:
    """When a process started; 0 where it is none that we see."""
    try:
        return int(psutil.Process(pid).create_time() * 1e9)
    except psutil.Error:
        return 0
