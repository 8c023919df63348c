"""Arrow columns as what COPY BINARY wants: the target's own type, checked, nothing per value.

COPY BINARY casts nothing, so every value becomes the *table's* type here. Where that cannot be
exact the value is refused with its column and row, or the pair of types is refused as a whole,
with a way out. NaN and infinities of floats are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.errors import BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.wire_types import (
    TEXT_LIKE,
    UNSIGNED_OF_WIDTH,
    PostgresType,
    TargetColumn,
)

Array = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_] | None

#: PostgreSQL counts days and microseconds from 2000-01-01.
EPOCH_SHIFT_DAYS = 10_957
EPOCH_SHIFT_US = EPOCH_SHIFT_DAYS * 86_400_000_000

#: From 4713-01-01 BC, in days and microseconds since 1970 (datatype/timestamp.h, MIN_TIMESTAMP).
DATE_MIN_DAYS = -2_451_545 + EPOCH_SHIFT_DAYS
DATE_END_DAYS = 2_145_031_949 + EPOCH_SHIFT_DAYS
TIMESTAMP_MIN_US = -211_813_488_000_000_000 + EPOCH_SHIFT_US
#: An int64 of microseconds since 1970 ends before END_TIMESTAMP does.
TIMESTAMP_MAX_US = np.iinfo(np.int64).max

#: PostgreSQL's limit on one value is 1 GiB less its header (utils/memutils.h, MaxAllocSize).
VALUE_BYTES_MAX = (1 << 30) - 64

_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True, slots=True)
class WireColumn:
    """One column of a batch, ready to be written byte by byte."""

    #: Bytes of each value; 0 for values of any length.
    width: int
    #: Unsigned integers to be written big-endian; (rows, width) bytes to be written as they are;
    #: or the bytes that ``offsets`` point into.
    values: Array
    #: True where not NULL; None where nothing is NULL.
    valid: Valid
    #: rows + 1 positions in ``values``; None for fixed width.
    offsets: npt.NDArray[np.int64] | None = None
    #: Byte before each value: the version of jsonb.
    lead: bytes = b""


@dataclass(frozen=True, slots=True)
class Source:
    """One Arrow column of a batch with what its refusals need to say."""

    array: pa.Array
    target: TargetColumn
    #: Row number of the first value, counted from 1.
    first_row: int

    @property
    def valid(self) -> Valid:
        """True where not NULL; None where nothing is NULL."""
        if not self.array.null_count:
            return None
        valid: Valid = self.array.is_valid().to_numpy(zero_copy_only=False)
        return valid

    def fixed(self, dtype: Any) -> Array:
        """The values as numpy sees Arrow's buffer; what lies under a NULL is anything."""
        data = self.array.buffers()[1]
        values = np.frombuffer(data or b"", dtype)
        return values[self.array.offset : self.array.offset + len(self.array)]

    def refuse_where(self, bad: Array, why: str, hint: str) -> None:
        """BadValueError for the first row where ``bad`` holds and the value is not NULL."""
        valid = self.valid
        if valid is not None:
            bad = bad & valid
        if bad.any():
            raise self.refusal(int(np.argmax(bad)), why, hint)

    def refusal(self, index: int, why: str, hint: str) -> BadValueError:
        """The error for the value at ``index`` of this batch; ``why`` follows the value."""
        row = self.first_row + index
        return BadValueError(
            f"row {row}, column {self.target.name!r}: {_shown(self.array, index)} {why}",
            hint=hint,
            column=self.target.name,
            row=row,
        )


