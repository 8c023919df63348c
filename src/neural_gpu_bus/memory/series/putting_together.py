"""Columns with parts, put together of flat ones; see ``nested_types``.

Values and texts stay where they are. What is made are offsets, and bitmaps where items are NULL:
for the rows that are looked at alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.memory.series.nested_types import (
    COUNT,
    MARK,
    VALID,
    VALUES,
    is_list,
    is_text,
    items_of,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Bools = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.int64]

#: A flat column by its name, as an Arrow array of the rows wanted.
Flat = Callable[[str], Any]


def put_together(kind: Any, name: str, flat: Flat) -> Any:
    """Rows of one column. ProtocolError where its parts do not agree."""
    return _Parts(name, flat).rows(kind, name)


def outermost(kind: Any, name: str, flat: Flat) -> tuple[int, Any, Any]:
    """Of a column its own buffers, without its items and fields: how many rows are NULL, their
    bitmap (None for none) and offsets (None where it has none).
    """
    import pyarrow as pa

    if pa.types.is_struct(kind):
        valid = flat(name + VALID)
        return len(valid) - valid.true_count, _bits_of(valid), None
    counts = flat(name + COUNT)
    bitmap = _bits_of(counts.is_valid())
    if pa.types.is_fixed_size_list(kind):
        return counts.null_count, bitmap, None
    ends = np.zeros(len(counts) + 1, np.int32 if pa.types.is_map(kind) else np.int64)
    np.cumsum(counts.fill_null(0).to_numpy(zero_copy_only=False), out=ends[1:])
    return counts.null_count, bitmap, ends


def in_series_type(column: pa.ChunkedArray[Any], kind: Any) -> list[Any]:
    """The same values as a series holds them. Raises as ``taken_apart``."""
    from neural_gpu_bus.memory.series.taking_apart import taken_apart

    return [
        put_together(kind, "", taken_apart(chunk, kind, "").__getitem__) for chunk in column.chunks
    ]


class _Parts:
    def __init__(self, name: str, flat: Flat) -> None:
        self._name = name
        self._flat = flat

    def rows(self, kind: Any, path: str) -> Any:
        import pyarrow as pa

        if pa.types.is_struct(kind):
            valid = self._flat(path + VALID)
            children = [
                self.rows(field.type, f"{path}{MARK}{number}") for number, field in enumerate(kind)
            ]
            return _array(kind, len(valid), _bits_of(valid), [], children)
        if not is_list(kind):
            return self._flat(path)
        counts = self._flat(path + COUNT)
        lengths = counts.fill_null(0).to_numpy(zero_copy_only=False)
        valid = None if not counts.null_count else _numpy(counts.is_valid())
        ends = self._ends(lengths)
        items = self._items(items_of(kind), f"{path}{MARK}0", ends)
        return self._list(kind, ends, valid, items)

    def _items(self, kind: Any, path: str, ends: Numbers) -> Any:
        """``ends``: where items of each row begin, and those of the last one end."""
        import pyarrow as pa

        count = int(ends[-1])
        valid = self._valid(path, ends)
        if pa.types.is_struct(kind):
            children = [
                self._items(field.type, f"{path}{MARK}{number}", ends)
                for number, field in enumerate(kind)
            ]
            return _array(kind, count, _packed(valid), [], children)
        if is_list(kind):
            inner = self._ends(self._counts(kind, path, count, valid))
            items = self._items(items_of(kind), f"{path}{MARK}0", inner[ends])
            return self._list(kind, inner, valid, items)
        _, data = _bytes_of(self._flat(path + VALUES))
        if is_text(kind):
            offsets = self._ends(self._numbers(path + COUNT, count))
            self._agree(int(offsets[-1]), len(data))
            return _array(kind, count, _packed(valid), [offsets, data], None)
        width = 1 if pa.types.is_boolean(kind) else kind.bit_width // 8
        self._agree(count * width, len(data))
        if pa.types.is_boolean(kind):
            data = np.packbits(data != 0, bitorder="little")
        return _array(kind, count, _packed(valid), [data], None)

    def _list(self, kind: Any, ends: Numbers, valid: Bools | None, items: Any) -> Any:
        import pyarrow as pa

        count = len(ends) - 1
        if pa.types.is_fixed_size_list(kind):
            if valid is not None:  # those that are NULL have no items here, and some in Arrow
                places = np.zeros((count, kind.list_size), np.int64)
                places[valid] = np.arange(int(valid.sum()) * kind.list_size).reshape(
                    -1, kind.list_size
                )
                absent = ~np.repeat(valid, kind.list_size)
                items = items.take(pa.array(places.ravel(), mask=absent))
            self._agree(count * kind.list_size, len(items))
            return _array(kind, count, _packed(valid), [], [items])
        offsets: Any = ends
        if pa.types.is_map(kind):
            self._agree(int(ends[-1]), int(ends[-1]) & 0x7FFFFFFF)  # its offsets have 32 bits
            offsets = ends.astype(np.int32)
        return _array(kind, count, _packed(valid), [offsets], [items])

    def _counts(self, kind: Any, path: str, count: int, valid: Bools | None) -> Numbers:
        import pyarrow as pa

        if not pa.types.is_fixed_size_list(kind):
            return self._numbers(path + COUNT, count)
        sizes: Numbers = np.full(count, kind.list_size, np.int64)
        return sizes if valid is None else sizes * valid

    def _ends(self, lengths: Any) -> Numbers:
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        if len(lengths) and lengths.min() < 0:
            self._agree(0, int(lengths.min()))
        return ends

    def _numbers(self, name: str, count: int) -> Numbers:
        """All values of all rows, of 8 bytes each."""
        _, data = _bytes_of(self._flat(name))
        self._agree(count * 8, len(data))
        found: Numbers = (data.copy() if data.ctypes.data % 8 else data).view(np.int64)
        return found

    def _valid(self, path: str, ends: Numbers) -> Bools | None:
        """Of items; None where none is NULL."""
        marks_ends, marks = _bytes_of(self._flat(path + VALID))
        if not len(marks):
            return None
        counts = np.diff(ends)
        told = np.repeat(np.diff(marks_ends) > 0, counts)
        self._agree(int(told.sum()), len(marks))
        valid = np.ones(int(ends[-1]), np.bool_)
        valid[told] = marks != 0
        return valid

    def _agree(self, wanted: int, held: int) -> None:
        if wanted != held:
            raise ProtocolError(
                f"parts of column {self._name!r} do not agree: {held:,} where {wanted:,} are due",
                hint="drop the series, and write it anew; nothing in it can be trusted",
                position=0,
            )


def _array(kind: Any, rows: int, valid: Any, buffers: list[Any], children: list[Any] | None) -> Any:
    import pyarrow as pa

    bitmap, nulls = (None, 0) if valid is None else (pa.py_buffer(valid), -1)
    held = [bitmap, *(pa.py_buffer(one) for one in buffers)]
    return pa.Array.from_buffers(kind, rows, held, nulls, children=children)


def _bytes_of(binary: Any) -> tuple[Numbers, Any]:
    """Where each row begins (and the last one ends) in the bytes of all."""
    empty = np.empty(0, np.uint8)
    if not len(binary):
        return np.zeros(1, np.int64), empty
    _, raw, data = binary.buffers()
    ends = np.frombuffer(raw, np.int64, len(binary) + 1, 8 * binary.offset)
    held = empty if data is None else np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return ends, held


def _numpy(bools: Any) -> Bools:
    found: Bools = bools.to_numpy(zero_copy_only=False)
    return found


def _bits_of(valid: Any) -> Any:
    """Bitmap of booleans that are never NULL; None where all are true."""
    if valid.true_count == len(valid):
        return None
    return _packed(_numpy(valid))


def _packed(valid: Bools | None) -> Any:
    return None if valid is None else np.packbits(valid, bitorder="little")
