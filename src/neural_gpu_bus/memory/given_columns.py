"""Columns as people have them, to the flat columns of a block, and their one copy into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.memory.column_types import column_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation

    Array = npt.NDArray[Any]


def flat_table(columns: Any) -> pa.Table:
    """A table of types that a block holds; ``columns``: see ``as_arrow.as_table``.

    32-bit, viewed and dictionary texts become large_string; no text lies under NULL. Raises
    UnsupportedTypeError and BadParameterError with the column's name.
    """
    import pyarrow as pa

    table = as_table(columns)
    fields = [_flat_field(field) for field in table.schema]
    decoded = [_decoded(column, field) for column, field in zip(table.columns, fields, strict=True)]
    arrays = [_without_hidden_text(column) for column in decoded]
    return pa.table(arrays, schema=pa.schema(fields).with_metadata(table.schema.metadata))


def _decoded(column: Any, field: pa.Field[Any]) -> pa.ChunkedArray[Any]:
    import pyarrow as pa

    if column.type == field.type:
        return column  # type: ignore[no-any-return]
    if not pa.types.is_dictionary(column.type):
        return column.cast(field.type)  # type: ignore[no-any-return]
    # Categories first: Arrow 26 cannot take from viewed strings, which Polars' categories are.
    chunks = [chunk.dictionary.cast(field.type).take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(chunks, field.type)


def _without_hidden_text(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Arrow allows any text under a NULL; left in, equal columns would be different bytes."""
    import numpy as np
    import pyarrow as pa

    if column_type(str(column.type), "").form != "text" or not column.null_count:
        return column
    chunks: list[Any] = list(column.chunks)
    for at, chunk in enumerate(chunks):
        if chunk.null_count and _hides_text(chunk):
            # Taking every row builds the text anew, and appends nothing for NULL; Arrow's if_else
            # and slices keep what is there.
            chunks[at] = chunk.take(pa.array(np.arange(len(chunk))))
    return pa.chunked_array(chunks, column.type)


def _hides_text(chunk: Any) -> bool:
    import numpy as np

    is_null = chunk.is_null().to_numpy(zero_copy_only=False)
    return bool(np.diff(_text_offsets(chunk))[is_null].any())


def _flat_field(field: pa.Field[Any]) -> pa.Field[Any]:
    import pyarrow as pa

    kind: Any = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        kind = pa.large_string()
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        kind = pa.large_binary()
    column_type(str(kind), field.name)
    return pa.field(field.name, kind, metadata=field.metadata)


def text_bytes(table: pa.Table) -> dict[str, int]:
    """Bytes of each text column."""
    texts = (
        field.name for field in table.schema if column_type(str(field.type), "").form == "text"
    )
    return {name: sum(_text_end(chunk) for chunk in table[name].chunks) for name in texts}


def null_counts(table: pa.Table) -> dict[str, int]:
    """NULLs of each column that has any."""
    counts = {name: table[name].null_count for name in table.column_names}
    return {name: count for name, count in counts.items() if count}


def copy_into(reservation: Reservation, table: pa.Table) -> None:
    """Copy a flat table's values once into a reservation made for it."""
    for field in table.schema:
        kind, chunks = column_type(str(field.type), field.name), table[field.name].chunks
        if (validity := reservation.validity(field.name)) is not None:
            validity[:] = _bitmap([chunk.is_valid() for chunk in chunks])
        if kind.form == "bits":
            reservation.values(field.name)[:] = _bitmap(
                [chunk.fill_null(False) for chunk in chunks]
            )
        elif kind.form == "text":
            _copy_text(reservation, field.name, chunks)
        else:
            _copy_fixed(reservation.values(field.name), chunks)


def _copy_fixed(target: Array, chunks: list[Any]) -> None:
    import numpy as np

    at = 0
    for chunk in chunks:
        if len(chunk):
            start = chunk.offset * target.dtype.itemsize
            source = np.frombuffer(chunk.buffers()[1], target.dtype, len(chunk), start)
            target[at : at + len(chunk)] = source
            at += len(chunk)


def _copy_text(reservation: Reservation, name: str, chunks: list[Any]) -> None:
    import numpy as np

    offsets, data = reservation.offsets(name), reservation.data(name)
    row = end = 0
    offsets[0] = 0
    for chunk in chunks:
        if not len(chunk):
            continue
        source = _text_offsets(chunk)
        nbytes = int(source[-1] - source[0])
        offsets[row + 1 : row + 1 + len(chunk)] = source[1:] + (end - source[0])
        if nbytes:
            start = int(source[0])
            data[end : end + nbytes] = np.frombuffer(chunk.buffers()[2], np.uint8, nbytes, start)
        row, end = row + len(chunk), end + nbytes


def _text_offsets(chunk: Any) -> npt.NDArray[np.int64]:
    import numpy as np

    return np.frombuffer(chunk.buffers()[1], np.int64, len(chunk) + 1, chunk.offset * 8)


def _text_end(chunk: Any) -> int:
    if not len(chunk):
        return 0
    offsets = _text_offsets(chunk)
    return int(offsets[-1] - offsets[0])


def _bitmap(chunks: list[Any]) -> npt.NDArray[np.uint8]:
    """Arrow's own bitmaps start in the middle of a byte where a chunk is a slice, so rebuild."""
    import numpy as np

    bits = [np.asarray(chunk.to_numpy(zero_copy_only=False), np.bool_) for chunk in chunks]
    return np.packbits(np.concatenate([np.empty(0, np.bool_), *bits]), bitorder="little")
