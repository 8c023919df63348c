"""Columns of the key in frames, where every row has the same value, and tables with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.layout.frame_source import ColumnBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.directory import Key
    from neural_gpu_bus.memory.series.shape import Shape, StoredColumn

    Bytes = npt.NDArray[np.uint8]

#: Zeros are made in steps of that many.
_ZEROS_BYTES_MIN = 1 << 20
_zeros: list[Bytes | None] = [None]


def zero_bytes(nbytes: int) -> Bytes:
    """Read-only zeros, the same ones for all: indices of dictionaries of one entry."""
    import numpy as np

    kept = _zeros[0]
    if kept is None or len(kept) < nbytes:
        made = np.zeros(max(2 * nbytes, _ZEROS_BYTES_MIN), np.uint8)
        made.flags.writeable = False
        # Another thread may put shorter ones there at this moment: what is given out are these.
        kept = _zeros[0] = made
    return kept[:nbytes]


def key_column(shape: Shape, key: Key, name: str, rows: int) -> ColumnBytes:
    """Buffers of a column of the key. Texts are a dictionary of one entry, for no bytes a row.

    KeyError for a name that is no column.
    """
    import numpy as np

    shown = dict(shape.columns)[name]
    if shown.startswith("dictionary"):
        return ColumnBytes(name, shown, 0, None, zero_bytes(4 * rows), None)
    kind = shape.schema.field(name).type
    value = _one(shape, key, name)
    if str(kind) == "bool":
        filled = np.full(-(-rows // 8), 255 if value[0].as_py() else 0, np.uint8)
    else:
        buffer = value.buffers()[1]
        filled = np.tile(np.frombuffer(buffer, np.uint8, kind.byte_width), rows)
    filled.flags.writeable = False
    return ColumnBytes(name, shown, 0, None, filled, None)


def _one(shape: Shape, key: Key, name: str) -> Any:
    import pyarrow as pa

    return pa.array([key[shape.key.index(name)]], shape.schema.field(name).type)


def table_over(  # noqa: PLR0917  what a source has
    shape: Shape,
    key: Key,
    rows: int,
    stored: Callable[[StoredColumn], ColumnBytes],
    start: int = 0,
    stop: int | None = None,
) -> pa.Table:
    """An Arrow table over buffers of so many rows, of those from ``start`` to ``stop``; columns of
    the key as frames show them.
    """
    import pyarrow as pa

    arrays: list[Any] = []
    for field in shape.schema:
        column = shape.by_name.get(field.name)
        if field.name in shape.nested:
            arrays.append(nested_over(shape, field.name, rows, stored, start, stop))
            continue
        if column is not None:
            arrays.append(_over(field.type, rows, stored(column)))
        else:
            found = key_column(shape, key, field.name, rows)
            if found.type == str(field.type):
                arrays.append(_over(field.type, rows, found))
            else:
                indices = _over(pa.int32(), rows, found)
                values = _one(shape, key, field.name)
                arrays.append(pa.DictionaryArray.from_arrays(indices, values))
        if start or stop is not None:
            arrays[-1] = arrays[-1][start:stop]
    return pa.table(arrays, names=shape.schema.names)


def nested_over(  # noqa: PLR0917  as ``table_over``
    shape: Shape,
    name: str,
    rows: int,
    stored: Callable[[StoredColumn], ColumnBytes],
    start: int = 0,
    stop: int | None = None,
) -> Any:
    """A column with parts over buffers of its flat ones."""
    from neural_gpu_bus.memory.series.putting_together import put_together

    def flat(part: str) -> Any:
        column = shape.by_name[part]
        return _over(column.arrow, rows, stored(column))[start:stop]

    return put_together(shape.nested[name], name, flat)


def nested_column(
    shape: Shape, name: str, rows: int, stored: Callable[[StoredColumn], ColumnBytes]
) -> ColumnBytes:
    """Validity and offsets of a column with parts."""
    import numpy as np

    from neural_gpu_bus.memory.series.putting_together import outermost

    def flat(part: str) -> Any:
        column = shape.by_name[part]
        return _over(column.arrow, rows, stored(column))

    kind = shape.nested[name]
    nulls, bitmap, offsets = outermost(kind, name, flat)
    values = np.zeros(0, np.uint8) if offsets is None else offsets.view(np.uint8)
    return ColumnBytes(name, str(kind), nulls, bitmap, values, None)


def _over(kind: pa.DataType, rows: int, column: ColumnBytes) -> Any:
    import pyarrow as pa

    parts = [column.validity, column.values] + ([] if column.data is None else [column.data])
    buffers = [None if part is None else pa.py_buffer(part) for part in parts]  # type: ignore[arg-type]
    return pa.Array.from_buffers(kind, rows, buffers, -1 if column.nulls else 0)


def empty_table(shape: Shape) -> pa.Table:
    """No rows, in the types that frames show."""
    import pyarrow as pa

    fields = []
    for field, (_, shown) in zip(shape.schema, shape.columns, strict=True):
        is_code = shown.startswith("dictionary")
        fields.append(
            (field.name, pa.dictionary(pa.int32(), field.type) if is_code else field.type)
        )
    return pa.schema(fields).empty_table()


def stored_table(shape: Shape, rows: int, stored: Callable[[str], ColumnBytes]) -> pa.Table:
    """A table of the stored columns alone, those with parts as their flat ones, over buffers."""
    import pyarrow as pa

    arrays = [_over(column.arrow, rows, stored(column.name)) for column in shape.stored]
    return pa.table(arrays, names=[column.name for column in shape.stored])
