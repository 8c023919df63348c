"""Each Arrow type to each PostgreSQL type it fits exactly, a column at a time.

COPY BINARY casts nothing, so every value becomes the *table's* type here; what that would change
is refused with its column and row. NaN and infinities of floats are kept. Times without a zone
are taken as UTC where the column has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.encoding.wire_source import Array, Source, Valid, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import (
    EPOCH_DAYS,
    EPOCH_US,
    TEXT_LIKE,
    UNSIGNED_OF_WIDTH,
    PostgresType,
)

#: From 4713-01-01 BC, in days and microseconds since 1970 (datatype/timestamp.h, MIN_TIMESTAMP).
DATE_MIN_DAYS = -2_451_545 + EPOCH_DAYS
DATE_END_DAYS = 2_145_031_949 + EPOCH_DAYS
TIMESTAMP_MIN_US = -211_813_488_000_000_000 + EPOCH_US
#: An int64 of microseconds since 1970 ends before END_TIMESTAMP does.
TIMESTAMP_MAX_US = np.iinfo(np.int64).max

#: PostgreSQL's limit on one value is 1 GiB less its header (utils/memutils.h, MaxAllocSize).
VALUE_BYTES_MAX = (1 << 30) - 64

UUID_BYTES = 16

#: numpy's type of a PostgreSQL number, in this machine's byte order.
_NUMBERS = {"int2": "i2", "int4": "i4", "int8": "i8", "float4": "f4", "float8": "f8"}

_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


Converter = Callable[[Source], WireColumn]


def converter(type_: pa.DataType, target: PostgresType) -> Converter | None:
    """The way from one type to the other; None where some value would be changed."""
    for holds, choose in _FAMILIES:
        if holds(type_):
            return choose(type_, target.kind)
    return None


def _from_null(_type: Any, _kind: str) -> Converter:
    return _all_null


def _from_boolean(_type: Any, kind: str) -> Converter | None:
    return _boolean if kind == "bool" else None


def _from_integer(_type: Any, kind: str) -> Converter | None:
    if kind in ("int2", "int4", "int8"):
        return lambda source: _integer(source, _NUMBERS[kind])
    if kind == "float8":
        return lambda source: _integer_as_float(source, "f8", 1 << 53)
    if kind == "float4":
        return lambda source: _integer_as_float(source, "f4", 1 << 24)
    return None


def _from_float(type_: Any, kind: str) -> Converter | None:
    width = type_.bit_width // 8
    if kind == "float8" or (kind == "float4" and width <= 4):
        return lambda source: _wire(
            source.fixed(f"f{width}").astype(_NUMBERS[kind], copy=False), source.valid
        )
    return None


def _from_date(_type: Any, kind: str) -> Converter | None:
    if kind == "date":
        return _date
    if kind == "timestamp":
        return lambda source: _timestamp(source.of(source.array.cast(pa.timestamp("s"))))
    return None


def _from_timestamp(type_: Any, kind: str) -> Converter | None:
    if kind == "int8" and type_.unit == "ns":
        return lambda source: _wire(source.fixed("i8"), source.valid)
    if kind == "timestamptz" or (kind == "timestamp" and type_.tz is None):
        return _timestamp
    return None


def _from_time(_type: Any, kind: str) -> Converter | None:
    return _time if kind == "time" else None


def _from_fixed_bytes(type_: Any, kind: str) -> Converter | None:
    fits = kind == "bytea" or (kind == "uuid" and type_.byte_width == UUID_BYTES)
    return _fixed_bytes if fits else None


def _from_text(_type: Any, kind: str) -> Converter | None:
    return _text if kind in TEXT_LIKE else None


def _from_binary(_type: Any, kind: str) -> Converter | None:
    return _binary if kind == "bytea" else None


#: Arrow's families of types, each with what chooses the way out of it.
_FAMILIES: tuple[tuple[Callable[[Any], bool], Callable[[Any, str], Converter | None]], ...] = (
    (pa.types.is_null, _from_null),
    (pa.types.is_boolean, _from_boolean),
    (pa.types.is_integer, _from_integer),
    (pa.types.is_floating, _from_float),
    (pa.types.is_date, _from_date),
    (pa.types.is_timestamp, _from_timestamp),
    (pa.types.is_time, _from_time),
    (pa.types.is_fixed_size_binary, _from_fixed_bytes),
    (pa.types.is_string, _from_text),
    (pa.types.is_large_string, _from_text),
    (pa.types.is_string_view, _from_text),
    (pa.types.is_binary, _from_binary),
    (pa.types.is_large_binary, _from_binary),
    (pa.types.is_binary_view, _from_binary),
)


def _wire(values: Array, valid: Valid) -> WireColumn:
    width = values.dtype.itemsize
    return WireColumn(width, np.ascontiguousarray(values).view(UNSIGNED_OF_WIDTH[width]), valid)


def _all_null(source: Source) -> WireColumn:
    rows = len(source.array)
    return WireColumn(1, np.zeros(rows, np.uint8), np.zeros(rows, np.bool_))


def _boolean(source: Source) -> WireColumn:
    return _wire(booleans(source.array).view(np.uint8), source.valid)


def _integer(source: Source, wanted: str) -> WireColumn:
    values = source.fixed(source.array.type.to_pandas_dtype())
    limits = np.iinfo(wanted)
    held = np.iinfo(values.dtype)
    if held.min < limits.min or held.max > limits.max:
        too_small = values < limits.min if held.min < limits.min else False
        source.refuse_where(
            np.asarray(too_small | (values > limits.max)),
            f"does not fit into {source.target.type.text} ({limits.min} to {limits.max})",
            "let the column be bigint, or text where that is too small",
        )
    return _wire(values.astype(wanted), source.valid)


def _integer_as_float(source: Source, wanted: str, exact_max: int) -> WireColumn:
    values = source.fixed(source.array.type.to_pandas_dtype())
    below = values < -exact_max if values.dtype.kind == "i" else False
    source.refuse_where(
        np.asarray(below | (values > exact_max)),
        f"cannot be held exactly by {source.target.type.text} (beyond {exact_max})",
        "let the column be bigint",
    )
    return _wire(values.astype(wanted), source.valid)


def _known(source: Source, values: Array) -> Array:
    """The values with zero under NULL, so that arithmetic on them cannot overflow."""
    valid = source.valid
    return values if valid is None else np.where(valid, values, 0)


def _date(source: Source) -> WireColumn:
    if pa.types.is_date32(source.array.type):
        days = _known(source, source.fixed("i4").astype(np.int64))
    else:
        milliseconds = _known(source, source.fixed("i8"))
        days, rest = np.divmod(milliseconds, 86_400_000)
        source.refuse_where(rest != 0, "is no whole day", "store it in a timestamp column")
    source.refuse_where(
        (days < DATE_MIN_DAYS) | (days >= DATE_END_DAYS),
        "is beyond PostgreSQL's dates (4713 BC to 5874897)",
        "mend the value or make it NULL",
    )
    return _wire((days - EPOCH_DAYS).astype(np.int32), source.valid)


def _timestamp(source: Source) -> WireColumn:
    values, unit = _known(source, source.fixed("i8")), source.array.type.unit
    if unit == "ns":
        values, rest = np.divmod(values, 1_000)
        source.refuse_where(
            rest != 0,
            f"is no whole microsecond, and {source.target.type.text} holds no more",
            "let the column be bigint (nanoseconds since 1970), or round the values first",
        )
    else:
        scale = _UNITS_US[unit]
        source.refuse_where(
            (values < TIMESTAMP_MIN_US // scale) | (values > TIMESTAMP_MAX_US // scale),
            "is beyond PostgreSQL's timestamps (4713 BC to 294276)",
            "mend the value or make it NULL",
        )
        values = values * scale
    return _wire(values - EPOCH_US, source.valid)


def _time(source: Source) -> WireColumn:
    unit = source.array.type.unit
    width = source.array.type.bit_width // 8
    values = _known(source, source.fixed(f"i{width}").astype(np.int64))
    if unit == "ns":
        values, rest = np.divmod(values, 1_000)
        source.refuse_where(rest != 0, "is no whole microsecond", "round the values first")
    else:
        values = values * _UNITS_US[unit]
    source.refuse_where(
        (values < 0) | (values > 86_400_000_000), "is no time of a day", "mend the value"
    )
    return _wire(values, source.valid)


def _fixed_bytes(source: Source) -> WireColumn:
    width = source.array.type.byte_width
    rows = np.frombuffer(source.array.buffers()[1] or b"", np.uint8).reshape(-1, width)
    rows = rows[source.array.offset : source.array.offset + len(source.array)]
    return WireColumn(width, rows, source.valid)


def _binary(source: Source) -> WireColumn:
    values, offsets = _variable(source.array.cast(pa.large_binary()))
    _refuse_too_large(source, offsets)
    return WireColumn(0, values, source.valid, offsets)


def _variable(array: Any) -> tuple[Array, npt.NDArray[np.int64]]:
    """Bytes and offsets of a ``large_`` array, as Arrow has them."""
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets or bytes(8), np.int64)
    starts = starts[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data or b"", np.uint8), starts


def _refuse_too_large(source: Source, offsets: npt.NDArray[np.int64]) -> None:
    source.refuse_where(
        np.diff(offsets) > VALUE_BYTES_MAX,
        "is larger than PostgreSQL takes in one value (1 GiB)",
        "cut the value, or keep it in a file",
    )


def _text(source: Source) -> WireColumn:
    large = source.array.cast(pa.large_string())
    values, offsets = _variable(large)
    used = values[offsets[0] : offsets[-1]]
    # Plain ASCII without NUL needs no second look; both tests are one pass of SIMD.
    if used.size and (used.max() >= 0x80 or not used.all()):
        _refuse_bad_text(source.of(large), has_nul=not used.all())
    _refuse_too_large(source, offsets)
    lead = b"\x01" if source.target.type.kind == "jsonb" else b""
    return WireColumn(0, values, source.valid, offsets, lead)


def _refuse_bad_text(source: Source, *, has_nul: bool) -> None:
    """Name the first value that PostgreSQL would not take as text; the whole column is tried
    first, so that values are looked at one by one only where one of them may be bad.
    """
    try:
        source.array.validate(full=True)
        if not has_nul:
            return
    except pa.ArrowInvalid:
        pass
    for index, value in enumerate(source.array.view(pa.large_binary())):
        text = value.as_py() or b""
        if b"\x00" in text:
            raise _bad_text(source, index, text, "holds a NUL character, which PostgreSQL has not")
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as error:
            why = f"is no UTF-8 (byte {error.start + 1})"
            raise _bad_text(source, index, text, why) from None


def _bad_text(source: Source, index: int, text: bytes, why: str) -> BadValueError:
    shown = repr(text[:60])[1:]
    row = source.first_row + index
    return BadValueError(
        f"row {row}, column {source.target.name!r}: {shown} {why}",
        hint="mend the text, or store it in a bytea column as binary",
        column=source.target.name,
        row=row,
    )
