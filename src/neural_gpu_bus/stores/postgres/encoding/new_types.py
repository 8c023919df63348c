"""The PostgreSQL type that a new column gets for each Arrow type.

Types follow from the schema alone, never from the values: the same columns make the same table
whatever happens to be in them. ``timestamp[ns]`` becomes bigint nanoseconds since 1970 UTC, said
in the column's comment, because PostgreSQL holds microseconds and no value is to be bent; so does
``duration[ns]``.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.stores.postgres.wire.types import NANOSECONDS_COMMENT

_DURATION_COMMENT = "nanoseconds"


def column_comment(type_: Any) -> str | None:
    """What a reader of the table has to know of such a column."""
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return NANOSECONDS_COMMENT
    if pa.types.is_duration(type_) and type_.unit == "ns":
        return _DURATION_COMMENT
    return None


def postgres_type(field: pa.Field[Any]) -> str:
    """The PostgreSQL type that holds every value of this Arrow type (uint64: up to 2**63 - 1).

    Raises UnsupportedTypeError.
    """
    found = _type_for(field.type)
    if found is None:
        raise UnsupportedTypeError(
            f"column {field.name!r}: no PostgreSQL column is made for {field.type}",
            hint=_way_out(field.type),
            column=field.name,
            type=str(field.type),
        )
    return found


def _type_for(type_: Any) -> str | None:
    if isinstance(type_, pa.BaseExtensionType):
        return _type_for(type_.storage_type)
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return _type_for(type_.value_type)
    if column_comment(type_):
        return "bigint"
    for holds, choose in _FAMILIES:
        if holds(type_):
            return choose(type_)
    if hasattr(type_, "value_type"):
        inner = _type_for(type_.value_type)
        return None if inner is None else f"{inner.removesuffix('[]')}[]"
    return _TYPES.get(type_)


def _map(type_: Any) -> str | None:
    """Of texts alone; the extension has to be there."""
    texts = (pa.string(), pa.large_string(), pa.string_view())
    return "hstore" if type_.key_type in texts and type_.item_type in texts else None


def _numeric(type_: Any) -> str:
    """Scales below zero and above the precision are new in PostgreSQL 15."""
    if type_.scale < 0:
        return f"numeric({type_.precision - type_.scale},0)"
    return f"numeric({max(type_.precision, type_.scale)},{type_.scale})"


def _way_out(type_: pa.DataType) -> str:
    if pa.types.is_struct(type_):
        return (
            "make each of its fields a column, or make the table yourself with a composite type "
            "of the same fields"
        )
    return "cast it to a number, a date, a time, text or binary first, or leave it out"


_FAMILIES = (
    (pa.types.is_timestamp, lambda type_: "timestamptz" if type_.tz else "timestamp"),
    (pa.types.is_duration, lambda _: "interval"),
    (pa.types.is_interval, lambda _: "interval"),
    (pa.types.is_decimal, _numeric),
    (pa.types.is_fixed_size_binary, lambda type_: "uuid" if type_.byte_width == 16 else "bytea"),
    (pa.types.is_map, _map),
)

_TYPES: dict[pa.DataType, str] = {
    pa.null(): "text",
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "bigint",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.time32("s"): "time",
    pa.time32("ms"): "time",
    pa.time64("us"): "time",
    pa.time64("ns"): "time",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.string_view(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.binary_view(): "bytea",
}
