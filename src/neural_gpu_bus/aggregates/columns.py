"""Columns of an Arrow table as plain arrays for compiled loops, and results back as Arrow's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from neural_gpu_bus.errors import UnsupportedTypeError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Bools = npt.NDArray[np.bool_]

#: pyarrow's own types know no general array.
ArrowArray: TypeAlias = Any

_DECIMAL_BYTES = {"decimal32": 4, "decimal64": 8, "decimal128": 16, "decimal256": 32}


def family_of(kind: pa.DataType) -> str:
    """What an Arrow type is for; see ``request.Family``."""
    if pa.types.is_dictionary(kind):
        return family_of(kind.value_type)
    tests = (
        ("integer", pa.types.is_integer),
        ("float", pa.types.is_floating),
        ("decimal", pa.types.is_decimal),
        ("bool", pa.types.is_boolean),
        ("timestamp", pa.types.is_timestamp),
        ("time", lambda one: pa.types.is_date(one) or pa.types.is_time(one)),
        ("time", pa.types.is_duration),
        ("text", lambda one: pa.types.is_string(one) or pa.types.is_large_string(one)),
    )
    return next((name for name, fits in tests if fits(kind)), "other")


@dataclass(frozen=True)
class Column:
    """One column of a table, in one piece; not hashed, not compared."""

    name: str
    array: ArrowArray

    @property
    def type(self) -> Any:
        """Arrow's."""
        return self.array.type

    @cached_property
    def family(self) -> str:
        """See ``request.Family``."""
        return family_of(self.array.type)

    @cached_property
    def valid(self) -> Bools | None:
        """True where not NULL; None where none is."""
        if not self.array.null_count:
            return None
        bitmap: Any = self.array.buffers()[0]
        if bitmap is None:  # pa.null()
            return np.zeros(len(self.array), np.bool_)
        end = self.array.offset + len(self.array)
        bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=end, bitorder="little")
        known: Bools = bits[self.array.offset :].view(np.bool_)
        return known

    @cached_property
    def floats(self) -> npt.NDArray[np.float64]:
        """Numbers as float64; those of float64 without a copy. NULL is a filler."""
        if self.family == "float":
            return self._raw(self.array, f"<f{self.type.bit_width // 8}").astype("f8", copy=False)
        whole = self.integers
        return whole / 10.0**self.type.scale if self.family == "decimal" else whole.astype("f8")

    @cached_property
    def integers(self) -> npt.NDArray[np.int64]:
        """Integers, ticks, bools and decimals (times ten to their scale) as int64.

        Raises UnsupportedTypeError for values that int64 does not hold.
        """
        kind, array = self.type, self.array
        if self.family == "bool":
            end = array.offset + len(array)
            bitmap: Any = array.buffers()[1] or b""
            packed = np.frombuffer(bitmap, np.uint8)
            bits = np.unpackbits(packed, count=end, bitorder="little")
            return bits[array.offset :].astype(np.int64)
        if self.family == "decimal":
            return self._decimals(_DECIMAL_BYTES[str(kind).split("(")[0]] // 4)
        sign = "u" if pa.types.is_unsigned_integer(kind) else "i"
        raw = self._raw(array, f"<{sign}{kind.bit_width // 8}")
        if sign == "u" and raw.itemsize == 8 and self._known(raw >> 63).any():
            raise self._too_wide("above 2^63")
        return raw.astype(np.int64, copy=False)

    @property
    def small_integers(self) -> npt.NDArray[np.int32]:
        """Indices of a dictionary as int32; without a copy where they are."""
        kind = self.type
        sign = "u" if pa.types.is_unsigned_integer(kind) else "i"
        return self._raw(self.array, f"<{sign}{kind.bit_width // 8}").astype("i4", copy=False)

    def _decimals(self, words: int) -> npt.NDArray[np.int64]:
        raw = self._raw(self.array, "<i4", words).reshape(-1, words)
        if words == 1:
            return raw[:, 0].astype(np.int64)
        low = np.ascontiguousarray(raw[:, :2]).view(np.int64)[:, 0]
        over = (raw[:, 2:] != (low >> 63)[:, None]).any(axis=1)
        if self._known(over).any():
            raise self._too_wide("of more than 18 digits")
        return low

    def _known(self, values: Array) -> Array:
        return values if self.valid is None else values[self.valid]

    def _too_wide(self, what: str) -> UnsupportedTypeError:
        return UnsupportedTypeError(
            f"column {self.name!r} ({self.type}) has values {what}, which are not summed here",
            hint="cast it: to float64, or in PostgreSQL with ::float8",
            column=self.name,
            type=str(self.type),
        )

    @staticmethod
    def _raw(array: Any, dtype: str, items: int = 1) -> Array:
        buffer = array.buffers()[1]
        if buffer is None or not len(array):
            return np.empty(0, dtype)
        values = np.frombuffer(buffer, dtype)
        return values[array.offset * items : (array.offset + len(array)) * items]


def columns_of(table: pa.Table, names: Sequence[str]) -> dict[str, Column]:
    """Those columns, each in one piece; dictionaries of other values than text are decoded."""
    found = {}
    for name in names:
        chunks: Any = table[name]
        array = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # pyarrow before 21 gives no array for no chunks
            array = array.chunk(0) if array.num_chunks else pa.array([], chunks.type)
        if pa.types.is_dictionary(array.type) and family_of(array.type) != "text":
            array = array.dictionary_decode()
        found[name] = Column(name, array)
    return found


def from_integers(values: Array, valid: Array, kind: Any) -> ArrowArray:
    """int64 as an Arrow array of integers, moments, bools or decimals; NULL where not ``valid``."""
    mask = ~np.asarray(valid, np.bool_)
    if pa.types.is_decimal(kind):
        digits = [
            None if hidden else Decimal(int(value)).scaleb(0) if kind.scale == 0
            else Decimal((int(value < 0), tuple(map(int, str(abs(int(value))))), -kind.scale))
            for value, hidden in zip(values, mask, strict=True)
        ]  # fmt: skip
        return pa.array(digits, kind)
    if pa.types.is_boolean(kind):
        return pa.array(values.astype(np.bool_), mask=mask)
    if pa.types.is_integer(kind):
        sign = "u" if pa.types.is_unsigned_integer(kind) else "i"
        filled = np.where(mask, 0, values).astype(f"{sign}{kind.bit_width // 8}")
        return pa.array(filled, kind, mask=mask)
    filled = np.where(mask, 0, values).astype(f"i{kind.bit_width // 8}")
    return pa.array(filled, mask=mask).view(kind)


def from_floats(values: Array, valid: Array, kind: Any = None) -> ArrowArray:
    """float64 as an Arrow array; NULL where not ``valid``, and NaN stays NaN."""
    kind = kind or pa.float64()
    narrow = np.asarray(values, np.float64).astype(f"f{kind.bit_width // 8}")
    return pa.array(narrow, kind, mask=~np.asarray(valid, np.bool_), from_pandas=False)
