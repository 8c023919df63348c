"""How a process knows, in one look at shared memory, that a name still means the same block.

Each name has a counter, shared with the names of the same hash. It is odd while a publication
of such a name is under way and moves on by two with each. A reader who kept what he found, and the
even number that he saw before he looked, need not look again while the number stands. A writer
killed in between leaves it odd: readers then ask the index each time, until somebody publishes
there or the next process that opens the memory settles it.

The odd number is written before the index's commit, the even one after it, both under the writers'
lock. x86 keeps the order of stores. On ARM the commit's system calls and the lock stand between
them; a reader may see an even number late, which only means that he asked a moment earlier.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

from neural_gpu_bus.memory.files.folder import TABLES
from neural_gpu_bus.memory.files.shared_table import SharedTable

#: Names that share a counter only cost each other a look at the index (0.6 us).
COUNTERS = 8192
#: Behind them: how often anything was published, dropped or evicted.
_CHANGES = COUNTERS


class NamesClock:
    """The counters of one memory folder. Writing happens under the index's writers' lock."""

    def __init__(self, folder: Path) -> None:
        self._table = SharedTable(folder / TABLES / "names", "<u8", COUNTERS + 8)
        #: The counters themselves. Through a memoryview, an item costs half of numpy's.
        self.counters = memoryview(self._table.records)  # type: ignore[arg-type]

    @property
    def changes(self) -> int:
        """Moves on with every change of any name: while it stands, nothing kept is stale."""
        return self.counters[_CHANGES]

    @staticmethod
    def place(name: str) -> int:
        """Which counter is that name's; one for all that are no names, which the index refuses."""
        key = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
        return zlib.crc32(key) % COUNTERS

    def begin(self, names: Iterable[str]) -> None:
        """These names are about to change."""
        for place in {self.place(name) for name in names}:
            number = self.counters[place]
            self.counters[place] = number + (2 if number & 1 else 1)

    def end(self, names: Iterable[str]) -> None:
        """They have changed."""
        for place in {self.place(name) for name in names}:
            if self.counters[place] & 1:
                self.counters[place] += 1
        self.counters[_CHANGES] += 1

    def settle(self) -> None:
        """Nobody is publishing now: what is odd was left so by a process that was killed."""
        counters = self._table.records
        counters[:COUNTERS] += counters[:COUNTERS] & 1
        counters[_CHANGES:] += 1  # numpy's words begin anew at their end, whatever stood there
