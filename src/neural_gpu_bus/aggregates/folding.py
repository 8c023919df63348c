"""Sums, means, variances, extremes and correlations of each group: one pass over the columns.

Each part of the rows has a record a group, measured from the group's first value; records of parts
are joined by Chan, Golub and LeVeque (1983), eq. 2.1. Where that first value lies so far out that
digits were lost, the part is gone through once more about the mean. Parts depend on rows and groups
alone, so threads change no digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

#: A variance of less than this share of the squares about the first value has lost four bits and
#: is computed again about the mean.
_LOST = 1 / 16


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
    from neural_gpu_bus.aggregates import folding_compiled as compiled

    lanes = LANES
    fours = [columns[start : start + lanes] for start in range(0, len(columns), lanes)]

    def work(rows: slice) -> list[FloatFold]:
        folds: list[FloatFold] = []
        for four in fours:
            values = [column[rows] for column in four]
            # A vector's lanes that nobody needs cost nothing but their loads.
            values += [values[0]] * (lanes - len(values))
            folds.append(_fold_part(compiled, codes[rows], groups, values))
        return folds

    done = side_by_side(work, parts(len(codes), groups + 1), threads)
    with np.errstate(all="ignore"):
        joined = [_joined([part[four] for part in done], groups) for four in range(len(fours))]
    return [_lane(joined[place // lanes], place % lanes) for place in range(len(columns))]


def _lane(fold: FloatFold, lane: int) -> FloatFold:
    arrays = (fold.sums, fold.squares, fold.lows, fold.highs)
    return FloatFold(fold.counts[:, 0], *(array[:, lane] for array in arrays))


def _fold_part(compiled: Any, codes: Codes, groups: int, values: list[Floats]) -> FloatFold:
    """Four columns' folds side by side, of shape (groups, 4)."""
    records, counts = _empty_records(compiled, groups)
    compiled.fold_floats(codes, *values, records, counts)
    fold, lost = _summed(compiled, records, counts)
    if lost:
        # Once more, about the means: they become the shifts, and a count that is not 0 keeps them.
        again, _ = _empty_records(compiled, groups)
        again[:, compiled.SHIFTS :] = _means(fold)
        compiled.fold_floats(codes, *values, again, counts.copy())
        fold, _ = _summed(compiled, again, counts)
    arrays = (fold.counts, fold.sums, fold.squares, fold.lows, fold.highs)
    return FloatFold(*(array[:-1] for array in arrays))  # type: ignore[arg-type]


def _empty_records(compiled: Any, groups: int) -> tuple[Floats, Integers]:
    size = (groups + 1) * compiled.RECORD
    room = np.zeros(size + _LINE_BYTES // 8)
    start = -room.ctypes.data % _LINE_BYTES // 8
    records = room[start : start + size].reshape(groups + 1, compiled.RECORD)
    records[:, compiled.LOWS : compiled.HIGHS] = np.inf
    records[:, compiled.HIGHS : compiled.SHIFTS] = -np.inf
    return records, np.zeros(groups + 1, np.int64)


def _summed(compiled: Any, records: Floats, counts: Integers) -> tuple[FloatFold, bool]:
    """What the records say, and whether digits were lost in any group that counts."""
    rows = counts[:, None]
    places = (compiled.SUMS, compiled.SQUARES, compiled.LOWS, compiled.HIGHS, compiled.SHIFTS)
    added, about, lows, highs, shifts = (records[:, at : at + LANES] for at in places)
    with np.errstate(all="ignore"):
        squares = about - added * added / rows
        lost = bool((squares[:-1] < about[:-1] * _LOST).any())
        squares = np.where(squares < 0, 0.0, squares)
        sums = rows * shifts + added
    return FloatFold(rows, sums, squares, lows, highs), lost


def _means(fold: FloatFold) -> Floats:
    with np.errstate(all="ignore"):
        means = fold.sums / fold.counts
    return np.where(np.isfinite(means), means, 0.0)


def _joined(folds: list[FloatFold], groups: int) -> FloatFold:
    """Records of all parts, in their order."""
    if not folds:
        nothing = np.zeros((groups, LANES))
        counts = np.zeros((groups, 1), np.int64)
        return FloatFold(counts, nothing, nothing, nothing + np.inf, nothing - np.inf)
    total = folds[0]
    for fold in folds[1:]:
        both = total.counts + fold.counts
        new, two = fold.counts > 0, (fold.counts > 0) & (total.counts > 0)
        distance = fold.sums / fold.counts - total.sums / total.counts
        between = distance * distance * (total.counts * (fold.counts / both))
        total = FloatFold(
            both,
            total.sums + np.where(new, fold.sums, 0.0),
            np.where(total.counts > 0, total.squares, 0.0)
            + np.where(new, fold.squares, 0.0)
            + np.where(two, between, 0.0),
            np.minimum(total.lows, fold.lows),
            np.maximum(total.highs, fold.highs),
        )
    return total


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
