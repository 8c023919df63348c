"""Chunks of many partitions as one table of numbers for compiled loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.memory.series import finding_kernels as finding
from neural_gpu_bus.memory.series import weaving_kernels as weaving
from neural_gpu_bus.memory.series.records import CHUNK, CHUNK_BYTES, Chunk
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.shape import Shape

    Numbers = npt.NDArray[np.int64]

_FIELDS = ("arena", "capacity", "offset", "rows", "overlap", "nulls")


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """``partitions``: sorted, each once. ``firsts`` and ``counts``: chunks of each of them.

    ``table``: one row a chunk, see ``finding_kernels``; ``raw``: the same as the directory has it.
    Holds until the next change of any of these partitions.
    """

    partitions: Numbers
    firsts: Numbers
    counts: Numbers
    table: Numbers
    raw: npt.NDArray[np.void]

    def chunks(self, place: int) -> list[Chunk]:
        """Of one partition, by its place in ``partitions``."""
        first, count = int(self.firsts[place]), int(self.counts[place])
        return [Chunk._make(raw) for raw in self.raw[first : first + count].tolist()]

    def places(self, partitions: Numbers) -> Numbers:
        """Of partitions that are all among these."""
        return self.partitions.searchsorted(partitions)


def chunk_table(state: SeriesState, partitions: Numbers) -> ChunkTable:
    """The chunks of these partitions, sorted and each once, as they are now."""
    slots = state.slots[partitions]
    has_head = slots["arena"] > 0
    spines = slots["spine_count"].astype(np.int64)
    counts = spines + has_head
    firsts = np.cumsum(counts) - counts
    raw = np.zeros(int(counts.sum()), CHUNK)
    heads = (firsts + spines)[has_head]
    for name in _FIELDS:
        raw[name][heads] = slots["head_rows" if name == "rows" else name][has_head]
    arenas = state.extents.arenas
    for place in spines.nonzero()[0].tolist():
        slot, count = slots[place], int(spines[place])
        at = int(slot["spine_offset"])
        spine = arenas.arrays[int(slot["spine_arena"])][at : at + count * CHUNK_BYTES].view(CHUNK)
        raw[firsts[place] : firsts[place] + count] = spine
    table = np.empty((len(raw), finding.CHUNK_FIELDS), np.int64)
    table[:, weaving.ADDRESS] = arenas.addresses[raw["arena"]] + raw["offset"]
    table[:, weaving.ROOM] = raw["capacity"]
    table[:, weaving.NULLS] = raw["nulls"]
    table[:, finding.OVERLAP] = raw["overlap"]
    table[:, finding.ROWS] = raw["rows"]
    return ChunkTable(partitions, firsts, counts, table, raw)


def order_facts(shape: Shape) -> Numbers:
    """The order column as compiled loops know it."""
    if shape.order is None:
        return np.array([-1, 8, 1], np.int64)
    kind = shape.order.kind
    return np.array([shape.order.place, kind.item_bytes, kind.raw[1] == "i"], np.int64)
