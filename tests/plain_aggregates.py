"""Aggregates as one would write them down: lists of values, exact fractions, SQL's rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]


def aggregate_plainly(
    rows: Sequence[Row],
    by: Sequence[str],
    operations: Sequence[Any],
    where: Callable[[Row], bool | None] = lambda row: True,
    bucket: tuple[str, timedelta, datetime] | None = None,
) -> list[tuple[Any, ...]]:
    """A tuple a group: its keys, then each operation; sorted, NaN above all others, NULL last."""
    groups: dict[tuple[Any, ...], tuple[list[Any], list[Row]]] = {}
    for row in rows:
        if where(row) is not True:
            continue
        keys = [row[name] for name in by]
        if bucket is not None:
            keys.append(start_of(row[bucket[0]], bucket[1], bucket[2]))
        groups.setdefault(tuple(map(sort_key, keys)), (keys, []))[1].append(row)
    if not by and bucket is None:
        groups = {(): ([], groups[()][1] if groups else [])}
    return [
        (*map(shown_key, groups[key][0]), *(result(one, groups[key][1]) for one in operations))
        for key in sorted(groups)
    ]


def start_of(moment: Any, width: timedelta, origin: datetime) -> Any:
    return None if moment is None else origin + (moment - origin) // width * width


def shown_key(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value


def sort_key(value: Any) -> tuple[Any, ...]:
    """Orders any value of one column: numbers, NaN, NULL; -0.0 as 0.0."""
    if value is None:
        return (2,)
    if isinstance(value, float) and math.isnan(value):
        return (1,)
    return (
        0,
        value.encode() if isinstance(value, str) else value + 0 if is_number(value) else value,
    )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal)


def result(one: Any, rows: Sequence[Row]) -> Any:
    if one.function == "count" and not one.columns:
        return len(rows)
    if len(one.columns) == 2:
        return of_pairs(one, rows)
    if one.function in ("first", "last"):
        return end(one, rows)
    values = [row[one.columns[0]] for row in rows if row[one.columns[0]] is not None]
    if one.function == "count":
        return len(values)
    if not values:
        return None
    return _OF_VALUES[one.function](values, one)


def end(one: Any, rows: Sequence[Row]) -> Any:
    name, order = one.columns[0], one.order_by
    known = [row for row in rows if row[name] is not None and row[order] is not None]
    if not known:
        return None
    times = [row[order] for row in known]
    if one.function == "first":
        return known[times.index(min(times))][name]
    return known[len(times) - 1 - times[::-1].index(max(times))][name]


def total(values: Sequence[Any], one: Any = None) -> Any:
    if not isinstance(values[0], float):
        return sum(values)
    if not all(map(math.isfinite, values)):
        return sum(values)
    return float(sum(map(Fraction, values)))


def mean(values: Sequence[Any], one: Any = None) -> float:
    if isinstance(values[0], float) and not all(map(math.isfinite, values)):
        return sum(values) / len(values)
    return float(sum(map(Fraction, values)) / len(values))


def spread(values: Sequence[Any], one: Any) -> float | None:
    degrees = len(values) - (not one.function.endswith("_pop"))
    if not degrees:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    exact = [Fraction(value) for value in values]
    middle = sum(exact) / len(exact)
    found = float(sum((value - middle) ** 2 for value in exact) / degrees)
    return math.sqrt(found) if one.function.startswith("std") else found


def continuous(values: Sequence[Any], one: Any) -> float:
    ordered = sorted(map(float, values), key=sort_key)
    place = (0.5 if one.q is None else one.q) * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    if low == high:
        return ordered[low]
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def discrete(values: Sequence[Any], one: Any) -> Any:
    ordered = sorted(values, key=sort_key)
    return ordered[max(math.ceil(one.q * len(ordered)), 1) - 1]


def of_pairs(one: Any, rows: Sequence[Row]) -> float | None:
    first, second = one.columns
    pairs = [
        (float(row[first]), float(row[second]))
        for row in rows
        if row[first] is not None and row[second] is not None
    ]
    if not pairs:
        return None
    if one.function == "weighted_mean":
        weight = sum(y for _, y in pairs)
        return None if weight == 0 else sum(x * y for x, y in pairs) / weight
    if not all(math.isfinite(value) for pair in pairs for value in pair):
        return not_finite_correlation(pairs)
    xs, ys = ([Fraction(pair[side]) for pair in pairs] for side in (0, 1))
    dx, dy = ([v - sum(vs) / len(vs) for v in vs] for vs in (xs, ys))
    across, along = sum(d * d for d in dx), sum(d * d for d in dy)
    if not across or not along:
        return None
    product = sum(x * y for x, y in zip(dx, dy, strict=True))
    return float(product) / math.sqrt(across) / math.sqrt(along)


def not_finite_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """NaN, but NULL where the other side does not vary."""
    for side in (0, 1):
        values = [pair[side] for pair in pairs]
        if all(map(math.isfinite, values)) and len(set(values)) == 1:
            return None
    return math.nan


_OF_VALUES: dict[str, Callable[[Sequence[Any], Any], Any]] = {
    "sum": total,
    "mean": mean,
    "var": spread,
    "std": spread,
    "var_pop": spread,
    "std_pop": spread,
    "min": lambda values, one: min(values, key=sort_key),
    "max": lambda values, one: max(values, key=sort_key),
    "median": continuous,
    "quantile": continuous,
    "quantile_disc": discrete,
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def alike(mine: Any, theirs: Any, scale: float = 1.0) -> bool:
    """Equal, floats to a relative 1e-9 of their own size or of ``scale``."""
    if isinstance(mine, float) and isinstance(theirs, float | Decimal):
        other = float(theirs)
        if math.isnan(mine) or math.isnan(other) or math.isinf(mine) or math.isinf(other):
            return mine == other or (math.isnan(mine) and math.isnan(other))
        return math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-12 * scale)
    return bool(mine == theirs) and (mine is None) == (theirs is None)
