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
    #: Which file they are of.
    file_id: int


class ChangesFile(NamedTuple):
    """As it was mapped last."""

    words: memoryview
    file_id: int


class ChangesView:
    """The reader's side, for any number of processes and threads."""

    def __init__(self, memory: Path) -> None:
        """Also where nobody has ever followed anything. Raises SharedMemoryFullError."""
        self._memory = memory
        self.fence = reader_fence()
        self.open()

    def open(self) -> None:
        """Look at the file that is there now: the folder may have been made anew."""
        import numpy as np

        words = view(layout.map_changes(self._memory).view(np.uint8)).cast("q")
        self._covering: tuple[memoryview, int, dict[int, int]] = (words, -1, {})
        #: In one step, because other threads look meanwhile.
        self.file = ChangesFile(words, words[layout.FILE_ID])

    @property
    def words(self) -> memoryview:
        """See ``words``; another object where the file is another."""
        return self.file.words

    def look(self) -> ChangesNow:
        """What is told now. Counts first: a transaction that is counted is in the ring already."""
        words, file_id = self.file
        start, end = layout.TABLES_AT, layout.RING_AT
        arranged, definitions = words[layout.ARRANGED], words[layout.DEFINITIONS]
        self.fence()
        counts = words[start : end : layout.TABLE_WORDS].tolist()
        self.fence()
        return ChangesNow(counts, self._unseen(words), definitions, arranged, file_id)

    def _unseen(self, words: memoryview) -> list[int] | None:
        ring = layout.RING
        seen, told = words[layout.SEEN], words[layout.TOLD]
        if told - seen > ring:
            return None
        found = [words[layout.RING_AT + place % ring] for place in range(seen, told)]
        self.fence()
        return found if words[layout.TOLD] - seen <= ring else None

    def covering(self) -> dict[int, int]:
        """Places of tables all whose changes are told, by OID."""
        words = self.words
        arranged, known = words[layout.ARRANGED], self._covering
        if known[0] is not words or known[1] != arranged:
            self.fence()
            found = {
                words[layout.table_word(place, layout.OID)]: place
                for place in range(layout.TABLES_MAX)
                if words[layout.table_word(place, layout.COVERS)]
            }
            known = self._covering = (words, arranged, found)
        return known[2]

    def use(self, place: int, now_ns: int) -> None:
        """Somebody wants to know of its changes."""
        self.words[layout.table_word(place, layout.USED_NS)] = now_ns
