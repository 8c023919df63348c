"""Columns with parts, taken apart into flat ones; see ``nested_types``: no object for a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]


def taken_apart(array: Any, kind: Any, name: str) -> dict[str, Any]:
    """Its flat columns by name. ``kind``: the series' own; the array's may have dictionaries,
    shorter offsets, numbers that fit, and where there are no items at all fewer levels of lists.

    Raises ArrowInvalid, ArrowNotImplementedError where it does not fit.
    """
    found: dict[str, Any] = {}
    _rows(array, kind, name, found)
    return found


def _rows(array: Any, kind: Any, path: str, found: dict[str, Any]) -> None:
    import pyarrow as pa

    array = _stored(array)
    if pa.types.is_struct(kind):
        found[path + VALID] = array.is_valid()
        for number, (field, child) in enumerate(zip(kind, _fields(array, kind), strict=True)):
            _rows(child, field.type, f"{path}{MARK}{number}", found)
    elif is_list(kind):
        counts, items = _listed(array, kind)
        found[path + COUNT] = counts
        _items(items, items_of(kind), f"{path}{MARK}0", _ends(counts), found)
    else:
        found[path] = _flat(array, kind)


def _items(array: Any, kind: Any, path: str, ends: Numbers, found: dict[str, Any]) -> None:
    """``ends``: where items of each row begin, and those of the last one end."""
    import pyarrow as pa

    array = _stored(array)
    found[path + VALID] = _marks(array, ends)
    if pa.types.is_struct(kind):
        for number, (field, child) in enumerate(zip(kind, _fields(array, kind), strict=True)):
            _items(child, field.type, f"{path}{MARK}{number}", ends, found)
    elif is_list(kind):
        counts, items = _listed(array, kind)
        if not pa.types.is_fixed_size_list(kind):
            numbers = counts.fill_null(0).to_numpy(zero_copy_only=False)
            found[path + COUNT] = _binary(numbers.view(np.uint8), 8 * ends)
        _items(items, items_of(kind), f"{path}{MARK}0", _ends(counts)[ends], found)
    elif is_text(kind):
        lengths, starts, data = _texts(_flat(array, kind))
        found[path + COUNT] = _binary(lengths.view(np.uint8), 8 * ends)
        found[path + VALUES] = _binary(data, starts[ends])
    else:
        data = _values(_flat(array, kind))
        width = 1 if pa.types.is_boolean(kind) else kind.bit_width // 8
        found[path + VALUES] = _binary(data, width * ends)


def _stored(array: Any) -> Any:
    import pyarrow as pa

    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array


def _fields(array: Any, kind: Any) -> list[Any]:
    """NULL where the struct is."""
    import pyarrow as pa

    if not pa.types.is_struct(array.type) or array.type.num_fields != kind.num_fields:
        if array.null_count < len(array):
            raise _other(array, kind)
        return [pa.nulls(len(array), field.type) for field in kind]
    children: list[Any] = array.flatten()
    return children


def _listed(array: Any, kind: Any) -> tuple[Any, Any]:
    """How many items each has, NULL for no list; and all of them, one behind the other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_map(array.type):
        key = pa.field("key", array.type.key_type, nullable=False)
        pair = pa.struct([key, pa.field("value", array.type.item_type)])
        array = array.cast(pa.list_(pair))
    if not is_list(array.type):
        if array.null_count < len(array):
            raise _other(array, kind)
        return pa.nulls(len(array), pa.int64()), pa.array([], items_of(kind))
    if pa.types.is_fixed_size_list(kind) and array.type != kind:
        array = array.cast(kind)
    return pc.list_value_length(array).cast(pa.int64()), array.flatten()


def _other(array: Any, kind: Any) -> Exception:
    import pyarrow as pa

    return pa.ArrowNotImplementedError(f"{array.type} is no {kind}")


def _flat(array: Any, kind: Any) -> Any:
    """Of the wanted type. A list where no more lists are wanted may have no items."""
    return array if array.type == kind else array.cast(kind)


def _ends(counts: Any) -> Numbers:
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts.fill_null(0).to_numpy(zero_copy_only=False), out=ends[1:])
    return ends


def _marks(array: Any, ends: Numbers) -> Any:
    """A byte an item in rows with a NULL among theirs, and nothing in all others."""
    if not array.null_count:
        return _binary(np.empty(0, np.uint8), np.zeros_like(ends))
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    before = np.zeros(len(array) + 1, np.int64)
    np.cumsum(~valid, out=before[1:])
    counts = np.diff(ends)
    counts_kept = np.where(np.diff(before[ends]) > 0, counts, 0)
    kept = valid[np.repeat(counts_kept > 0, counts)]
    return _binary(kept.view(np.uint8), np.concatenate([[0], np.cumsum(counts_kept)]))


def _texts(array: Any) -> tuple[Numbers, Numbers, Bytes]:
    """Lengths, where each begins (and the last one ends), all bytes; NULL has none."""
    if array.null_count:
        import pyarrow as pa

        array = array.fill_null("" if pa.types.is_large_string(array.type) else b"")
    if not len(array):
        return np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, raw, data = array.buffers()
    offsets = np.frombuffer(raw, np.int64, len(array) + 1, 8 * array.offset)
    data = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return np.diff(offsets), offsets - offsets[0], data[offsets[0] : offsets[-1]]


def _values(array: Any) -> Bytes:
    """All bytes; of a bool one each."""
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    width = array.type.bit_width // 8
    if not len(array):
        return np.empty(0, np.uint8)
    data = np.frombuffer(array.buffers()[1], np.uint8)
    data = data[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        data = data.copy()
        data.reshape(-1, width)[~array.is_valid().to_numpy(zero_copy_only=False)] = 0
    return data


def _binary(data: Bytes, ends: Numbers) -> Any:
    """A row's bytes each."""
    import pyarrow as pa

    held: list[Any] = [np.ascontiguousarray(ends), data]
    buffers = [None, *(pa.py_buffer(one) for one in held)]
    return pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers, 0)