Converter = Callable[[Source], WireColumn]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How one column goes to the wire; made from the types alone."""

    target: TargetColumn
    convert: Converter


def plan_column(type_: pa.DataType, target: TargetColumn) -> ColumnPlan:
    """The way from this Arrow type to that column; UnsupportedTypeError where none is exact."""
    if isinstance(type_, pa.BaseExtensionType):
        inner = plan_column(type_.storage_type, target)
        return ColumnPlan(target, lambda source: inner.convert(_of(source, source.array.storage)))
    if pa.types.is_dictionary(type_):
        inner = plan_column(type_.value_type, target)
        return ColumnPlan(
            target, lambda source: inner.convert(_of(source, source.array.dictionary_decode()))
        )
    convert = _converter(type_, target.type)
    if convert is None:
        raise _no_way(type_, target)
    return ColumnPlan(target, convert)


def wire_columns(
    batch: pa.RecordBatch, plans: Sequence[ColumnPlan], first_row: int
) -> list[WireColumn]:
    """All columns of a batch, or BadValueError for its first bad row (then first column)."""
    columns: list[WireColumn] = []
    first_refusal: BadValueError | None = None
    for array, plan in zip(batch.columns, plans, strict=True):
        source = Source(array, plan.target, first_row)
        try:
            _refuse_null(source)
            columns.append(plan.convert(source))
        except BadValueError as refusal:
            if first_refusal is None or refusal.row < first_refusal.row:
                first_refusal = refusal
    if first_refusal is not None:
        raise first_refusal
    return columns


def _of(source: Source, array: pa.Array) -> Source:
    return Source(array, source.target, source.first_row)


def _refuse_null(source: Source) -> None:
    if source.target.not_null and source.array.null_count:
        index = int(np.argmin(source.array.is_valid().to_numpy(zero_copy_only=False)))
        raise source.refusal(
            index,
            "cannot go into a NOT NULL column",
            "fill the value or leave the row out, or let the column take NULL "
            "(ALTER TABLE ... ALTER COLUMN ... DROP NOT NULL)",
        )


def _shown(array: pa.Array, index: int) -> str:
    """The value as a person would write it, cut where it is long."""
    value = array[index]
    if not value.is_valid:
        return "NULL"
    try:
        text = repr(value.as_py()) if pa.types.is_string(array.type) else str(value)
    except (ValueError, OverflowError):
        text = f"{value.type} {value.cast(pa.int64())}"
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- one converter for each pair of types -------------------------------------------------------


def _converter(type_: pa.DataType, target: PostgresType) -> Converter | None:
    kind = target.kind
    if pa.types.is_null(type_):
        return _all_null
    if pa.types.is_boolean(type_):
        return _boolean if kind == "bool" else None
    if pa.types.is_integer(type_):
        return _integer_converter(type_, kind)
    if pa.types.is_floating(type_):
        return _float_converter(type_, kind)
    if pa.types.is_date(type_):
        return _date_converter(type_, kind)
    if pa.types.is_timestamp(type_):
        return _timestamp_converter(type_, kind)
    if pa.types.is_time(type_):
        return _time if kind == "time" else None
    return _variable_converter(type_, kind)


def _integer_converter(type_: pa.DataType, kind: str) -> Converter | None:
    if kind in ("int2", "int4", "int8"):
        return lambda source: _integer(source, f"i{kind[3:]}")
    if kind == "float8":
        return lambda source: _integer_as_float(source, "f8", 1 << 53)
    if kind == "float4":
        return lambda source: _integer_as_float(source, "f4", 1 << 24)
    return None


def _float_converter(type_: pa.DataType, kind: str) -> Converter | None:
    width = type_.bit_width // 8
    if kind == "float8" or (kind == "float4" and width <= 4):
        return lambda source: _wire(
            source.fixed(f"f{width}").astype(f"f{kind[5:]}", copy=False), source.valid
        )
    return None


def _date_converter(type_: pa.DataType, kind: str) -> Converter | None:
    if kind == "date":
        return _date
    if kind == "timestamp":
        return lambda source: _timestamp(_of(source, source.array.cast(pa.timestamp("s"))))
    return None


def _timestamp_converter(type_: pa.DataType, kind: str) -> Converter | None:
    if kind == "int8" and type_.unit == "ns":
        return lambda source: _wire(source.fixed("i8"), source.valid)
    if kind == "timestamptz" or (kind == "timestamp" and type_.tz is None):
        return _timestamp
    return None


def _variable_converter(type_: pa.DataType, kind: str) -> Converter | None:
    if pa.types.is_fixed_size_binary(type_):
        if kind == "uuid" and type_.byte_width == 16:
            return _fixed_bytes
        return _fixed_bytes if kind == "bytea" else None
    is_text = (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )
    if is_text and kind in TEXT_LIKE:
        return _text
    is_binary = (
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_binary_view(type_)
    )
    return _binary if is_binary and kind == "bytea" else None


def _no_way(type_: pa.DataType, target: TargetColumn) -> UnsupportedTypeError:
    hints = {
        "numeric": "let the column be double precision (ALTER TABLE ... ALTER COLUMN ... TYPE "
        "float8), or go through a float8 column and cast on the server",
        "timestamp": "let the column be timestamptz, or drop the time zone of the values first",
        "float4": "cast the values to float32 first, or let the column be double precision",
    }
    return UnsupportedTypeError(
        f"column {target.name!r}: {type_} values cannot go into a {target.type.text} column "
        "without being changed",
        hint=hints.get(target.type.kind, f"cast the values to what {target.type.text} holds"),
        column=target.name,
        type=str(type_),
    )


def _wire(values: Array, valid: Valid) -> WireColumn:
    width = values.dtype.itemsize
    return WireColumn(width, np.ascontiguousarray(values).view(UNSIGNED_OF_WIDTH[width]), valid)


def _all_null(source: Source) -> WireColumn:
    rows = len(source.array)
    return WireColumn(1, np.zeros(rows, np.uint8), np.zeros(rows, np.bool_))


def _boolean(source: Source) -> WireColumn:
    values = source.array.fill_null(False).to_numpy(zero_copy_only=False)
    return _wire(values.astype(np.uint8), source.valid)


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
    return _wire((days - EPOCH_SHIFT_DAYS).astype(np.int32), source.valid)


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
    return _wire(values - EPOCH_SHIFT_US, source.valid)


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
    array = source.array.cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1] or bytes(8), np.int64)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    source.refuse_where(
        np.diff(offsets) > VALUE_BYTES_MAX,
        "is larger than PostgreSQL takes in one value (1 GiB)",
        "cut the value, or keep it in a file",
    )
    return WireColumn(0, data, source.valid, offsets)


def _text(source: Source) -> WireColumn:
    column = _binary(_of(source, source.array.cast(pa.large_string()).view(pa.large_binary())))
    assert column.offsets is not None
    used = column.values[column.offsets[0] : column.offsets[-1]]
    # Plain ASCII without NUL needs no second look; both tests are one pass of SIMD.
    if used.size and (used.max() >= 0x80 or not used.all()):
        _refuse_bad_text(source, column)
    lead = b"\x01" if source.target.type.kind == "jsonb" else b""
    return WireColumn(0, column.values, column.valid, column.offsets, lead)


def _refuse_bad_text(source: Source, column: WireColumn) -> None:
    """Name the first value that PostgreSQL would not take as text; the whole column is tried
    first, so that values are looked at one by one only where one of them is bad.
    """
    whole = source.array.cast(pa.large_string())
    used = (
        column.values[column.offsets[0] : column.offsets[-1]] if column.offsets is not None else ()
    )
    try:
        whole.validate(full=True)
        if np.all(used):
            return
    except pa.ArrowInvalid:
        pass
    for index, value in enumerate(whole.view(pa.large_binary())):
        text = value.as_py()
        if text is None:
            continue
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
