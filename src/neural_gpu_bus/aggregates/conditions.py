"""Which rows count: a small typed condition that means the same in memory and in PostgreSQL.

Given as a mapping, ``{"close": (">", 10), "instrument_id": ["A", "B"], "volume": None}``, all of
which have to hold, or as text, see ``condition_text``. Logic is SQL's with three values: a row
counts where the condition is true, not where it is NULL.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from neural_gpu_bus.errors import BadParameterError

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
_OPERATORS: Mapping[str, Operator] = {
    "=": "=", "==": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip

#: Values in one list.
VALUES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column beside a value."""

    column: str
    operator: Operator
    value: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column equal to one of some values; false for none at all."""

    column: str
    values: tuple[Any, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column that is NULL."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class All:
    """Conditions that all hold."""

    parts: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(name for part in self.parts for name in part.columns)


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801  (``Any`` is typing's)
    """Conditions of which one holds."""

    parts: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(name for part in self.parts for name in part.columns)


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that does not hold; NULL stays NULL."""

    part: Condition

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return self.part.columns


Condition: TypeAlias = Comparison | OneOf | IsNull | All | Any_ | Not


def condition_of(where: Any) -> Condition | None:
    """What was given, as a condition. Raises BadParameterError."""
    from neural_gpu_bus.aggregates.condition_text import parse_condition

    if where is None:
        return None
    if isinstance(where, str):
        return parse_condition(where)
    if not isinstance(where, Mapping) or not all(isinstance(name, str) for name in where):
        raise bad_condition(
            f"where is {where!r}", "give {'close': ('>', 10)}, or a text: \"close > 10\""
        )
    if not where:
        return None
    return All(tuple(_of_column(name, value) for name, value in where.items()))


def _of_column(column: str, value: Any) -> Condition:
    if value is None:
        return IsNull(column)
    if isinstance(value, list | set | frozenset):
        return one_of(column, list(value))
    if not isinstance(value, tuple):
        return comparison(column, "=", value)
    return _of_tuple(column, value)


def _of_tuple(column: str, value: tuple[Any, ...]) -> Condition:
    match value:
        case ("is not null",):
            return Not(IsNull(column))
        case ("in", list() | tuple() as values):
            return one_of(column, list(values))
        case ("not in", list() | tuple() as values):
            return Not(one_of(column, list(values)))
        case ("between", low, high):
            return All((comparison(column, ">=", low), comparison(column, "<=", high)))
        case (str() as operator, other) if operator in _OPERATORS:
            return comparison(column, operator, other)
    raise bad_condition(
        f"the condition on {column!r} is {value!r}",
        "give a value, a list, None, or ('>', 10), ('between', 1, 2), ('not in', [3])",
    )


def comparison(column: str, operator: str, value: Any) -> Comparison:
    """Raises BadParameterError for NULL, which nothing is equal to."""
    if value is None:
        raise bad_condition(
            f"the condition on {column!r} compares with NULL, which is never true",
            f"None alone finds NULL: {{{column!r}: None}}, or {column} IS NULL",
        )
    return Comparison(column, _OPERATORS[operator], value)


def one_of(column: str, values: list[Any]) -> OneOf:
    """Raises BadParameterError for NULL among them, and for too many."""
    if any(value is None for value in values):
        raise bad_condition(
            f"the list of {column!r} has NULL in it, which nothing is equal to",
            f"say {column} IN (...) OR {column} IS NULL",
        )
    if len(values) > VALUES_MAX:
        raise bad_condition(
            f"the list of {column!r} has {len(values):,} values, more than {VALUES_MAX:,}",
            "put them into a table and join it: plane.query",
        )
    return OneOf(column, tuple(values))


def typed_value(column: str, family: str, value: Any) -> Any:
    """A condition's value as its column's family has it: int or Decimal, float, bool, str, an aware
    datetime, or a date. Raises BadParameterError for one that does not fit.
    """
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    match family:
        case "integer" | "decimal" if number and math.isfinite(value):
            return Decimal(repr(value)) if isinstance(value, float) else value
        case "float" if number:
            return float(value)
        case "text" if isinstance(value, str) and "\x00" not in value:
            return value
        case "bool" if isinstance(value, bool):
            return value
        case "timestamp" | "time":
            moment = _moment(family, value)
            if moment is not None:
                return moment
    raise bad_condition(
        f"the condition on {column!r} ({family}) has {value!r}, which is no value of that type",
        "give a number for numbers, a text for texts, a datetime or its ISO text for timestamps",
    )


def _moment(family: str, value: Any) -> datetime | date | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
        if family == "time":
            return value.date() if value == datetime.combine(value, datetime.min.time()) else None
    if family == "time":
        return value if isinstance(value, date) and not isinstance(value, datetime) else None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, datetime.min.time())
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def bad_condition(what: str, hint: str) -> BadParameterError:
    """The error of every condition that cannot be."""
    return BadParameterError(what, hint=hint, parameter="where")
