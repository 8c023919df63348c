"""Conditions over columns in memory: two masks, where it is true and where it is false.

What is in neither is NULL. NaN equals itself and is above all other numbers, as in PostgreSQL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.aggregates.conditions import (
    All,
    Any_,
    Comparison,
    Condition,
    IsNull,
    Not,
    OneOf,
    bad_condition,
    typed_value,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.aggregates.columns import Column

    Bools = npt.NDArray[np.bool_]
    Masks = tuple[Bools, Bools]

#: Gives a text column's number of each row, and its texts by number.
Numbered = Callable[["Column"], tuple["npt.NDArray[np.uint32]", list[Any]]]

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: Of Arrow's units of time.
TICKS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def where_true(condition: Condition, columns: Mapping[str, Column], numbered: Numbered) -> Bools:
    """The rows that count."""
    return _masks(condition, columns, numbered)[0]


def _masks(condition: Condition, columns: Mapping[str, Column], numbered: Numbered) -> Masks:
    match condition:
        case Not(part):
            true, false = _masks(part, columns, numbered)
            return false, true
        case All(parts):
            both = [_masks(part, columns, numbered) for part in parts]
            return reduce(lambda one, other: (one[0] & other[0], one[1] | other[1]), both)
        case Any_(parts):
            both = [_masks(part, columns, numbered) for part in parts]
            return reduce(lambda one, other: (one[0] | other[0], one[1] & other[1]), both)
        case IsNull(name):
            column = columns[name]
            known = column.valid if column.valid is not None else np.ones(len(column.array), bool)
            return ~known, known
        case OneOf(name, values):
            column = columns[name]
            true = np.zeros(len(column.array), np.bool_)
            for value in values:
                true |= _compared(column, "=", value, numbered)
            return _known(column, true)
        case Comparison(name, sign, value):
            return _known(columns[name], _compared(columns[name], sign, value, numbered))


def _known(column: Column, true: Bools) -> Masks:
    if column.valid is None:
        return true, ~true
    return true & column.valid, ~true & column.valid


def _compared(column: Column, sign: str, given: Any, numbered: Numbered) -> Bools:
    """Under NULL anything."""
    value = typed_value(column.name, column.family, given)
    if column.family == "text":
        return _texts(column, sign, value, numbered)
    if column.family == "float":
        return _floats(column.floats, sign, value)
    return _integers(column.integers, sign, _in_ticks(column, value))


def _texts(column: Column, sign: str, value: str, numbered: Numbered) -> Bools:
    """Each different text is compared once, by its letters' code points, as COLLATE "C" does."""
    codes, texts = numbered(column)
    true = [text is not None and _COMPARE[sign](text, value) for text in texts]
    return np.asarray([*true, False], np.bool_)[codes]


def _floats(values: npt.NDArray[np.float64], sign: str, value: float) -> Bools:
    true: Bools = _COMPARE[sign](values, value)
    if math.isnan(value):
        missing = np.isnan(values)
        everything = np.ones(len(values), np.bool_)
        return {"=": missing, "<>": ~missing, "<": ~missing, ">=": missing}.get(
            sign, everything if sign == "<=" else ~everything
        )
    return true | np.isnan(values) if sign in (">", ">=") else true


def _integers(values: npt.NDArray[np.int64], sign: str, value: Fraction) -> Bools:
    """Exactly, also beside a value that is no integer or lies outside of int64."""
    floor = value.numerator // value.denominator
    whole = value.denominator == 1
    if not whole and sign in ("=", "<>"):
        return np.full(len(values), sign == "<>")
    if not whole:  # above 1.5 is above 1, and at least 1.5 too; below 1.5 is at most 1
        sign = {">": ">", ">=": ">", "<": "<=", "<=": "<="}[sign]
    limits = np.iinfo(np.int64)
    if not limits.min <= floor <= limits.max:
        below = floor > limits.max  # all values are, or none
        true = sign == "<>" or sign in (("<", "<=") if below else (">", ">="))
        return np.full(len(values), true)
    found: Bools = _COMPARE[sign](values, floor)
    return found


def _in_ticks(column: Column, value: Any) -> Fraction:
    kind = str(column.type)
    if isinstance(value, datetime):
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        microseconds = since // timedelta(microseconds=1)
        return Fraction(microseconds * TICKS_PER_S[column.type.unit], 1_000_000)
    if isinstance(value, date):
        if not kind.startswith("date"):
            raise bad_condition(
                f"the condition on {column.name!r} ({kind}) has a date", "compare a column of dates"
            )
        days = (value - date(1970, 1, 1)).days
        return Fraction(days * (86_400_000 if kind.startswith("date64") else 1))
    scale = 10**column.type.scale if column.family == "decimal" else 1
    return Fraction(value if isinstance(value, int | Decimal) else int(value)) * scale
