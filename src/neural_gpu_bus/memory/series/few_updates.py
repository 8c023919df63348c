"""Rows that change without moving, a few of them: their extents are written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.memory.series import weaving_kernels as loops
from neural_gpu_bus.memory.series.appending import TEXT_BYTES_MIN
from neural_gpu_bus.memory.series.few_rows_kernels import FEW_ROWS_MAX
from neural_gpu_bus.memory.series.weaving import ROOM_PARTS, room_for

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.states import SeriesState

    Numbers = npt.NDArray[np.int64]


class FewUpdates:
    """Room for the plan of one batch, see ``few_updates_kernels.plan_few``: ``answers``."""

    def __init__(self) -> None:
        self.answers = (
            np.zeros(FEW_ROWS_MAX, np.int64),
            np.zeros((FEW_ROWS_MAX, loops.EXTENT_FIELDS), np.int64),
            np.zeros((3 * FEW_ROWS_MAX, loops.RUN_FIELDS), np.int64),
            np.zeros((FEW_ROWS_MAX, loops.TARGET_FIELDS), np.int64),
        )

    def write(self, state: SeriesState, sources: Numbers, count: int) -> None:
        """Write the extents of the ``count`` partitions that were planned. All of it or nothing.

        ``sources``: where the stored columns of the rows lie. Raises SharedMemoryFullError.
        """
        touched, extents, runs, targets = self.answers
        partitions, held, targets = touched[:count], extents[:count], targets[:count]
        slots = state.slots[partitions]
        rows = slots["head_rows"].astype(np.int64)
        targets[:, loops.ROOM] = room_for(rows, state.meta.chunk_rows_max)
        texts = np.zeros((count, state.shape.texts), np.int64)
        if state.shape.texts:
            loops.text_bytes(state.columns, sources, held, runs, targets, texts)
        texts = np.maximum(texts + texts // ROOM_PARTS, TEXT_BYTES_MIN)
        with state.all_or_nothing(partitions):
            capacities = targets[:, loops.ROOM].tolist()
            made = map(state.extents.make, capacities, texts.tolist())
            slots["arena"], slots["offset"] = np.array(list(made), np.int64).T
            slots["capacity"] = targets[:, loops.ROOM]
            for old in state.slots[partitions]:
                state.extents.drop(int(old["arena"]), int(old["offset"]))
            addresses = state.extents.arenas.addresses
            targets[:, loops.ADDRESS] = addresses[slots["arena"]] + slots["offset"]
            nulls = np.zeros(count, np.int64)
            loops.weave(state.columns, sources, held, runs, targets, nulls)
            slots["nulls"] = nulls
            state.slots[partitions] = slots
            state.touched[partitions] = True
        state.counts.rewritten_rows += int(rows.sum())
