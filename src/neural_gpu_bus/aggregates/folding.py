"""Sums, means, variances, extremes and correlations of each group: one pass over the columns.

Each part of the rows has a record a group, measured from the group's first value; records of parts
are joined by Chan, Golub and LeVeque (1983), eq. 2.1. Where that first value lies so far out that
digits were lost, the part is gone through once more about the mean. Parts depend on rows and groups
alone, so threads change no digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.aggregates.threads import parts, side_by_side

if TYPE_CHECKING:
    import numpy.typing as npt

    Codes = npt.NDArray[np.uint32]
    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

#: Columns side by side, as the compiled loop takes them.
LANES = 4

#: Records begin at a multiple of this, so that no vector of four lies in two cache lines: 2.8 ns a
#: row instead of 3.4.
_LINE_BYTES = 64


@dataclass(frozen=True, slots=True)
class FloatFold:
    """What is known of one column, each of shape (groups,); of four while they are folded."""

    counts: Integers
    sums: Floats
    #: Sums of squared distances from the mean.
    squares: Floats
    #: Extremes of what is not NaN; inf and -inf where there is none.
    lows: Floats
    highs: Floats


@dataclass(frozen=True, slots=True)
class IntegerFold:
    """The same of integers; the sum is ``high * 2**32 + low``, exactly."""

    counts: Integers
    sums_low: Integers
    sums_high: Integers
    lows: Integers
    highs: Integers


@dataclass(frozen=True, slots=True)
class PairFold:
    """What is known of two columns together, each of shape (groups,)."""

    counts: Floats
    sums_x: Floats
    sums_y: Floats
    sums_xy: Floats
    squares_x: Floats
    squares_y: Floats
    products: Floats


def fold_floats(
    codes: Codes, groups: int, columns: Sequence[Floats], threads: int
) -> list[FloatFold]:
    """Columns (rows,) without NULLs by ``codes`` (rows,), 0 to ``groups``; the last is left out."""
    fours = [columns[start : start + LANES] for start in range(0, len(columns), LANES)]
    slices = parts(len(codes), groups + 1)
    folds: list[FloatFold] = []
    # A vector's lanes that nobody needs cost nothing but their loads.
    filled = [[*four, *[four[0]] * (LANES - len(four))] for four in fours]
    for four, joined in zip(fours, _folded(codes, groups, filled, slices, threads), strict=True):
        arrays = (joined.sums, joined.squares, joined.lows, joined.highs)
        folds += [
            FloatFold(joined.counts, *(array[:, lane] for array in arrays))
            for lane in range(len(four))
        ]
    return folds


def _folded(
    codes: Codes, groups: int, fours: list[list[Floats]], slices: list[slice], threads: int
) -> Iterator[FloatFold]:
    """Every four columns' fold, side by side in arrays of (groups, 4)."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled
    from neural_gpu_bus.aggregates import joining_compiled as joining
    from neural_gpu_bus.aggregates import vector_words

    def work(rows: slice) -> list[tuple[Floats, Integers]]:
        made = []
        for values in fours:
            records, counts = _empty_records(groups + 1, vector_words.RECORD), np.zeros_like(nobody)
            four = [column[rows] for column in values]
            joining.begin(records)
            compiled.fold_floats(codes[rows], *four, records, counts)
            if joining.lost_digits(records, counts):
                # Once more, about the means; a count that is not 0 keeps them as shifts.
                joining.begin_at_means(records, counts)
                compiled.fold_floats(codes[rows], *four, records, counts.copy())
            made.append((records, counts))
        return made

    nobody = np.zeros(groups + 1, np.int64)
    done = side_by_side(work, slices, threads)
    for place in range(len(fours)):
        total, counts = np.empty((groups, joining.TOTAL)), np.zeros(groups, np.int64)
        joining.begin_totals(total)
        for part in done:
            joining.join(*part[place], total, counts)
        yield FloatFold(counts, *(total[:, at : at + LANES] for at in joining.TOTALS))


