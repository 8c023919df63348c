"""Compiled loops of ``folding``: rows into one record a group.

Codes are group numbers; the last group is the one that nobody asks for, where rows go that a
condition left out or whose value is NULL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.aggregates.signatures import (
    CODES,
    FLOATS,
    INTS,
    OUT_FLOAT_ROWS,
    OUT_INT_ROWS,
    OUT_INTS,
    VOID,
)
from neural_gpu_bus.aggregates.vector_words import (
    HIGHS,
    LANES,
    LOWS,
    RECORD,
    RUN_LANES,
    SHIFTS,
    SQUARES,
    SUMS,
    fold_row,
    fold_run,
)

#: Rows looked at together: 64 equal codes are one run, which takes a loop of its own. Without it a
#: row would wait for the one before to be written: 4.4 ns with 20 equal keys in a row, else 2.4.
BLOCK = 64

#: Places in a group's record of integers: rows, sum of the low and of the high 32 bits, extremes.
COUNT, SUM_LOW, SUM_HIGH, LOW, HIGH, INT_RECORD = range(6)

_RECORD_BYTES = np.uint64(8 * RECORD)

_LOW_32 = 0xFFFFFFFF


@njit(inline="always")
def _finite_or_zero(value):  # type: ignore[no-untyped-def]
    return value if value - value == 0.0 else 0.0


@njit(nogil=True)
def _uniform_end(codes, start):  # type: ignore[no-untyped-def]
    """Where the blocks end, from ``start`` on, that hold its code alone; ``start`` for none."""
    code = codes[start]
    end = start
    while end + BLOCK <= codes.size:
        block = codes[end : end + BLOCK]
        other = np.uint32(0)
        for place in range(BLOCK):
            other |= block[place] ^ code
        if other:
            break
        end += BLOCK
    return end


@njit(nogil=True)
def _fold_stretch(values, record, lane, lanes):  # type: ignore[no-untyped-def]
    """Values of one column and one group."""
    shift = record[SHIFTS + lane]
    for place in range(RUN_LANES):
        lanes[place] = 0.0
        lanes[RUN_LANES + place] = 0.0
        lanes[2 * RUN_LANES + place] = np.inf
        lanes[3 * RUN_LANES + place] = -np.inf
    # A run is whole blocks, and a block whole steps: nothing is left over.
    fold_run(
        np.uint64(values.ctypes.data), values.size // RUN_LANES, shift, np.uint64(lanes.ctypes.data)
    )
    total = squares = 0.0
    low, high = record[LOWS + lane], record[HIGHS + lane]
    for place in range(RUN_LANES):
        total += lanes[place]
        squares += lanes[RUN_LANES + place]
        low = min(lanes[2 * RUN_LANES + place], low)
        high = max(lanes[3 * RUN_LANES + place], high)
    record[SUMS + lane] += total
    record[SQUARES + lane] += squares
    record[LOWS + lane] = low
    record[HIGHS + lane] = high


@njit(nogil=True)
def _begin(record, a, b, c, d):  # type: ignore[no-untyped-def]
    """The first row of a group: its values are what all others are measured from."""
    record[SHIFTS] = _finite_or_zero(a)
    record[SHIFTS + 1] = _finite_or_zero(b)
    record[SHIFTS + 2] = _finite_or_zero(c)
    record[SHIFTS + 3] = _finite_or_zero(d)


@njit(nogil=True)
def _fold_block(codes, a, b, c, d, records, counts):  # type: ignore[no-untyped-def]
    """Rows of any groups."""
    base = np.uint64(records.ctypes.data)
    for row in range(codes.size):
        code = codes[row]
        count = counts[code]
        if count == 0:
            _begin(records[code], a[row], b[row], c[row], d[row])
        counts[code] = count + 1
        fold_row(base + np.uint64(code) * _RECORD_BYTES, a[row], b[row], c[row], d[row])


@njit(VOID(CODES, FLOATS, FLOATS, FLOATS, FLOATS, OUT_FLOAT_ROWS, OUT_INTS), cache=True, nogil=True)
def fold_floats(codes: Any, a: Any, b: Any, c: Any, d: Any, records: Any, counts: Any) -> None:
    """Four columns into ``records`` (groups + 1, RECORD), rows into ``counts``.

    A group whose count is 0 takes its first row's values as shifts, 0 for one that is not finite.
    """
    lanes = np.empty(4 * RUN_LANES)
    row = 0
    while row < codes.size:
        end = _uniform_end(codes, row)
        if end > row:
            code = codes[row]
            record = records[code]
            if counts[code] == 0:
                _begin(record, a[row], b[row], c[row], d[row])
            counts[code] += end - row
            _fold_stretch(a[row:end], record, 0, lanes)
            _fold_stretch(b[row:end], record, 1, lanes)
            _fold_stretch(c[row:end], record, 2, lanes)
            _fold_stretch(d[row:end], record, 3, lanes)
        else:
            end = min(row + BLOCK, codes.size)
            part = codes[row:end]
            _fold_block(part, a[row:end], b[row:end], c[row:end], d[row:end], records, counts)
        row = end


assert LANES == 4  # noqa: S101  (the arguments a, b, c, d)
assert BLOCK % RUN_LANES == 0  # noqa: S101


@njit(VOID(CODES, OUT_INTS), cache=True, nogil=True)
def count_rows(codes: Any, counts: Any) -> None:
    """Rows of each group into ``counts`` (groups + 1)."""
    for row in range(codes.size):
        counts[codes[row]] += 1


@njit(VOID(CODES, INTS, OUT_INT_ROWS), cache=True, nogil=True)
def fold_integers(codes: Any, values: Any, records: Any) -> None:
    """One column into ``records`` (groups + 1, INT_RECORD).

    The sum is kept in two halves, which cannot overflow below 2^31 rows: it is exact.
    """
    for row in range(codes.size):
        value = values[row]
        record = records[codes[row]]
        record[COUNT] += 1
        record[SUM_LOW] += value & _LOW_32
        record[SUM_HIGH] += value >> 32
        record[LOW] = min(value, record[LOW])
        record[HIGH] = max(value, record[HIGH])


#: Places in a group's record of pairs.
PAIRS, SUM_X, SUM_Y, SUM_XY, PAIR_RECORD = range(5)


@njit(VOID(CODES, FLOATS, FLOATS, OUT_FLOAT_ROWS), cache=True, nogil=True)
def fold_pairs(codes: Any, x: Any, y: Any, records: Any) -> None:
    """Rows, sums, and sum of products of two columns."""
    for row in range(codes.size):
        record = records[codes[row]]
        record[PAIRS] += 1.0
        record[SUM_X] += x[row]
        record[SUM_Y] += y[row]
        record[SUM_XY] += x[row] * y[row]


@njit(VOID(CODES, FLOATS, FLOATS, OUT_FLOAT_ROWS, OUT_FLOAT_ROWS), cache=True, nogil=True)
def fold_products(codes: Any, x: Any, y: Any, means: Any, records: Any) -> None:
    """Second pass about ``means`` (groups + 1, 2): sums of squares and of the product."""
    for row in range(codes.size):
        code = codes[row]
        dx, dy = x[row] - means[code, 0], y[row] - means[code, 1]
        records[code, 0] += dx * dx
        records[code, 1] += dy * dy
        records[code, 2] += dx * dy


@njit(VOID(CODES, INTS, OUT_INT_ROWS), cache=True, nogil=True)
def find_ends(codes: Any, order: Any, ends: Any) -> None:
    """First and last row of each group by ``order``, into ``ends`` (groups + 1, 2); -1: none yet.

    Of rows at one time the first is the first, and the last the last.
    """
    for row in range(codes.size):
        code = codes[row]
        if ends[code, 0] < 0:
            ends[code, 0] = row
            ends[code, 1] = row
        else:
            if order[row] < order[ends[code, 0]]:
                ends[code, 0] = row
            if order[row] >= order[ends[code, 1]]:
                ends[code, 1] = row


@njit(VOID(CODES, OUT_INTS, OUT_INTS), cache=True, nogil=True)
def order_rows(codes: Any, next_place: Any, places: Any) -> None:
    """Row numbers, group after group, into ``places``; ``next_place``: where each group begins."""
    for row in range(codes.size):
        code = codes[row]
        places[next_place[code]] = row
        next_place[code] += 1
