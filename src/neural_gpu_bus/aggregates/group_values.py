"""Each operation's result for every group, from folds that are made once and shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.aggregates.columns import ArrowArray, from_floats, from_integers
from neural_gpu_bus.aggregates.folding import (
    FloatFold,
    IntegerFold,
    count_rows,
    find_ends,
    fold_floats,
    fold_integers,
    fold_pairs,
)
from neural_gpu_bus.aggregates.quantiles import SortedGroups
from neural_gpu_bus.errors import BadValueError

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.aggregates.columns import Column
    from neural_gpu_bus.aggregates.groups import Groups, Numbers
    from neural_gpu_bus.aggregates.operations import Aggregate

    Array = npt.NDArray[Any]

_FOLDED = frozenset({"sum", "mean", "var", "std", "var_pop", "std_pop", "min", "max"})
_SPREADS = frozenset({"var", "std", "var_pop", "std_pop"})


class GroupValues:
    """Columns and their groups; every method gives one result column, a row a group."""

    def __init__(
        self,
        groups: Groups,
        columns: Mapping[str, Column],
        numbers: Numbers,
        threads: int,
    ) -> None:
        self._groups, self._columns = groups, columns
        self._numbers, self._threads = numbers, threads
        self._codes_of: dict[tuple[str, ...], Array] = {}
        self._floats: dict[str, FloatFold] = {}
        self._integers: dict[str, IntegerFold] = {}
        self._ends: dict[tuple[str, str], Array] = {}
        self._sorted: dict[tuple[str, bool], SortedGroups] = {}
        self._ranks: dict[str, tuple[Array, ArrowArray]] = {}
        self._counts: dict[str, Array] = {}

    # ---- folds

    def fold_together(self, operations: Sequence[Aggregate]) -> None:
        """Float columns without NULLs in one pass, four side by side; the others each alone."""
        wanted: dict[str, None] = {}
        for one in operations:
            is_float = one.function in _FOLDED and self._of(one).family == "float"
            if is_float or one.function in _SPREADS:
                wanted[one.columns[0]] = None
        full = [name for name in wanted if self._columns[name].valid is None]
        count, threads = self._groups.count, self._threads
        if full:
            values = [self._measured(name) for name in full]
            folds = fold_floats(self._groups.codes, count, values, threads)
            self._floats.update(zip(full, folds, strict=True))
        for name in wanted:
            if name not in self._floats:
                alone = self._measured(name)
                (self._floats[name],) = fold_floats(self._codes(name), count, [alone], threads)

    def _measured(self, name: str) -> Array:
        """A column as floats, integers from the smallest on: float64 has 53 bits of a large one."""
        column = self._columns[name]
        if column.family == "float":
            return column.floats
        values = column.integers
        known = values if column.valid is None else values[column.valid]
        least = int(known.min()) if len(known) else 0
        if len(known) and int(known.max()) - least <= 2**53:
            with np.errstate(over="ignore"):  # fillers under NULL
                return (values - least).astype(np.float64)
        # From each group's own smallest, modulo 2^64, which every distance lies below.
        lows = np.append(self._integer_fold(name).lows, 0)[self._codes(name)]
        return (values.view(np.uint64) - lows.view(np.uint64)).astype(np.float64)

    def _integer_fold(self, name: str) -> IntegerFold:
        if name not in self._integers:
            column = self._columns[name]
            values = self._rank(name)[0] if column.family == "text" else column.integers
            self._integers[name] = fold_integers(
                self._codes(name), self._groups.count, values, self._threads
            )
        return self._integers[name]

    def _codes(self, *names: str) -> Array:
        """Groups of rows where all these are known."""
        if names not in self._codes_of:
            codes = self._groups.codes
            for name in names:
                valid = self._columns[name].valid
                if valid is not None:
                    codes = np.where(valid, codes, np.uint32(self._groups.count))
            self._codes_of[names] = codes
        return self._codes_of[names]

    def _rank(self, name: str) -> tuple[Array, ArrowArray]:
        """Places of a column's texts in their order, and the texts in it."""
        if name not in self._ranks:
            found = self._numbers.of(self._columns[name])
            # Code points order as their UTF-8 does, which is Arrow's order and COLLATE "C".
            order = np.argsort(np.asarray(found.values.to_pylist() or [""], dtype=object))
            places = np.zeros(len(order) + 1, np.int64)
            places[order] = np.arange(len(order))
            texts = found.values.take(pa.array(order)) if len(found.values) else found.values
            self._ranks[name] = places[found.codes], texts
        return self._ranks[name]

    def _of(self, one: Aggregate) -> Column:
        return self._columns[one.columns[0]]

    # ---- results

    @cached_property
    def rows(self) -> Array:
        """Rows of each group; a fold of a column without NULLs has counted them."""
        for name, fold in self._floats.items():
            if self._columns[name].valid is None:
                return fold.counts
        return count_rows(self._groups.codes, self._groups.count, self._threads)

    def count(self, one: Aggregate) -> ArrowArray:
        """Rows, or those where a column is known."""
        if not one.columns or self._of(one).valid is None:
            return pa.array(np.ascontiguousarray(self.rows))
        return pa.array(self._known(one.columns[0]))

    def _known(self, name: str) -> Array:
        if self._columns[name].valid is None:
            return self.rows
        if name not in self._counts:
            codes = self._codes(name)
            self._counts[name] = count_rows(codes, self._groups.count, self._threads)
        return self._counts[name]

    def sum(self, one: Aggregate) -> ArrowArray:
        """Of floats float64, of integers int64, of decimals a decimal of 38 digits; both exact."""
        column = self._of(one)
        if column.family == "float":
            sums = self._sums(column)
            return from_floats(sums, self._known(column.name) > 0)
        fold = self._integer_fold(column.name)
        high = fold.sums_high + (fold.sums_low >> 32)
        if ((high >= 2**31) | (high < -(2**31))).any():
            raise _overflow(column.name, "an int64", "cast the column to float64")
        sums = (high << 32) | (fold.sums_low & 0xFFFFFFFF)
        decimal = column.family == "decimal"
        kind: Any = pa.decimal128(38, column.type.scale) if decimal else pa.int64()
        return from_integers(sums, fold.counts > 0, kind)

    def _sums(self, column: Column) -> Array:
        fold = self._floats[column.name]
        odd = ~np.isfinite(fold.sums) & np.isfinite(fold.lows) & np.isfinite(fold.highs)
        odd &= self._nans(column) == 0
        if not odd.any():
            return fold.sums
        # Measured from the first value, a sum may overflow that does not as it stands.
        codes = self._codes(column.name)
        plain = np.bincount(codes, column.floats, minlength=self._groups.count + 1)[:-1]
        if not np.isfinite(plain[odd]).all():
            raise _overflow(column.name, "a float64", "divide the column first")
        return np.where(odd, plain, fold.sums)

    def _nans(self, column: Column) -> Array:
        """NaNs in each group; looked for only where a sum is none."""
        if not np.isnan(self._floats[column.name].sums).any():
            return np.zeros(self._groups.count, np.int64)
        codes = self._codes(column.name)[np.isnan(column.floats)]
        return np.bincount(codes, minlength=self._groups.count + 1)[:-1]

    def mean(self, one: Aggregate) -> ArrowArray:
        """float64; of integers and decimals from their exact sum."""
        column = self._of(one)
        if column.family == "float":
            counts = self._known(column.name)
            sums = self._sums(column)
        else:
            fold = self._integer_fold(column.name)
            counts = fold.counts
            sums = fold.sums_high * 2.0**32 + fold.sums_low
            small = np.abs(sums) < 2.0**53
            exact = (fold.sums_high[~small], fold.sums_low[~small], counts[~small])
            sums = np.asarray(sums, np.float64)
        with np.errstate(all="ignore"):
            means = sums / counts
        if column.family != "float":
            means[~small] = [
                (int(high) * 2**32 + int(low)) / max(int(count), 1)
                for high, low, count in zip(*exact, strict=True)
            ]
        if column.family == "decimal":
            means = means / 10.0**column.type.scale
        return from_floats(means, counts > 0)

    def spread(self, one: Aggregate) -> ArrowArray:
        """Variance or standard deviation; of a sample NULL for fewer than two values."""
        column, fold = self._of(one), self._floats[one.columns[0]]
        if column.family == "float":
            finite = np.isfinite(fold.lows) & np.isfinite(fold.highs) & (self._nans(column) == 0)
            if (finite & ~np.isfinite(fold.squares)).any():
                raise _overflow(column.name, "the squares of a float64", "divide the column first")
        sample = not one.function.endswith("_pop")
        counts = fold.counts
        with np.errstate(all="ignore"):
            found = fold.squares / (counts - sample)
        if column.family == "decimal":
            found = found / 100.0**column.type.scale
        if one.function.startswith("std"):
            found = np.sqrt(found)
        return from_floats(found, counts > sample)

    def extreme(self, one: Aggregate) -> ArrowArray:
        """Smallest or largest value. NaN is above all others; texts go by code points."""
        column, low = self._of(one), one.function == "min"
        if column.family == "float":
            fold = self._floats[column.name]
            nans = self._nans(column)
            values = fold.lows if low else fold.highs
            odd = (nans == fold.counts) & (nans > 0) if low else nans > 0
            return from_floats(np.where(odd, np.nan, values), fold.counts > 0, column.type)
        whole = self._integer_fold(column.name)
        return self._valued(column, whole.lows if low else whole.highs, whole.counts > 0)

    def _valued(self, column: Column, values: Array, valid: Array) -> ArrowArray:
        if column.family != "text":
            return from_integers(values, valid, column.type)
        texts = self._rank(column.name)[1]
        return texts.take(pa.array(np.where(valid, values, 0), mask=~valid))

    def end(self, one: Aggregate) -> ArrowArray:
        """The first or last known value by time."""
        name, order = one.columns[0], str(one.order_by)
        if (name, order) not in self._ends:
            self._ends[name, order] = find_ends(
                self._codes(name, order),
                self._groups.count,
                self._columns[order].integers,
                self._threads,
            )
        rows = self._ends[name, order][:, 0 if one.function == "first" else 1]
        array: Any = self._columns[name].array.take(pa.array(np.maximum(rows, 0), mask=rows < 0))
        return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array

    def quantile(self, one: Aggregate) -> ArrowArray:
        """``median`` and ``quantile`` between two values, ``quantile_disc`` one of them."""
        column, exact = self._of(one), one.function == "quantile_disc"
        found = self._sorted_groups(column, exact)
        valid = found.counts > 0
        if not exact:
            q = 0.5 if one.q is None else float(one.q)
            return from_floats(found.continuous(q), valid)
        values = found.discrete(float(one.q or 0.0))
        if column.family == "float":
            return from_floats(values, valid, column.type)
        return self._valued(column, values, valid)

    def _sorted_groups(self, column: Column, exact: bool) -> SortedGroups:
        as_floats = column.family == "float" or not exact
        if (column.name, as_floats) not in self._sorted:
            if column.family == "text":
                values = self._rank(column.name)[0]
            else:
                values = column.floats if as_floats else column.integers
            self._sorted[column.name, as_floats] = SortedGroups(
                self._codes(column.name), self._groups.count, values, self._threads
            )
        return self._sorted[column.name, as_floats]

    def correlation(self, one: Aggregate) -> ArrowArray:
        """Pearson's, of rows where both are known; NULL where one of them does not vary."""
        fold = self._pairs(one, self._measured)
        with np.errstate(all="ignore"):
            found = fold.products / np.sqrt(fold.squares_x) / np.sqrt(fold.squares_y)
        varies = (fold.squares_x != 0) & (fold.squares_y != 0) & (fold.counts > 0)
        return from_floats(np.clip(found, -1.0, 1.0), varies)

    def weighted_mean(self, one: Aggregate) -> ArrowArray:
        """Sum of value times weight by the sum of weights; NULL where that is 0."""
        fold = self._pairs(one, lambda name: self._columns[name].floats)
        with np.errstate(all="ignore"):
            found = fold.sums_xy / fold.sums_y
        return from_floats(found, (fold.counts > 0) & (fold.sums_y != 0))

    def _pairs(self, one: Aggregate, as_floats: Callable[[str], Array]) -> Any:
        first, second = one.columns
        x, y = as_floats(first), as_floats(second)
        return fold_pairs(self._codes(first, second), self._groups.count, x, y, self._threads)


def _overflow(column: str, what: str, way_out: str) -> BadValueError:
    return BadValueError(
        f"the sum of column {column!r} does not fit into {what}",
        hint=way_out,
        column=column,
        row=0,
    )
