"""Each Arrow type to each PostgreSQL type it fits exactly: the way for a whole column at a time.

COPY BINARY casts nothing, so every value becomes the *table's* type here; what that would change
is refused with its column and row. NaN and infinities of floats are kept. Times without a zone
are taken as UTC where the column has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from neural_gpu_bus.stores.postgres.encoding import (
    nested_conversions,
    numeric_conversions,
    range_conversions,
    scalar_conversions,
    text_conversions,
    time_conversions,
)
from neural_gpu_bus.stores.postgres.encoding.views import (
    decoded_dictionary,
    decoded_runs,
    type_without_views,
)
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import TEXT_LIKE, PostgresType

UUID_BYTES = 16

#: Modifier of an interval that holds all of months, days and time, of any precision.
_FULL_INTERVAL = 0x7FFF

Converter = Callable[[Source], WireColumn]


def converter(type_: Any, target: PostgresType) -> Converter | None:
    """The way from one type to the other; None where some value would be changed."""
    whole = plain(type_)
    if whole is not type_:
        inner = converter(whole, target)
        return None if inner is None else lambda source: inner(unwrapped(source))
    for holds, choose in _FAMILIES:
        if holds(type_):
            return choose(type_, target)
    return None


def plain(type_: Any) -> Any:
    """The type that dictionaries, runs and extensions stand for."""
    unwrap = _unwrapping(type_)
    return type_ if unwrap is None else plain(unwrap[0])


def unwrapped(source: Source) -> Source:
    """The same values as an array of the plain type."""
    unwrap = _unwrapping(source.array.type)
    return source if unwrap is None else unwrapped(source.of(unwrap[1](source.array)))


def way_as_text(type_: Any, target: PostgresType) -> tuple[PostgresType, Converter] | None:
    """What a column of texts, of lists of them or of ranges between them goes to the server as,
    to be read there; and the way.
    """
    type_ = plain(type_)
    if _is_text(type_):
        return _TEXT, text_conversions.text
    if target.kind == "range" and _is_range(type_) and _is_text(type_.field(0).type):
        return _TEXT, range_conversions.as_text
    depth, inner = _list_depth(type_)
    below = PostgresType("array", "text[]", element=_TEXT)
    convert = converter(type_, below) if depth and target.kind == "array" else None
    return None if convert is None or not _is_text(plain(inner)) else (below, convert)


_TEXT = PostgresType("text", "text", oid=25)


def _unwrapping(type_: Any) -> tuple[Any, Callable[[Any], Any]] | None:
    """What stands for another type: that type, and the way to its array."""
    if isinstance(type_, pa.BaseExtensionType):
        return type_.storage_type, lambda array: array.storage
    if pa.types.is_dictionary(type_):
        return type_without_views(type_.value_type), decoded_dictionary
    if pa.types.is_run_end_encoded(type_):
        return type_without_views(type_.value_type), decoded_runs
    return None


def _from_null(_type: Any, _target: PostgresType) -> Converter:
    return scalar_conversions.all_null


def _from_boolean(_type: Any, target: PostgresType) -> Converter | None:
    return scalar_conversions.boolean if target.kind == "bool" else None


def _from_integer(type_: Any, target: PostgresType) -> Converter | None:
    kind = target.kind
    if kind in ("int2", "int4", "int8", "oid") or (kind == "pg_lsn" and type_ == pa.uint64()):
        return lambda source: scalar_conversions.integer(source, scalar_conversions.NUMBERS[kind])
    if kind == "float8":
        return lambda source: scalar_conversions.integer_as_float(source, "f8", 1 << 53)
    if kind == "float4":
        return lambda source: scalar_conversions.integer_as_float(source, "f4", 1 << 24)
    return numeric_conversions.whole_number if kind == "numeric" else None


def _from_decimal(type_: Any, target: PostgresType) -> Converter | None:
    if target.kind == "money" and type_.scale == 2 and type_.bit_width >= 64:
        return numeric_conversions.cents
    return numeric_conversions.decimal if target.kind == "numeric" else None


def _from_float(type_: Any, target: PostgresType) -> Converter | None:
    width = type_.bit_width // 8
    if target.kind == "float8" or (target.kind == "float4" and width <= 4):
        wanted = scalar_conversions.NUMBERS[target.kind]
        return lambda source: scalar_conversions.wire(
            source.fixed(f"f{width}").astype(wanted, copy=False), source.valid
        )
    return None


def _from_date(_type: Any, target: PostgresType) -> Converter | None:
    if target.kind == "date":
        return time_conversions.date
    if target.kind == "timestamp":
        return lambda source: time_conversions.timestamp(
            source.of(source.array.cast(pa.timestamp("s")))
        )
    return None


def _from_timestamp(type_: Any, target: PostgresType) -> Converter | None:
    if target.kind == "int8" and type_.unit == "ns":
        return lambda source: scalar_conversions.wire(source.fixed("i8"), source.valid)
    if target.kind == "timestamptz" or (target.kind == "timestamp" and type_.tz is None):
        return time_conversions.timestamp
    return None


def _from_time(_type: Any, target: PostgresType) -> Converter | None:
    return time_conversions.time if target.kind == "time" else None


def _from_span(type_: Any, target: PostgresType) -> Converter | None:
    if pa.types.is_duration(type_) and type_.unit == "ns" and target.kind == "int8":
        return lambda source: scalar_conversions.wire(source.fixed("i8"), source.valid)
    holds_all = target.modifier < 0 or target.modifier >> 16 == _FULL_INTERVAL
    return time_conversions.interval if target.kind == "interval" and holds_all else None


def _from_fixed_bytes(type_: Any, target: PostgresType) -> Converter | None:
    fits_uuid = target.kind == "uuid" and type_.byte_width == UUID_BYTES
    return scalar_conversions.fixed_bytes if target.kind == "bytea" or fits_uuid else None


def _from_text(_type: Any, target: PostgresType) -> Converter | None:
    if target.kind == "char":
        return text_conversions.one_character
    return text_conversions.text if target.kind in TEXT_LIKE else None


def _from_binary(_type: Any, target: PostgresType) -> Converter | None:
    return scalar_conversions.binary if target.kind == "bytea" else None


def _from_list(type_: Any, target: PostgresType) -> Converter | None:
    depth, inner = _list_depth(type_)
    if target.kind == "vector" and depth == 1 and inner == pa.float32():
        return nested_conversions.vector
    element = target.element
    if element is None or depth > nested_conversions.DIMENSIONS_MAX:
        return None
    convert = converter(inner, element)
    if convert is None:
        return None
    return lambda source: nested_conversions.array(source, depth, element, convert)


def _from_struct(type_: Any, target: PostgresType) -> Converter | None:
    names = [field.name for field in type_]
    if target.kind == "timetz":
        fits = [field.type for field in type_] == [pa.time64("us"), pa.int32()]
        return time_conversions.time_with_zone if fits else None
    if target.kind == "range":
        return _from_bounds(type_, target)
    if len(set(names)) < len(names) or {name for name, _ in target.fields} != set(names):
        return None
    fields = []
    for name, field_type in target.fields:
        index = type_.get_field_index(name)
        convert = converter(type_.field(index).type, field_type)
        if convert is None:
            return None
        fields.append((index, field_type, convert))
    return lambda source: nested_conversions.composite(source, fields)


def _from_bounds(type_: Any, target: PostgresType) -> Converter | None:
    element = target.element
    if element is None or not _is_range(type_):
        return None
    convert = converter(type_.field(0).type, element)
    if convert is None:
        return None
    return lambda source: range_conversions.as_range(source, element, convert)


def _is_range(type_: Any) -> bool:
    return (
        pa.types.is_struct(type_)
        and tuple(field.name for field in type_) == range_conversions.FIELDS
        and type_.field(0).type == type_.field(1).type
    )


def _from_map(type_: Any, target: PostgresType) -> Converter | None:
    of_texts = _is_text(type_.key_type) and _is_text(type_.item_type)
    return nested_conversions.hstore if target.kind == "hstore" and of_texts else None


def _list_depth(type_: Any) -> tuple[int, Any]:
    """How deep lists lie in lists, and what is in the innermost."""
    depth = 0
    while _is_list(type_):
        type_, depth = type_.value_type, depth + 1
    return depth, type_


def _is_list(type_: Any) -> bool:
    return any(
        holds(type_)
        for holds in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def _is_text(type_: Any) -> bool:
    return (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _is_span(type_: Any) -> bool:
    return pa.types.is_duration(type_) or pa.types.is_interval(type_)


def _is_binary(type_: Any) -> bool:
    return (
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
    )


#: Arrow's families of types, each with what chooses the way out of it.
_FAMILIES: tuple[
    tuple[Callable[[Any], bool], Callable[[Any, PostgresType], Converter | None]], ...
] = (
    (pa.types.is_null, _from_null),
    (pa.types.is_boolean, _from_boolean),
    (pa.types.is_integer, _from_integer),
    (pa.types.is_decimal, _from_decimal),
    (pa.types.is_floating, _from_float),
    (pa.types.is_date, _from_date),
    (pa.types.is_timestamp, _from_timestamp),
    (pa.types.is_time, _from_time),
    (_is_span, _from_span),
    (pa.types.is_fixed_size_binary, _from_fixed_bytes),
    (_is_text, _from_text),
    (_is_binary, _from_binary),
    (_is_list, _from_list),
    (pa.types.is_struct, _from_struct),
    (pa.types.is_map, _from_map),
)
