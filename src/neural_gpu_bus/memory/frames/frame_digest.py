"""One sum over names, types and values: equal for equal columns, wherever and however they lie.

Buffers are summed as they stand where that is the same for equal values. Where it is not, they are
first made so: bitmaps from the middle of a byte, offsets that begin above 0, what lies under NULL,
children of nested types, and dictionaries, which count as the values they stand for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.frames.frame_columns import ColumnWindow
from neural_gpu_bus.memory.layout.column_types import column_type
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes

if TYPE_CHECKING:
    from neural_gpu_bus.memory.frames.frame import Frame

    Sum = Any  # hashlib gives its type no public name


def digest(frame: Frame) -> str:
    """32 hex digits."""
    total = hashlib.sha256(f"{frame.rows}".encode())
    for name in frame:
        window = frame.window(name)
        total.update(f"\0{name}\0{window.column.type}\0{window.nulls}\0".encode())
        if window.kind.form in ("indices", "nested"):
            _add_arrow(total, frame.arrow_column(name))
        else:
            _add_flat(total, window)
    return total.hexdigest()[:32]


def _add_flat(total: Sum, window: ColumnWindow) -> None:
    import numpy as np

    valid = window.valid()
    if valid is not None:
        total.update(np.packbits(valid, bitorder="little").data)
    if window.kind.form == "text":
        _add_text(total, window, valid)
    elif window.kind.form != "null":
        values = window.raw()
        if valid is not None:
            values = _filled(window, values, valid)
        elif window.kind.form == "bits" and window.rows % 8 and len(values):
            values = np.packbits(window.bits(), bitorder="little")  # writers may leave a bit behind
        total.update(values.view("u1").data)


def _filled(window: ColumnWindow, values: Any, valid: Any) -> Any:
    """NULLs as sealing writes them: NaN, or zero."""
    import numpy as np

    if window.kind.form == "bits":
        return np.packbits(window.bits() & valid, bitorder="little")
    values = values.copy()
    values[~valid] = np.nan if window.kind.null == "nan" else np.zeros((), values.dtype)
    return values


def _add_text(total: Sum, window: ColumnWindow, valid: Any) -> None:
    import numpy as np

    if not window.rows:
        return
    offsets, data = window.offsets().astype("i8", copy=False), window.raw()
    lengths = np.diff(offsets)
    if valid is not None and lengths[~valid].any():
        data = data[np.repeat(valid, lengths)]
        offsets = np.concatenate([[0], np.cumsum(lengths * valid)])
    total.update((offsets - offsets[0]).view("u1").data)
    total.update(data.data)


def _add_arrow(total: Sum, array: Any) -> None:
    """An Arrow array by its rows that are not NULL, down to the flat ones."""
    import numpy as np
    import pyarrow as pa

    total.update(f"\0{len(array)}\0{array.null_count}\0".encode())
    if array.null_count:
        total.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).data)
        array = array.drop_null()
    kind = array.type
    if pa.types.is_dictionary(kind):
        _add_arrow(total, array.cast(kind.value_type))
    elif pa.types.is_map(kind):
        pair = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        _add_arrow(total, array.cast(pa.list_(pair)))
    elif pa.types.is_struct(kind):
        for child in array.flatten():
            _add_arrow(total, child)
    elif pa.types.is_nested(kind):
        if not pa.types.is_fixed_size_list(kind):
            _add_arrow(total, pa.compute.list_value_length(array))
        _add_arrow(total, array.flatten())
    else:
        _add_flat(total, _window(array))


def _window(array: Any) -> ColumnWindow:
    """A flat Arrow array without NULLs, as a column."""
    import numpy as np

    kind = column_type(str(array.type), "")
    none = np.empty(0, np.uint8)
    buffers = [none if part is None else np.frombuffer(part, "u1") for part in array.buffers()[1:]]
    values, data = [*buffers, none, none][:2]
    column = ColumnBytes("", str(array.type), 0, None, values, data)
    start = array.offset
    return ColumnWindow(column, kind, start, start + len(array), start + len(array))
