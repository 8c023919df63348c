"""Reserve columns in plain numpy memory: what the shared memory does, without sharing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class PlainReservation:
    """``ports.Reservation`` in private memory. Buffers start full of junk, as any memory may."""

    def __init__(
        self,
        schema: pa.Schema,
        rows: int,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
    ) -> None:
        self.schema, self.rows, self.abandoned = schema, rows, False
        self._nulls = dict(null_counts or {})
        self._buffers: dict[str, list[npt.NDArray[Any] | None]] = {}
        for field in schema:
            bits = _junk((rows + 7) // 8) if field.name in self._nulls else None
            if field.name in (text_bytes or {}):
                offsets = _junk((rows + 1) * 8).view(np.int64)
                self._buffers[field.name] = [bits, offsets, _junk((text_bytes or {})[field.name])]
            else:
                width = (field.type.bit_width * rows + 7) // 8
                self._buffers[field.name] = [bits, _junk(width)]

    def values(self, name: str) -> npt.NDArray[Any]:
        """Bytes of a fixed-width column."""
        return self._buffers[name][1]

    def validity(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Bitmap, bit 0 first."""
        return self._buffers[name][0]

    def offsets(self, name: str) -> npt.NDArray[np.int64]:
        """Rows + 1 offsets."""
        return self._buffers[name][1]

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Bytes of text."""
        return self._buffers[name][2]

    def seal(self, name: str | None = None, *, reload_ns: int = 0, source_ns: int = 0) -> pa.Table:
        """A table over the same memory, checked by Arrow."""
        arrays = []
        for field in self.schema:
            buffers = [None if b is None else pa.py_buffer(b) for b in self._buffers[field.name]]
            nulls = self._nulls.get(field.name, 0)
            arrays.append(pa.Array.from_buffers(field.type, self.rows, buffers, nulls))
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        table.validate(full=True)
        return table

    def abandon(self) -> None:
        """Remember that it was given back."""
        self.abandoned = True


def reserve(
    schema: pa.Schema,
    rows: int,
    *,
    text_bytes: Mapping[str, int] | None = None,
    null_counts: Mapping[str, int] | None = None,
) -> PlainReservation:
    """``ports.Reserve`` in private memory."""
    return PlainReservation(schema, rows, text_bytes, null_counts)


def _junk(size: int) -> npt.NDArray[np.uint8]:
    return np.full(size, 0xA5, np.uint8)