def _empty_records(groups: int, places: int) -> Floats:
    room = np.empty(groups * places + _LINE_BYTES // 8)
    start = -room.ctypes.data % _LINE_BYTES // 8
    return room[start : start + groups * places].reshape(groups, places)


def fold_integers(codes: Codes, groups: int, values: Integers, threads: int) -> IntegerFold:
    """One column of integers; exact."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    def empty() -> Integers:
        records = np.zeros((groups + 1, compiled.INT_RECORD), np.int64)
        limits = np.iinfo(np.int64)
        records[:, compiled.LOW], records[:, compiled.HIGH] = limits.max, limits.min
        return records

    def work(rows: slice) -> Integers:
        records = empty()
        compiled.fold_integers(codes[rows], values[rows], records)
        return records

    total = empty()
    for records in side_by_side(work, parts(len(codes), groups + 1), threads):
        total[:, : compiled.LOW] += records[:, : compiled.LOW]
        low, high = compiled.LOW, compiled.HIGH
        total[:, low] = np.minimum(total[:, low], records[:, low])
        total[:, high] = np.maximum(total[:, high], records[:, high])
    return IntegerFold(*total[:-1].T)


def fold_pairs(codes: Codes, groups: int, x: Floats, y: Floats, threads: int) -> PairFold:
    """Two columns without NULLs: sums first, then squares and products about each part's means."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    def work(rows: slice) -> tuple[Floats, Floats]:
        records = np.zeros((groups + 1, compiled.PAIR_RECORD))
        compiled.fold_pairs(codes[rows], x[rows], y[rows], records)
        with np.errstate(all="ignore"):
            means = records[:, compiled.SUM_X : compiled.SUM_XY] / records[:, :1]
        products = np.zeros((groups + 1, 3))
        compiled.fold_products(codes[rows], x[rows], y[rows], means.copy(), products)
        return records[:-1], products[:-1]

    total, products = np.zeros((groups, compiled.PAIR_RECORD)), np.zeros((groups, 3))
    with np.errstate(all="ignore"):
        for records, added in side_by_side(work, parts(len(codes), groups + 1), threads):
            products = products + added + _between(total, records)
            total = total + records
    return PairFold(*total.T, *products.T)


def _between(first: Floats, second: Floats) -> Floats:
    """What two parts' means add to squares and products."""
    n, m = first[:, :1], second[:, :1]
    distance = second[:, 1:3] / m - first[:, 1:3] / n
    dx, dy = distance.T
    weighted = np.stack([dx * dx, dy * dy, dx * dy], axis=1) * (n * m / (n + m))
    return np.where((n > 0) & (m > 0), weighted, 0.0)


def count_rows(codes: Codes, groups: int, threads: int) -> Integers:
    """Rows of each group."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    def work(rows: slice) -> Integers:
        counts = np.zeros(groups + 1, np.int64)
        compiled.count_rows(codes[rows], counts)
        return counts

    total = np.zeros(groups + 1, np.int64)
    for counts in side_by_side(work, parts(len(codes), groups + 1), threads):
        total += counts
    return total[:-1]


def find_ends(codes: Codes, groups: int, order: Integers, threads: int) -> Integers:
    """First and last row of each group by ``order``, (groups, 2); -1 where there is none."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    def work(rows: slice) -> Integers:
        ends = np.full((groups + 1, 2), -1, np.int64)
        compiled.find_ends(codes[rows], order[rows], ends)
        return np.where(ends < 0, ends, ends + rows.start)

    total = np.full((groups + 1, 2), -1, np.int64)
    for ends in side_by_side(work, parts(len(codes), groups + 1), threads):
        there = ends[:, 0] >= 0
        first = there & ((total[:, 0] < 0) | (order[ends[:, 0]] < order[total[:, 0]]))
        last = there & ((total[:, 1] < 0) | (order[ends[:, 1]] >= order[total[:, 1]]))
        total[:, 0] = np.where(first, ends[:, 0], total[:, 0])
        total[:, 1] = np.where(last, ends[:, 1], total[:, 1])
    return total[:-1]


def rows_by_group(codes: Codes, groups: int) -> tuple[Integers, Integers]:
    """Row numbers, group after group, and where each group's begin, (groups + 1,)."""
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    counts = np.zeros(groups + 1, np.int64)
    compiled.count_rows(codes, counts)
    begins = np.concatenate([[0], np.cumsum(counts)])
    places = np.empty(len(codes), np.int64)
    compiled.order_rows(codes, begins[:-1].copy(), places)
    return places, begins[:-1]
