"""Chunks written anew out of runs of rows: of the chunks that were there, and of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.memory.series import weaving_kernels as loops
from neural_gpu_bus.memory.series.appending import CAPACITY_MIN, TEXT_BYTES_MIN
from neural_gpu_bus.memory.series.chunk_table import ChunkTable
from neural_gpu_bus.memory.series.records import Chunk
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]


#: What is written anew has room for a quarter more, where what rows are appended to has room for as
#: many again: a megabyte of new memory takes a millisecond, and the next update drops it. Rows that
#: find no room in it are copied once more, into twice as much.
ROOM_PARTS = 4


def room_for(counts: Numbers, rows_max: int) -> Numbers:
    """Rows of extents that are written anew and go on."""
    wanted = np.maximum(counts + counts // ROOM_PARTS, CAPACITY_MIN)
    rooms: Numbers = np.maximum(counts, np.minimum(rows_max, wanted))
    return rooms


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a partition to come, as runs of shape (runs, 3); see ``weaving_kernels``."""

    runs: Numbers

    @property
    def num_rows(self) -> int:
        """In all runs; named as Arrow's tables have it."""
        return int(self.runs[:, loops.RUN_ROWS].sum())

    def slice(self, first: int, rows: int | None = None) -> Rows:
        """Some of them."""
        total = self.num_rows
        stop = total if rows is None else min(total, first + rows)
        if first <= 0 and stop >= total:
            return self
        counts = self.runs[:, loops.RUN_ROWS]
        ends = np.cumsum(counts)
        begins = ends - counts
        kept = (ends > first) & (begins < stop)
        runs = self.runs[kept].copy()
        skipped = np.maximum(first - begins[kept], 0)
        runs[:, loops.RUN_FIRST] += skipped
        runs[:, loops.RUN_ROWS] = np.minimum(ends[kept], stop) - begins[kept] - skipped
        return Rows(runs)


class Weaving:
    """Writes extents of one series; ``sources``: where the columns of the batch lie."""

    def __init__(self, state: SeriesState, held: ChunkTable, sources: Numbers) -> None:
        self._state = state
        self._held = held
        self._sources = sources
        self._numbers: dict[tuple[int, int], int] = {}

    def own(self, _: SeriesState, chunk: Chunk) -> Rows:
        """Rows that no earlier chunk has."""
        if not self._numbers:
            places = zip(self._held.raw["arena"], self._held.raw["offset"], strict=True)
            self._numbers = {(int(a), int(o)): number for number, (a, o) in enumerate(places)}
        number = self._numbers[chunk.arena, chunk.offset]
        return Rows(np.array([[number, chunk.overlap, chunk.own_rows]], np.int64))

    def written(
        self, state: SeriesState, pieces: Sequence[Rows], overlap: int, *, grows: bool
    ) -> Chunk:
        """A new extent with these rows; one that ``grows`` has room for more."""
        runs = np.concatenate([piece.runs for piece in pieces])
        rows = int(runs[:, loops.RUN_ROWS].sum())
        counts = np.array([rows])
        capacities = room_for(counts, state.meta.chunk_rows_max) if grows else counts
        stretch = np.array([[0, len(runs)]], np.int64)
        raw = self.fill(runs, stretch, counts, capacities, grows=grows)
        arena, offset, nulls = (int(part[0]) for part in raw)
        return Chunk(arena, int(capacities[0]), offset, rows, overlap, nulls)

    def fill(
        self, runs: Numbers, stretches: Numbers, rows: Numbers, capacities: Numbers, *, grows: bool
    ) -> tuple[Numbers, Numbers, Numbers]:
        """New extents, one for each stretch of runs (the first and how many); their arenas,
        offsets and masks of NULLs.
        """
        state = self._state
        targets = np.empty((len(rows), loops.TARGET_FIELDS), np.int64)
        targets[:, loops.ROOM] = capacities
        targets[:, loops.TARGET_RUN : loops.TARGET_RUNS + 1] = stretches
        texts = self._text_rooms(runs, targets, grows=grows)
        made = [
            state.extents.make(capacity, room)
            for capacity, room in zip(capacities.tolist(), texts.tolist(), strict=True)
        ]
        arenas, offsets = np.array(made, np.int64).reshape(len(made), 2).T
        targets[:, loops.ADDRESS] = state.extents.arenas.addresses[arenas] + offsets
        nulls = np.zeros(len(rows), np.int64)
        loops.weave(state.columns, self._sources, self._held.table, runs, targets, nulls)
        state.counts.rewritten_rows += int(rows.sum())
        return arenas, offsets, nulls

    def _text_rooms(self, runs: Numbers, targets: Numbers, *, grows: bool) -> Numbers:
        state = self._state
        needs = np.zeros((len(targets), state.shape.texts), np.int64)
        if state.shape.texts:
            loops.text_bytes(state.columns, self._sources, self._held.table, runs, targets, needs)
        return np.maximum(needs + needs // ROOM_PARTS, TEXT_BYTES_MIN) if grows else needs
