"""Compiled loops of ``factor_correlation``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import MATRIX, OUT_MATRIX, VOID


@njit(VOID(MATRIX, OUT_MATRIX), cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def standardise(values: Any, scaled: Any) -> None:
    """Each row of ``values`` (factors, rows) less its mean, divided by its length; NaN if constant.

    ``reassoc`` lets the two sums run several at a time, as numpy's pairwise sum does.
    """
    rows = values.shape[1]
    for factor in range(values.shape[0]):
        first = values[factor, 0]
        total = 0.0
        for row in range(rows):
            total += values[factor, row] - first
        mean = total / rows
        squares = 0.0
        for row in range(rows):
            centred = values[factor, row] - first - mean
            scaled[factor, row] = centred
            squares += centred * centred
        scale = 1.0 / np.sqrt(squares) if squares > 0.0 else np.nan
        for row in range(rows):
            scaled[factor, row] *= scale
