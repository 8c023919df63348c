"""Compiled loops of ``factor_correlation``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import MATRIX, OUT_FLOATS, OUT_MATRIX, VOID


@njit(VOID(MATRIX, OUT_MATRIX, OUT_FLOATS), cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def centre(values: Any, centred: Any, length: Any) -> None:
    """Each row of ``values`` (factors, rows) less its mean, and its length; NaN if constant.

    ``reassoc`` lets the two sums run several at a time, as numpy's pairwise sum does.
    """
    rows = values.shape[1]
    for factor in range(values.shape[0]):
        given, out = values[factor], centred[factor]
        first = given[0]
        total = 0.0
        for row in range(rows):
            total += given[row] - first
        shift = first + total / rows
        squares = 0.0
        still = True
        for row in range(rows):
            apart = given[row] - shift
            still &= given[row] == first
            out[row] = apart
            squares += apart * apart
        length[factor] = np.nan if still else np.sqrt(squares)
