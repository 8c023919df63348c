"""The same question in SQL: names quoted, values bound, results of the same types.

Texts are grouped, compared and sorted by their code points (COLLATE "C"), as in memory; so are
labels of an enum. Sums of float4 are taken as float8, sums of bigint end in bigint or fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from neural_gpu_bus.aggregates.conditions import (
    All,
    Any_,
    Comparison,
    Condition,
    IsNull,
    Not,
    OneOf,
    typed_value,
)
from neural_gpu_bus.aggregates.operations import Aggregate
from neural_gpu_bus.aggregates.request import Request
from neural_gpu_bus.sql_text import quoted_name

_FAMILIES = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    **dict.fromkeys(("float4", "float8"), "float"),
    "numeric": "decimal",
    "bool": "bool",
    **dict.fromkeys(("timestamp", "timestamptz"), "timestamp"),
    **dict.fromkeys(("date", "time"), "time"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name"), "text"),
}
_INT8_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ServerColumn:
    """A table's column as the server knows it; a domain counts as what it is made of."""

    name: str
    #: ``pg_type.typname``.
    type: str
    #: ``pg_type.typcategory``: E of an enum, S of what is a kind of text.
    category: str
    #: ``atttypmod``: of a numeric its precision and scale, -1 for none.
    modifier: int
    #: What it is taken as instead of its own type; empty for nothing else.
    cast: str = ""

    @property
    def digits_max(self) -> int:
        """Digits that a numeric may have; without a scale 131,072 before the point."""
        return 131_072 if self._scale is None else self._scale[0]

    @property
    def family(self) -> str:
        """See ``request.Family``."""
        return _FAMILIES.get(self.type, "text" if self.category in ("E", "S") else "other")

    @property
    def sql(self) -> str:
        """Its name, quoted, and cast where it is taken as something else."""
        return f"{quoted(self.name)}::{self.cast}" if self.cast else quoted(self.name)

    @property
    def value(self) -> str:
        """What is compared, sorted and returned."""
        if self.family != "text":
            return self.sql
        plain = self.type in ("text", "varchar", "bpchar")
        return f'{self.sql} COLLATE "C"' if plain else f'{self.sql}::text COLLATE "C"'

    @property
    def number(self) -> str:
        """What is summed: float4 would lose digits on the way."""
        return f"{self.sql}::float8" if self.family == "float" else self.sql

    @property
    def key(self) -> str:
        """What groups go by: adding 0 makes -0.0 the 0.0 that it is equal to."""
        return f"({self.sql} + 0::{self.type})" if self.family == "float" else self.value

    @property
    def sum_type(self) -> str:
        """The type of its exact sum."""
        if self.family != "decimal":
            return "float8" if self.family == "float" else "int8"
        return self._numeric(38)

    @property
    def own_type(self) -> str:
        """What one of its values is cast to: a numeric loses its scale in an aggregate."""
        return f"::{self._numeric(0)}" if self.family == "decimal" else ""

    @property
    def _scale(self) -> tuple[int, int] | None:
        """A numeric's precision and scale, where it has them and the scale is not negative."""
        precision, scale = ((self.modifier - 4) >> 16) & 0xFFFF, (self.modifier - 4) & 0x7FF
        # numeric.c: a negative scale is one of 11 bits.
        return None if self.modifier < 4 or scale > precision else (precision, scale)

    def _numeric(self, precision_min: int) -> str:
        if self._scale is None:
            return "numeric"
        precision, scale = self._scale
        return f"numeric({max(precision, precision_min)}, {scale})"


def quoted(name: str) -> str:
    """An identifier, for a statement whose values are bound by ``%``."""
    return quoted_name(name).replace("%", "%%")


