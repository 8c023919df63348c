"""Compiled loop of ``shape_patterns``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import FLOATS, MATRIX, OUT_INTS, OUT_MATRIX, VOID


@njit(VOID(FLOATS, MATRIX, OUT_MATRIX, OUT_INTS), cache=True, nogil=True)
def correlate(close: Any, bank: Any, scores: Any, best: Any) -> None:
    """Scores (windows, shapes) of closes against ``bank`` (window, shapes); shapes have length 1.

    A shape's heights add up to 0, so that a window's mean need not be taken off before the product.
    """
    width, shapes = bank.shape
    products = np.empty(shapes)
    for window in range(scores.shape[0]):
        first = close[window]
        total = 0.0
        products[:] = 0.0
        for place in range(width):
            moved = close[window + place] - first
            total += moved
            for shape in range(shapes):
                products[shape] += moved * bank[place, shape]
        mean = total / width
        squares = 0.0
        for place in range(width):
            squares += (close[window + place] - first - mean) ** 2
        scale = 1.0 / np.sqrt(squares) if squares > 0.0 else 0.0
        highest = shapes
        for shape in range(shapes):
            scores[window, shape] = products[shape] * scale
            if squares > 0.0 and (highest == shapes or products[shape] > products[highest]):
                highest = shape
        best[window] = highest
