"""Truths, numbers and bytes to PostgreSQL's own, a column at a time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.encoding.wire_source import Array, Source, Valid, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import UNSIGNED_OF_WIDTH

#: PostgreSQL's limit on one value is 1 GiB less its header (utils/memutils.h, MaxAllocSize).
VALUE_BYTES_MAX = (1 << 30) - 64

#: numpy's type of a PostgreSQL number, in this machine's byte order.
NUMBERS = {"int2": "i2", "int4": "i4", "int8": "i8", "oid": "u4", "pg_lsn": "u8"}
NUMBERS |= {"float4": "f4", "float8": "f8"}


def wire(values: Array, valid: Valid) -> WireColumn:
    """Numbers of a fixed width."""
    width = values.dtype.itemsize
    return WireColumn(width, np.ascontiguousarray(values).view(UNSIGNED_OF_WIDTH[width]), valid)


def all_null(source: Source) -> WireColumn:
    """NULL in every row."""
    rows = len(source.array)
    return WireColumn(1, np.zeros(rows, np.uint8), np.zeros(rows, np.bool_))


def boolean(source: Source) -> WireColumn:
    """Truths, a byte each."""
    return wire(booleans(source.array).view(np.uint8), source.valid)


def integer(source: Source, wanted: str) -> WireColumn:
    """Whole numbers into ``wanted`` (numpy's type), refused where one is too large."""
    values = source.fixed(source.array.type.to_pandas_dtype())
    limits, held = _limits(wanted), _limits(values.dtype.str)
    if held.min < limits.min or held.max > limits.max:
        too_small = values < limits.min if held.min < limits.min else False
        source.refuse_where(
            np.asarray(too_small | (values > limits.max)),
            f"does not fit into {source.target.type.text} ({limits.min} to {limits.max})",
            "let the column be bigint, or text where that is too small",
        )
    return wire(values.astype(wanted), source.valid)


@cache
def _limits(dtype: str) -> np.iinfo:
    """Making one takes 2 us."""
    return np.iinfo(dtype)


def integer_as_float(source: Source, wanted: str, exact_max: int) -> WireColumn:
    """Whole numbers into floats, refused beyond ``exact_max``."""
    values = source.fixed(source.array.type.to_pandas_dtype())
    below = values < -exact_max if values.dtype.kind == "i" else False
    source.refuse_where(
        np.asarray(below | (values > exact_max)),
        f"cannot be held exactly by {source.target.type.text} (beyond {exact_max})",
        "let the column be bigint",
    )
    return wire(values.astype(wanted), source.valid)


def known(source: Source, values: Array) -> Array:
    """The values with zero under NULL, so that arithmetic on them cannot overflow."""
    valid = source.valid
    return values if valid is None else np.where(valid, values, 0)


def fixed_bytes(source: Source) -> WireColumn:
    """Bytes of one width as they are."""
    width = source.array.type.byte_width
    rows = np.frombuffer(source.array.buffers()[1] or b"", np.uint8).reshape(-1, width)
    rows = rows[source.array.offset : source.array.offset + len(source.array)]
    return WireColumn(width, rows, source.valid)


def binary(source: Source) -> WireColumn:
    """Bytes of any length as they are."""
    values, offsets = variable(source.array.cast(pa.large_binary()))
    refuse_too_large(source, offsets)
    return WireColumn(0, values, source.valid, offsets)


def variable(array: Any) -> tuple[Array, npt.NDArray[np.int64]]:
    """Bytes and offsets of a ``large_`` array, as Arrow has them."""
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets or bytes(8), np.int64)
    starts = starts[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data or b"", np.uint8), starts


def refuse_too_large(source: Source, offsets: npt.NDArray[np.int64]) -> None:
    """A value that no PostgreSQL value can be."""
    source.refuse_where(
        np.diff(offsets) > VALUE_BYTES_MAX,
        "is larger than PostgreSQL takes in one value (1 GiB)",
        "cut the value, or keep it in a file",
    )
