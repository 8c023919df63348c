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
    MATRIX,
    OUT_INTS32,
    OUT_MATRIX,
    VOID,
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


@njit(VOID(MATRIX, MATRIX, OUT_MATRIX), cache=True, nogil=True)
def scenario_pnl(price: Any, exposure: Any, pnl: Any) -> None:
    """``pnl`` (desks, dates - 1) of ``price`` (dates, assets) and ``exposure`` (assets, desks)."""
    assets, desks = exposure.shape
    total = np.empty(desks)
    for date in range(1, price.shape[0]):
        total[:] = 0.0
        for asset in range(assets):
            change = price[date, asset] / price[date - 1, asset] - 1.0
            # Desks innermost: neighbouring values, so the compiler adds several at once.
            for desk in range(desks):
                total[desk] += exposure[asset, desk] * change
        for desk in range(desks):
            pnl[desk, date - 1] = total[desk]
