"""Columns as people have them, to the columns of a block, and their one copy into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import UnsupportedTypeError, UsageError
from neural_gpu_bus.memory.layout.arrow_layout import known_columns
from neural_gpu_bus.memory.layout.column_tree import Column
from neural_gpu_bus.memory.layout.column_types import ColumnType
from neural_gpu_bus.memory.writing.given_texts import check_texts
from neural_gpu_bus.memory.writing.kept_types import kept_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation

    Array = npt.NDArray[Any]


class Piece(NamedTuple):
    """The chunks of a column, or of a child of one."""

    column: Column
    #: Arrays of the storage type; what lies under NULL is in none of them, but for fixed widths.
    chunks: list[Any]


class GivenColumns(NamedTuple):
    """Columns ready to be copied."""

    schema: pa.Schema
    rows: int
    #: Of all columns and their children, depth first.
    pieces: list[Piece]

    def sizes(self) -> dict[str, Any]:
        """What ``ports.Reserve`` has to be told of them."""
        sizes: dict[str, dict[str, Any]] = {}
        for piece in self.pieces:
            path, kind = piece.column.path, piece.column.kind
            if kind.offsets:
                counted = "text_bytes" if kind.form == "text" else "list_values"
                sizes.setdefault(counted, {})[path] = _reached(piece)
            elif kind.form == "indices":
                sizes.setdefault("dictionaries", {})[path] = _dictionary(piece)
            if nulls := sum(chunk.null_count for chunk in piece.chunks):
                sizes.setdefault("null_counts", {})[path] = nulls
        return sizes

    def copy_into(self, reservation: Reservation) -> None:
        """Copy them once into a reservation of those sizes."""
        for piece in self.pieces:
            _copy(reservation, piece)


def given_columns(columns: Any, dataset: str = "") -> GivenColumns:
    """Columns of types that a block holds; ``columns``: see ``as_arrow.as_table``.

    Raises UnsupportedTypeError, BadParameterError and BadValueError with the column's name, and
    with that of the dataset where several are given at once.
    """
    try:
        return _given(columns)
    except UsageError as error:
        if not dataset:
            raise
        facts = {**error.facts, "dataset": dataset}
        what = f"dataset {dataset!r}: {error.what}"
        raise type(error)(what, hint=error.hint, **facts) from None


def _given(columns: Any) -> GivenColumns:
    table = kept_table(columns)
    tree = known_columns(table.schema)
    pieces = [
        piece
        for column, chunked in zip(tree, table.columns, strict=True)
        for piece in _pieces(column, list(chunked.chunks))
    ]
    return GivenColumns(table.schema, table.num_rows, pieces)


# --- taking columns apart -----------------------------------------------------------------------


def _pieces(column: Column, given: list[Any]) -> Iterator[Piece]:
    """A column and all below it."""
    chunks = [_stored(chunk) for chunk in given]
    if column.kind.form == "indices":
        chunks = _of_one_dictionary(column, chunks)
    elif column.kind.form in ("text", "nested"):
        chunks = [_without_hidden(column, chunk) for chunk in chunks]
    check_texts(column, chunks)
    yield Piece(column, chunks)
    if column.children:
        below = [_children(column, chunk) for chunk in chunks]
        for place, child in enumerate(column.children):
            yield from _pieces(child, [children[place] for children in below])


def _stored(chunk: Any) -> Any:
    import pyarrow as pa

    while isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    return chunk


def _of_one_dictionary(column: Column, chunks: list[Any]) -> list[Any]:
    """Indices of all chunks into the same values, none of which is NULL."""
    import pyarrow as pa

    if chunks and pa.types.is_dictionary(chunks[0].dictionary.type):  # Arrow's files forget that
        raise UnsupportedTypeError(
            f"column {column.path!r} is a dictionary of dictionaries, which a block cannot hold",
            hint="cast it to its value type; a block's dictionaries hold numbers, times or text",
            column=column.path,
            type=str(chunks[0].type),
        )
    if any(chunk.dictionary.null_count for chunk in chunks):
        chunks = [
            chunk.dictionary_decode().dictionary_encode().cast(chunk.type) for chunk in chunks
        ]
    if len(chunks) < 2:
        return chunks
    try:
        return list(pa.chunked_array(chunks).unify_dictionaries().chunks)
    except pa.ArrowInvalid as error:
        raise UnsupportedTypeError(
            f"the dictionaries of column {column.path!r} ({column.type}) are not one: {error}",
            hint="cast its indices to int32",
            column=column.path,
            type=column.type,
        ) from None


def _without_hidden(column: Column, chunk: Any) -> Any:
    """Arrow allows anything under a NULL; left in, equal columns would be different bytes.

    Taking every row builds the column anew, and appends nothing for NULL; Arrow's if_else and
    slices keep what is there.
    """
    import numpy as np
    import pyarrow as pa

    if not chunk.null_count or pa.types.is_struct(chunk.type):  # a struct's children are masked
        return chunk
    if column.kind.offsets and not _hides(chunk, column.kind.offsets):
        return chunk
    return chunk.take(pa.array(np.arange(len(chunk))))


def _hides(chunk: Any, offsets: str) -> bool:
    import numpy as np

    is_null = chunk.is_null().to_numpy(zero_copy_only=False)
    return bool(np.diff(_offsets(chunk, offsets))[is_null].any())


def _children(column: Column, chunk: Any) -> list[Any]:
    """Arrays below one chunk, of just the rows that it uses."""
    import pyarrow as pa

    if pa.types.is_struct(chunk.type):
        return list(chunk.flatten())  # NULL where the struct is
    if not column.kind.offsets:
        return [chunk.values.slice(chunk.offset * column.each, len(chunk) * column.each)]
    offsets = _offsets(chunk, column.kind.offsets)
    return [chunk.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))]


def _offsets(chunk: Any, dtype: str) -> Array:
    """Offsets of the rows of a chunk; [0] where it has none, for which Arrow needs no buffer."""
    import numpy as np

    if not len(chunk):
        return np.zeros(1, dtype)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk) + 1, chunk.offset * width)


# --- sizes --------------------------------------------------------------------------------------


def _reached(piece: Piece) -> int:
    """Bytes or values that the offsets of all chunks span."""
    offsets = (_offsets(chunk, piece.column.kind.offsets) for chunk in piece.chunks)
    return sum(int(found[-1]) - int(found[0]) for found in offsets)


def _dictionary(piece: Piece) -> Any:
    import pyarrow as pa

    if not piece.chunks:
        return pa.array([], piece.column.values_type)
    return piece.chunks[0].dictionary


# --- copying ------------------------------------------------------------------------------------


def _copy(reservation: Reservation, piece: Piece) -> None:
    (path, kind), chunks = (piece.column.path, piece.column.kind), piece.chunks
    if kind.form == "indices":
        chunks = [chunk.indices for chunk in chunks]
    if (validity := reservation.validity(path)) is not None:
        validity[:] = _bitmap([chunk.is_valid() for chunk in chunks])
    if kind.form == "bits":
        reservation.values(path)[:] = _bitmap([chunk.fill_null(False) for chunk in chunks])
    elif kind.fixed_width:
        _copy_fixed(reservation.values(path), chunks)
    elif kind.offsets:
        _copy_offsets(reservation.offsets(path), kind, chunks)
        if kind.form == "text":
            _copy_text(reservation.data(path), kind, chunks)


def _copy_fixed(target: Array, chunks: list[Any]) -> None:
    import numpy as np

    at = 0
    for chunk in chunks:
        if len(chunk):
            start = chunk.offset * target.dtype.itemsize
            source = np.frombuffer(chunk.buffers()[1], target.dtype, len(chunk), start)
            target[at : at + len(chunk)] = source
            at += len(chunk)


def _copy_offsets(target: Array, kind: ColumnType, chunks: list[Any]) -> None:
    row = end = 0
    target[0] = 0
    for chunk in chunks:
        source = _offsets(chunk, kind.offsets)
        target[row + 1 : row + len(source)] = source[1:] + (end - source[0])
        row, end = row + len(chunk), end + int(source[-1] - source[0])


def _copy_text(target: Array, kind: ColumnType, chunks: list[Any]) -> None:
    import numpy as np

    end = 0
    for chunk in chunks:
        source = _offsets(chunk, kind.offsets)
        start, nbytes = int(source[0]), int(source[-1] - source[0])
        if nbytes:
            text = np.frombuffer(chunk.buffers()[2], np.uint8, nbytes, start)
            target[end : end + nbytes] = text
        end += nbytes


def _bitmap(chunks: list[Any]) -> npt.NDArray[np.uint8]:
    """Bits of boolean arrays one after the other, bit 0 first, and nothing behind the last."""
    import numpy as np

    if len(chunks) == 1 and len(chunks[0]) and not chunks[0].offset % 8:
        (chunk,) = chunks
        rows = len(chunk)
        bits = np.frombuffer(chunk.buffers()[1], np.uint8, (rows + 7) // 8, chunk.offset // 8)
        bits = bits.copy()
        bits[-1] &= 0xFF >> -rows % 8
        return bits
    # Slices may start in the middle of a byte: through a byte a row.
    parts = [np.asarray(chunk.to_numpy(zero_copy_only=False), np.bool_) for chunk in chunks]
    return np.packbits(np.concatenate([np.empty(0, np.bool_), *parts]), bitorder="little")
