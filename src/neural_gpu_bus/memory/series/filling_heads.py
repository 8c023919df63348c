"""The heads of all partitions, for a loop of somebody else's that writes rows behind their last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.memory.series import filling_kernels as kernels
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

#: More are not looked at for every batch; 100 take 10 us.
PARTITIONS_MAX = 1 << 14


def written(state: SeriesState, write: Callable[[Numbers, Numbers], None]) -> int:
    """Rows that ``write`` added; call with the writer's turn.

    ``write`` gets the columns of each head, shape (partitions, columns, 4), and the heads, shape
    (partitions, 4), fields as in ``filling_kernels``. It writes rows behind the last of a head that
    has room for them, where the order wants them, and says so in the heads; in that last step
    nothing may fail.
    """
    count = len(state.slots)
    targets = np.zeros((count, len(state.columns), kernels.TARGET_FIELDS), np.int64)
    heads = np.zeros((count, kernels.HEAD_FIELDS), np.int64)
    arenas = state.extents.arenas.addresses
    kernels.find_heads(state.columns, state.slot_words, arenas, state.last_values, targets, heads)
    before = heads[:, kernels.ROWS].copy()
    write(targets, heads)
    rows = heads[:, kernels.ROWS] - before
    grown = np.flatnonzero(rows)
    if len(grown):
        slots = state.slots
        slots["rows"][grown] += rows[grown]
        slots["head_rows"][grown] += rows[grown].astype(np.int32)
        slots["nulls"][grown] |= heads[grown, kernels.NULLS]
        state.touched[grown] = True
        if state.shape.order is not None:
            state.last_values[grown] = heads[grown, kernels.LAST]
    total = int(rows.sum())
    state.counts.appended_rows += total
    return total
