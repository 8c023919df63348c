"""Since when nobody may be given a query's result: what ``forget`` said, in shared memory.

One word for each of a bounded number of queries, so that forgetting needs no lock and reaches a
result that is being read at this moment: it was begun before, so nobody is given it. Queries that
share a word only cost each other a read.
"""

from __future__ import annotations

from pathlib import Path

from neural_gpu_bus.memory.files.folder import TABLES, folder_locked
from neural_gpu_bus.memory.files.shared_table import SharedTable

WORDS = 4096


class Forgotten:
    """The words of one memory folder; moments by ``host_clock.host_clock_ns``."""

    def __init__(self, folder: Path) -> None:
        with folder_locked(folder):  # one process makes the table
            self._table = SharedTable(folder / TABLES / "forgotten-queries", "<i8", WORDS)
        #: Through a memoryview, an item costs half of numpy's.
        self.moments_ns = memoryview(self._table.records)  # type: ignore[arg-type]  # numpy's stub

    @staticmethod
    def place(digest: str) -> int:
        """Which word is that query's; ``digest``: hex digits."""
        return int(digest[-8:], 16) % WORDS

    def forget(self, digest: str, now_ns: int) -> None:
        """Results read before now are given to nobody."""
        place = self.place(digest)
        self.moments_ns[place] = max(self.moments_ns[place], now_ns)
