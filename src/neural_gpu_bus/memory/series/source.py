"""One extent of a partition as the source of frames: nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.descriptors import AsOf
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes
from neural_gpu_bus.memory.series.damage import check_chunk, damaged
from neural_gpu_bus.memory.series.gathered import GatheredSource, as_of
from neural_gpu_bus.memory.series.key_columns import (
    key_column,
    nested_column,
    table_over,
    zero_bytes,
)
from neural_gpu_bus.memory.series.records import Chunk, Stamp
from neural_gpu_bus.memory.series.shape import HEADER_BYTES, TEXT_HEADER_BYTES, StoredColumn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.attaching import SeriesPlace
    from neural_gpu_bus.memory.series.directory import Key
    from neural_gpu_bus.memory.series.shape import Shape

    Bytes = npt.NDArray[np.uint8]


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` (exclusive) of a chunk, counted in its extent."""

    chunk: Chunk
    start: int
    stop: int


class ChunkSource:
    """All rows of one extent that a view may see; see ``frame_source.FrameSource``.

    Making one touches no byte of the extent. Columns of the key are made when they are asked for.
    """

    __slots__ = (
        "__weakref__",
        "_arena",
        "_key",
        "_place",
        "_places",
        "_stamp",
        "_title",
        "chunk",
        "shape",
    )

    def __init__(  # noqa: PLR0917  made at each look at a partition; keywords cost time
        self,
        shape: Shape,
        arena: Bytes | None,
        chunk: Chunk,
        key: Key,
        stamp: Stamp,
        title: str,
        place: SeriesPlace | None,
    ) -> None:
        self.shape = shape
        self.chunk = chunk
        self._arena = arena
        self._key = key
        self._stamp = stamp
        self._title = title
        self._place = place
        self._places: list[tuple[int, int]] | None = None

    @property
    def title(self) -> str:
        """Name of the series and the key."""
        return self._title

    @property
    def rows(self) -> int:
        """Rows in every column; those that repeat an earlier chunk count in."""
        return self.chunk.rows

    @property
    def nbytes(self) -> int:
        """Of the whole extent, rows that are to come included."""
        self._checked()
        if self._arena is None:
            return 0
        at = self.chunk.offset
        return int(self._arena[at : at + 8].view("<i8")[0])

    @property
    def version(self) -> int:
        """A series has generations instead."""
        return 0

    @property
    def as_of(self) -> AsOf:
        """When its generation was published."""
        return as_of(self._stamp)

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Names and Arrow types, in order."""
        return self.shape.columns

    def column(self, name: str) -> ColumnBytes:
        """Buffers of one column, views of the arena.

        Bits of rows that are to come may share a byte with the last of these. Booleans are a copy
        where they may; of ``validity`` whoever takes it reads the bits of its rows alone.
        """
        column = self.shape.by_name.get(name)
        if name in self.shape.nested:
            return nested_column(self.shape, name, self.rows, self._stored)
        if column is None:
            return key_column(self.shape, self._key, name, self.rows)
        found = self._stored(column)
        if column.kind.form == "bits" and self.rows % 8:
            return found._replace(values=_cut_bits(found.values, self.rows))
        return found

    def _stored(self, column: StoredColumn) -> ColumnBytes:
        rows, arena = self.rows, self._arena
        places = self._checked()
        if arena is None:
            return _empty_column(column)
        validity_at, values_at = places[column.place]
        at = self.chunk.offset
        # The last bit is of several columns, of which some may have no NULL and no bitmap.
        has_nulls = column.nullable and bool(self.chunk.nulls & column.null_bit)
        begin = at + values_at
        values = arena[begin : begin + column.value_bytes(rows)]
        validity = data = None
        if has_nulls:
            begin = at + validity_at
            validity = arena[begin : begin + -(-rows // 8)]
        if column.text >= 0:
            head = at + HEADER_BYTES + TEXT_HEADER_BYTES * column.text
            begin = at + int(arena[head : head + 8].view("<i8")[0])
            room, stop = arena[head + 8 : head + 16].view("<i8")[0], values[-8:].view("<i8")[0]
            if not 0 <= stop <= room:
                raise damaged(self._path, f"texts of {stop:,} bytes where {room:,} are")
            data = arena[begin : begin + int(stop)]
        return ColumnBytes(column.name, column.type, -has_nulls, validity, values, data)

    def _checked(self) -> list[tuple[int, int]]:
        """Where its columns lie. ProtocolError, before a byte is read, where that cannot be."""
        if self._places is None:
            check_chunk(self.chunk, self.shape, self._arena, self._path)
            self._places = self.shape.places(self.chunk.capacity)[0]
        return self._places

    @property
    def _path(self) -> Path:
        return Path(self._title) if self._place is None else self._place.partitions

    def arrow(self) -> pa.Table:
        """All rows over the same bytes, without a copy but for the key. Behind the last row bitmaps
        hold whatever rows that came later put there; Arrow looks at none of it.
        """
        return table_over(self.shape, self._key, self.rows, self._stored)

    def arrow_rows(self, start: int, stop: int) -> pa.Table:
        """The same of some rows: of columns with parts only theirs are put together."""
        if not self.shape.nested:
            return self.arrow().slice(start, stop - start)
        return table_over(self.shape, self._key, self.rows, self._stored, start, stop)

    def private(self) -> GatheredSource:
        """A copy: on the same pages lie rows of others, and rows that are to come."""
        return GatheredSource(self.title, self.arrow(), self.as_of, self.reference()).private()

    def reference(self) -> tuple[Any, ...]:
        """How another process of this host finds the same rows."""
        assert self._place is not None  # noqa: S101  the writer's own sources are never pickled
        pieces = [Piece(self.chunk, 0, self.rows)]
        return self._place.reference(self._key, self._title, pieces, self._stamp)

    def __eq__(self, other: object) -> bool:
        """The same rows of the same extent."""
        return (
            isinstance(other, ChunkSource)
            and self._title == other._title
            and self.chunk == other.chunk
        )

    def __hash__(self) -> int:
        return hash((self._title, self.chunk))


def _cut_bits(bitmap: Bytes, rows: int) -> Bytes:
    """A copy that nobody writes on, with nothing set behind the last row."""
    copied = bitmap.copy()
    copied[-1:] &= (1 << rows % 8) - 1
    copied.flags.writeable = False
    return copied


def _empty_column(column: StoredColumn) -> ColumnBytes:
    """Of a partition that has no rows, and no extent."""
    nbytes = 8 if column.text >= 0 else 0
    data = zero_bytes(0) if column.text >= 0 else None
    return ColumnBytes(column.name, column.type, 0, None, zero_bytes(nbytes), data)
