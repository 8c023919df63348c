"""Compiled loops of ``portfolio_risk``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import (
    FLOATS,
    INT,
    INTS,
    INTS32,
    OUT_INTS32,
    OUT_MATRIX,
)


@njit(INT(INTS, INTS32, INTS32, OUT_INTS32), cache=True, nogil=True)
def rank_days(day: Any, code: Any, place: Any, rank: Any) -> int:
    """Number the days that have a price of a held asset, in order; how many there are."""
    for row in range(day.size):
        if place[code[row]] >= 0:
            rank[day[row]] = 1
    days = 0
    for index in range(rank.size):
        seen = rank[index]
        rank[index] = days
        days += seen
    return days


@njit(INT(INTS, INTS32, INTS32, INTS32, FLOATS, OUT_MATRIX), cache=True, nogil=True)
def fill_prices(day: Any, code: Any, place: Any, rank: Any, price: Any, matrix: Any) -> int:
    """Write each price to its place; the row that finds its place taken, or -1."""
    for row in range(day.size):
        asset = place[code[row]]
        if asset >= 0:
            date = rank[day[row]]
            if not np.isnan(matrix[date, asset]):
                return row
            matrix[date, asset] = price[row]
    return -1
