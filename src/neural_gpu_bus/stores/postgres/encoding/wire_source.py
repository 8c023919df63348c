"""One column of a batch on its way to the wire: before (``Source``) and after (``WireColumn``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.wire.types import PostgresType, TargetColumn

Array = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_] | None


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

    array: Any
    target: TargetColumn
    #: Row number of the first value, counted from 1.
    first_row: int
    #: For values inside of lists: position of each one's row, 0 = ``first_row``.
    row_of: npt.NDArray[np.int64] | None = None

    def of(self, array: Any) -> Source:
        """The same place with another array of the same rows."""
        return Source(array, self.target, self.first_row, self.row_of)

    def inner(self, array: Any, type_: PostgresType, rows: npt.NDArray[np.int64] | None) -> Source:
        """Values inside of this column's; ``rows``: whose they are, None for one each."""
        if rows is not None and self.row_of is not None:
            rows = self.row_of[rows]
        target = TargetColumn(self.target.name, type_)
        return Source(array, target, self.first_row, self.row_of if rows is None else rows)

    def row(self, index: int) -> int:
        """Row of the value at ``index``, counted from 1."""
        return self.first_row + (index if self.row_of is None else int(self.row_of[index]))

    @property
    def valid(self) -> Valid:
        """True where not NULL; None where nothing is NULL."""
        if not self.array.null_count:
            return None
        return booleans(self.array.is_valid())

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
        row = self.row(index)
        return BadValueError(
            f"row {row}, column {self.target.name!r}: {shown(self.array, index)} {why}",
            hint=hint,
            column=self.target.name,
            row=row,
        )


def shown(array: Any, index: int) -> str:
    """The value as a person would write it, cut where it is long."""
    value = array[index]
    if not value.is_valid:
        return "NULL"
    try:
        text = repr(value.as_py()) if pa.types.is_string(array.type) else str(value)
    except (ValueError, OverflowError):
        text = f"{value.type} {value.value}"
    return text if len(text) <= 80 else f"{text[:77]}..."
