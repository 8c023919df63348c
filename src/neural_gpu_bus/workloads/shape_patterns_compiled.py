"""Compiled loops of ``shape_patterns``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import FLOATS, MATRIX, OUT_INTS, OUT_MATRIX, VOID

#: Windows that are correlated side by side: 10 columns of 256 float64 are 20 KiB of the first
#: cache's 32.
BLOCK = 256

#: Places of a shape that are added in one step; a bank's width has to be a multiple.
STEP = 4


@njit(VOID(MATRIX, FLOATS, OUT_MATRIX), cache=True, nogil=True)
def add_products(bank: Any, moved: Any, products: Any) -> None:
    """Add to ``products`` (shapes, windows) each shape's products with neighbouring windows."""
    width, shapes = bank.shape
    count = products.shape[1]
    for shape in range(shapes):
        out = products[shape]
        for place in range(0, width, STEP):
            a, b = bank[place, shape], bank[place + 1, shape]
            c, d = bank[place + 2, shape], bank[place + 3, shape]
            near = moved[place : place + count + STEP - 1]
            for window in range(count):
                out[window] += (near[window] * a + near[window + 1] * b) + (
                    near[window + 2] * c + near[window + 3] * d
                )


@njit(VOID(FLOATS, MATRIX, OUT_MATRIX, OUT_INTS), cache=True, nogil=True)
def correlate(close: Any, bank: Any, scores: Any, best: Any) -> None:
    """Scores (windows, shapes) of closes against ``bank`` (window, shapes); shapes have length 1.

    A shape's heights add up to 0, so that a window's mean need not be taken off before the product;
    the block's first close is, for the digits.
    """
    width, shapes = bank.shape
    for start in range(0, best.size, BLOCK):
        count = min(BLOCK, best.size - start)
        first = close[start : start + count]
        moved = close[start : start + count + width - 1] - first[0]
        products, mean, squares = np.zeros((shapes, count)), np.zeros(count), np.zeros(count)
        add_products(bank, moved, products)
        for place in range(width):
            aged = close[start + place : start + place + count]
            for window in range(count):
                mean[window] += aged[window] - first[window]
        mean /= width
        for place in range(width):
            aged = close[start + place : start + place + count]
            for window in range(count):
                # All closes equal: mean is 0, and so is every term.
                squares[window] += (aged[window] - first[window] - mean[window]) ** 2
        for window in range(count):
            moving = squares[window] > 0.0
            scale = 1.0 / np.sqrt(squares[window]) if moving else 0.0
            highest = 0
            for shape in range(shapes):
                scores[start + window, shape] = products[shape, window] * scale
                if products[shape, window] > products[highest, window]:
                    highest = shape
            best[start + window] = highest if moving else shapes
