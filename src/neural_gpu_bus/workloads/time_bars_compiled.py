"""Compiled loops of ``time_bars``: one pass counts the bars, one fills them."""

from __future__ import annotations

from typing import Any

from numba import njit

from neural_gpu_bus.workloads.signatures import (
    FLOATS,
    INT,
    INT_PAIR,
    INTS,
    OUT_INTS,
    OUT_MATRIX,
    VOID,
)


@njit(INT_PAIR(INTS, INT), cache=True, nogil=True)
def count_bars(ts_ns: Any, interval_ns: Any) -> tuple[int, int]:
    """Number of bars, and the first row whose time falls (-1: none)."""
    bars = 0
    end_ns = 0
    for row in range(ts_ns.size):
        if row > 0 and ts_ns[row] < ts_ns[row - 1]:
            return bars, row
        if row == 0 or ts_ns[row] >= end_ns:
            bars += 1
            # Floor division of numba is Python's: times before 1970 round down too.
            end_ns = (ts_ns[row] // interval_ns + 1) * interval_ns
    return bars, -1


@njit(VOID(INTS, FLOATS, FLOATS, INT, OUT_INTS, OUT_MATRIX), cache=True, nogil=True)
def fill_bars(ts_ns: Any, price: Any, size: Any, interval_ns: Any, starts: Any, out: Any) -> None:
    """``out`` (open, high, low, close, volume; bars) and the bars' starts."""
    bar = -1
    end_ns = 0
    high = low = volume = 0.0
    for row in range(ts_ns.size):
        paid = price[row]
        if bar < 0 or ts_ns[row] >= end_ns:
            if bar >= 0:
                out[1, bar], out[2, bar] = high, low
                out[3, bar], out[4, bar] = price[row - 1], volume
            bar += 1
            starts[bar] = ts_ns[row] // interval_ns * interval_ns
            end_ns = starts[bar] + interval_ns
            out[0, bar] = high = low = paid
            volume = 0.0
        high = max(high, paid)
        low = min(low, paid)
        volume += size[row]
    if bar >= 0:
        out[1, bar], out[2, bar] = high, low
        out[3, bar], out[4, bar] = price[-1], volume