class Binder:
    """Values of one statement, by names made here."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def bind(self, value: Any, kind: str) -> str:
        """The value's place in the statement. It goes as text: a negative literal before a cast
        would be cast first.
        """
        name = f"v{len(self.values)}"
        self.values[name] = str(value)
        return f"%({name})s::{kind}"


def aggregate_sql(
    table: str, columns: Mapping[str, ServerColumn], request: Request
) -> tuple[str, dict[str, Any]]:
    """The statement and its values. ``table``: quoted for a statement with bound values."""
    binder = Binder()
    keys = [f"{columns[name].key} AS {quoted(name)}" for name in request.by]
    if request.bucket is not None:
        keys.append(_bucket_sql(columns[request.bucket.column], request, binder))
    results = [
        f"{_operation_sql(one, columns, binder)} AS {quoted(one.result_name)}"
        for one in request.operations
    ]
    # Every name is quoted and every value bound.
    statement = f"SELECT {', '.join([*keys, *results])} FROM {table}"  # noqa: S608
    if request.where is not None:
        statement += f" WHERE {_condition_sql(request.where, columns, binder)}"
    if keys:
        places = ", ".join(str(place) for place in range(1, len(keys) + 1))
        order = ", ".join(f"{place} NULLS LAST" for place in range(1, len(keys) + 1))
        statement += f" GROUP BY {places} ORDER BY {order}"
    return statement, binder.values


def read_sql(
    table: str, columns: Mapping[str, ServerColumn], request: Request
) -> tuple[str, dict[str, Any]]:
    """The rows that the question is about, to be asked here."""
    binder = Binder()
    # A count of rows needs no column at all; one is read, because a result has to have some.
    names: Sequence[str] = request.of_all_rows.columns or [next(iter(columns))]
    found = ", ".join(columns[name].sql for name in names)
    statement = f"SELECT {found} FROM {table}"  # noqa: S608  (all names are quoted)
    if request.where is not None:
        statement += f" WHERE {_condition_sql(request.where, columns, binder)}"
    return statement, binder.values


def condition_sql(
    columns: Mapping[str, ServerColumn], request: Request
) -> tuple[str | None, dict[str, Any]]:
    """The condition alone, and its values; None for all rows."""
    binder = Binder()
    if request.where is None:
        return None, {}
    return _condition_sql(request.where, columns, binder), binder.values


def _bucket_sql(column: ServerColumn, request: Request, binder: Binder) -> str:
    bucket = request.bucket
    assert bucket is not None  # noqa: S101  (asked by the caller)
    width = binder.bind(f"{bucket.width_us} microseconds", "interval")
    since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=bucket.origin_us)
    if column.type == "timestamp":
        since = since.replace(tzinfo=None)
    origin = binder.bind(since.isoformat(), column.type)
    return f"date_bin({width}, {column.sql}, {origin}) AS {quoted(bucket.column)}"


def _operation_sql(one: Aggregate, columns: Mapping[str, ServerColumn], binder: Binder) -> str:
    if not one.columns:
        return "count(*)"
    if len(one.columns) == 2:
        return _pair_sql(one, columns)
    column = columns[one.columns[0]]
    if one.function in ("first", "last"):
        return _end_sql(one, column, columns[str(one.order_by)])
    if one.function in ("median", "quantile", "quantile_disc"):
        return _quantile_sql(one, column, binder)
    function, value, kind = _CALLS[one.function]
    taken = {"column": column.sql, "value": column.value, "number": column.number}[value]
    result = {"exact": f"::{column.sum_type}", "own": column.own_type, "float8": "::float8"}
    return f"{function}({taken}){result.get(kind, '')}"


#: Function -> SQL's, what of the column it takes, and what its result is cast to.
_CALLS = {
    "count": ("count", "column", ""),
    "sum": ("sum", "number", "exact"),
    "mean": ("avg", "number", "float8"),
    "var": ("var_samp", "number", "float8"),
    "std": ("stddev_samp", "number", "float8"),
    "var_pop": ("var_pop", "number", "float8"),
    "std_pop": ("stddev_pop", "number", "float8"),
    "min": ("min", "value", "own"),
    "max": ("max", "value", "own"),
}


def _quantile_sql(one: Aggregate, column: ServerColumn, binder: Binder) -> str:
    share = binder.bind(0.5 if one.q is None else one.q, "float8")
    if one.function == "quantile_disc":
        return f"percentile_disc({share}) WITHIN GROUP (ORDER BY {column.value}){column.own_type}"
    return f"percentile_cont({share}) WITHIN GROUP (ORDER BY {column.sql}::float8)"


def _end_sql(one: Aggregate, column: ServerColumn, order: ServerColumn) -> str:
    way = "ASC" if one.function == "first" else "DESC"
    known = f"{column.sql} IS NOT NULL AND {order.sql} IS NOT NULL"
    values = f"array_agg({column.value} ORDER BY {order.sql} {way})"
    return f"({values} FILTER (WHERE {known}))[1]{column.own_type}"


def _pair_sql(one: Aggregate, columns: Mapping[str, ServerColumn]) -> str:
    first, second = (f"{columns[name].sql}::float8" for name in one.columns)
    if one.function == "corr":
        return f"corr({first}, {second})"
    weights = f"sum({second}) FILTER (WHERE {columns[one.columns[0]].sql} IS NOT NULL)"
    return f"sum({first} * {second}) / nullif({weights}, 0)"


def _condition_sql(
    condition: Condition, columns: Mapping[str, ServerColumn], binder: Binder
) -> str:
    match condition:
        case All(parts) | Any_(parts):
            word = " AND " if isinstance(condition, All) else " OR "
            return "(" + word.join(_condition_sql(part, columns, binder) for part in parts) + ")"
        case Not(part):
            return f"NOT {_condition_sql(part, columns, binder)}"
        case IsNull(name):
            return f"({columns[name].sql} IS NULL)"
        case OneOf(name, ()):
            return f"({columns[name].sql} IS NULL AND NULL)"  # NULL for NULL, else false
        case OneOf(name, values):
            found = ", ".join(_value_sql(columns[name], value, binder) for value in values)
            return f"({columns[name].value} IN ({found}))"
        case Comparison(name, sign, value):
            return f"({columns[name].value} {sign} {_value_sql(columns[name], value, binder)})"


def _value_sql(column: ServerColumn, given: Any, binder: Binder) -> str:
    value = typed_value(column.name, column.family, given)
    match column.family:
        case "integer" | "decimal":
            small = isinstance(value, int) and abs(value) <= _INT8_MAX
            exact = value if small else Decimal(value)
            return binder.bind(exact, "int8" if small else "numeric")
        case "float":
            return binder.bind(value, "float8")
        case "text":
            return binder.bind(value, "text")
        case "bool":
            return binder.bind(value, "bool")
        case "timestamp":
            plain = value.replace(tzinfo=None) if column.type == "timestamp" else value
            return binder.bind(plain.isoformat(), column.type)
    return binder.bind(value.isoformat(), "date")
