"""Columns in the process's own memory: what a caller with a connection of its own decodes into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Counts = Mapping[str, int] | None


class PrivateReservation:
    """``ports.Reservation`` whose columns become a table; children are named by their paths."""

    def __init__(
        self,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Counts = None,
        null_counts: Counts = None,
        list_values: Counts = None,
        dictionaries: Mapping[str, pa.Array[Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.rows = rows
        self._text_bytes = text_bytes or {}
        self._nulls = null_counts or {}
        self._list_values = list_values or {}
        self._dictionaries = dictionaries or {}
        self._buffers: dict[tuple[str, str], Array] = {}
        for field in schema:
            self._place(field.name, field.type, rows)

    def values(self, name: str) -> Array:
        """Values of fixed width, or bits."""
        return self._buffers[name, "values"]

    def validity(self, name: str) -> npt.NDArray[np.uint8] | None:
        """Bits, where anything is NULL."""
        return self._buffers.get((name, "validity"))

    def offsets(self, name: str) -> Array:
        """Rows + 1 offsets."""
        return self._buffers[name, "offsets"]

    def data(self, name: str) -> npt.NDArray[np.uint8]:
        """Bytes of texts."""
        return self._buffers[name, "data"]

    def seal(
        self,
        name: str | None = None,  # noqa: ARG002 - the port's own
        *,
        reload_ns: int = 0,  # noqa: ARG002
        source_ns: int = 0,  # noqa: ARG002
    ) -> pa.Table:
        """The columns as a table over the same memory."""
        arrays = [self._array(field.name, field.type, self.rows) for field in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def abandon(self) -> None:
        """Forget everything."""
        self._buffers = {}

    def _memory(self, nbytes: int) -> npt.NDArray[np.uint8]:
        return np.empty(nbytes, np.uint8)

    def _place(self, path: str, kind: Any, rows: int) -> None:
        if path in self._nulls:
            self._buffers[path, "validity"] = self._memory((rows + 7) // 8)
        if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
            self._buffers[path, "offsets"] = self._memory((rows + 1) * 8).view(np.int64)
            self._buffers[path, "data"] = self._memory(self._text_bytes[path])
        elif pa.types.is_dictionary(kind):
            self._buffers[path, "values"] = self._memory(rows * 4).view(np.int32)
        elif pa.types.is_list(kind) or pa.types.is_map(kind):
            self._buffers[path, "offsets"] = self._memory((rows + 1) * 4).view(np.int32)
            self._place_parts(path, kind, self._list_values[path])
        elif kind.num_fields:
            each = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
            self._place_parts(path, kind, rows * each)
        else:
            self._buffers[path, "values"] = self._memory((rows * kind.bit_width + 7) // 8)

    def _place_parts(self, path: str, kind: Any, rows: int) -> None:
        for part in _parts(kind):
            self._place(f"{path}.{part.name}", part.type, rows)

    def _array(self, path: str, kind: Any, rows: int) -> pa.Array[Any]:
        if pa.types.is_dictionary(kind):
            indices = self._made(path, kind.index_type, rows, ["values"])
            return pa.DictionaryArray.from_arrays(indices, self._dictionaries[path])
        if (path, "data") in self._buffers:
            return self._made(path, kind, rows, ["offsets", "data"])
        if (path, "offsets") in self._buffers:
            return self._made(path, kind, rows, ["offsets"], self._list_values[path])
        if kind.num_fields:
            each = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
            return self._made(path, kind, rows, [], rows * each)
        return self._made(path, kind, rows, ["values"])

    def _made(
        self, path: str, kind: Any, rows: int, names: list[str], child_rows: int | None = None
    ) -> pa.Array[Any]:
        found = [self._buffers.get((path, name)) for name in ["validity", *names]]
        buffers = [None if buffer is None else pa.py_buffer(buffer.data) for buffer in found]
        children = None
        if child_rows is not None:
            children = [
                self._array(f"{path}.{part.name}", part.type, child_rows) for part in _parts(kind)
            ]
        nulls = self._nulls.get(path, 0)
        made: pa.Array[Any] = pa.Array.from_buffers(kind, rows, buffers, nulls, 0, children)
        return made


def _parts(kind: Any) -> list[Any]:
    """Children; a list's is named ``item`` whatever Arrow calls it."""
    if pa.types.is_map(kind):
        entries = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return [pa.field("entries", entries, nullable=False)]
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [pa.field("item", kind.value_type)]
    return [kind.field(place) for place in range(kind.num_fields)]
