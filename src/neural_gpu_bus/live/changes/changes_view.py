"""What readers see of it: ``ChangesView``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from neural_gpu_bus.live.changes import words as layout
from neural_gpu_bus.memory.series.clock import view
from neural_gpu_bus.memory.series.order import reader_fence


class ChangesNow(NamedTuple):
    """Before a statement is sent."""

    #: Of every place.
    counts: list[int]
    #: Transactions that were told and that PostgreSQL may not show yet; None where there are more
    #: than can be told.
    unseen: list[int] | None
    definitions: int
    arranged: int


class ChangesView:
    """The reader's side, for any number of processes and threads."""

    def __init__(self, memory: Path) -> None:
        """Also where nobody has ever followed anything. Raises SharedMemoryFullError."""
        import numpy as np

        self._array = layout.map_changes(memory)
        self.words = view(self._array.view(np.uint8)).cast("q")
        self.file_id = self.words[layout.FILE_ID]
        self.fence = reader_fence()
        self._covering: tuple[int, dict[int, int]] = (-1, {})

    def look(self) -> ChangesNow:
        """What is told now. Counts first: a transaction that is counted is in the ring already."""
        words = self.words
        start, end = layout.TABLES_AT, layout.RING_AT
        arranged, definitions = words[layout.ARRANGED], words[layout.DEFINITIONS]
        self.fence()
        counts = words[start : end : layout.TABLE_WORDS].tolist()
        self.fence()
        return ChangesNow(counts, self._unseen(), definitions, arranged)

    def _unseen(self) -> list[int] | None:
        words, ring = self.words, layout.RING
        seen, told = words[layout.SEEN], words[layout.TOLD]
        if told - seen > ring:
            return None
        found = [words[layout.RING_AT + place % ring] for place in range(seen, told)]
        self.fence()
        return found if words[layout.TOLD] - seen <= ring else None

    def covering(self) -> dict[int, int]:
        """Places of tables all whose changes are told, by OID."""
        words, arranged = self.words, self.words[layout.ARRANGED]
        if self._covering[0] != arranged:
            self.fence()
            found = {
                words[layout.table_word(place, layout.OID)]: place
                for place in range(layout.TABLES_MAX)
                if words[layout.table_word(place, layout.COVERS)]
            }
            self._covering = (arranged, found)
        return self._covering[1]

    def use(self, place: int, now_ns: int) -> None:
        """Somebody wants to know of its changes."""
        self.words[layout.table_word(place, layout.USED_NS)] = now_ns
