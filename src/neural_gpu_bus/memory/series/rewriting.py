"""Rewriting: what is changed within a partition is written to new extents; old ones stay as seen.

A partition is a list of pieces: chunks that stay, and tables that take the place of others. Only
the head's repeated rows are ever read, so of the chunks behind a changed one only the head may have
to be written again: an update costs at most two chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.appending import CAPACITY_MIN, TEXT_BYTES_MIN
from neural_gpu_bus.memory.series.batches import sources_of
from neural_gpu_bus.memory.series.key_columns import stored_table
from neural_gpu_bus.memory.series.records import Chunk, Slot, Stamp
from neural_gpu_bus.memory.series.source import ChunkSource
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import pyarrow as pa


class Piece(Protocol):
    """Rows that take the place of others: an Arrow table, or runs of rows."""

    @property
    def num_rows(self) -> int:
        """How many."""

    def slice(self, offset: int, length: int | None = None, /) -> Self:
        """Some of them."""


class Way(Protocol):
    """How rows of chunks are taken, and new chunks written."""

    def own(self, state: SeriesState, chunk: Chunk, /) -> Any:
        """Rows that no earlier chunk has."""

    def written(
        self, state: SeriesState, pieces: Sequence[Any], overlap: int, *, grows: bool
    ) -> Chunk:
        """A new extent with these rows; one that ``grows`` has room for as many again."""


class _Tables:
    """Pieces are Arrow tables."""

    def own(self, state: SeriesState, chunk: Chunk) -> pa.Table:
        return own_table(state, chunk)

    def written(
        self, state: SeriesState, pieces: Sequence[pa.Table], overlap: int, *, grows: bool
    ) -> Chunk:
        return _written(state, pieces, overlap, grows=grows)


TABLES = _Tables()


def own_table(state: SeriesState, chunk: Chunk) -> pa.Table:
    """Stored columns of the rows that no earlier chunk has, over the extent's own bytes."""
    arena = state.extents.arenas.arrays[chunk.arena]
    source = ChunkSource(state.shape, arena, chunk, (), Stamp(0, 0, 0, 0), "", None)
    return stored_table(state.shape, chunk.rows, source.column).slice(chunk.overlap)


def replace(
    state: SeriesState, partition: int, pieces: Sequence[Chunk | Piece], way: Way = TABLES
) -> None:
    """Let a partition hold these, in order. Call within ``state.all_or_nothing``."""
    slot = state.slot(partition)
    old = state.chunks(slot)
    wanted = _split(pieces, state.meta.chunk_rows_max)
    if not wanted:
        new, kept = Slot(), []
    else:
        spine, head = _built(state, wanted, slot, way)
        kept = [*spine, head]
        new = _slot_of(state, slot, spine, head)
    stays = {(chunk.arena, chunk.offset) for chunk in kept}
    for chunk in old:
        if (chunk.arena, chunk.offset) not in stays:
            state.extents.drop(chunk.arena, chunk.offset)
    if (slot.spine_arena, slot.spine_offset) != (new.spine_arena, new.spine_offset):
        state.extents.drop_spine(slot.spine_arena, slot.spine_count)
    state.set(partition, new)
    state.last_values[partition] = state.last_value(new.head) if new.arena else 0


def _split(pieces: Sequence[Chunk | Piece], rows_max: int) -> list[Chunk | Piece]:
    """Without empty pieces, and none longer than a chunk may be."""
    found: list[Chunk | Piece] = []
    for piece in pieces:
        if isinstance(piece, Chunk):
            found += [piece] if piece.own_rows else []
        else:
            found += [piece.slice(at, rows_max) for at in range(0, piece.num_rows, rows_max)]
    return found


def _built(
    state: SeriesState, pieces: list[Chunk | Piece], slot: Slot, way: Way
) -> tuple[list[Chunk], Chunk]:
    """Chunks of the spine and the head, the changed ones written."""
    if _head_stays(state, pieces, slot):
        return [_chunk(state, piece, way) for piece in pieces[:-1]], slot.head
    *before, last = pieces
    own = last if not isinstance(last, Chunk) else way.own(state, last)
    wanted = min(state.meta.overlap_rows, sum(_rows(piece) for piece in before))
    if own.num_rows + wanted > state.meta.chunk_rows_max:
        half = state.meta.chunk_rows_max // 2
        before.append(own.slice(0, own.num_rows - half))
        own = own.slice(own.num_rows - half)
        wanted = min(state.meta.overlap_rows, sum(_rows(piece) for piece in before))
    repeated = _last_rows(state, before, wanted, way)
    head = way.written(state, [*repeated, own], wanted, grows=True)
    return [_chunk(state, piece, way) for piece in before], head


def _head_stays(state: SeriesState, pieces: list[Chunk | Piece], slot: Slot) -> bool:
    """Whether the head is as it was, and the rows before it as far as it repeats them."""
    *before, last = pieces
    if not isinstance(last, Chunk) or last != slot.head:
        return False
    repeated = last.overlap
    for piece, chunk in zip(reversed(before), reversed(state.chunks(slot)[:-1]), strict=False):
        if repeated <= 0:
            break
        if not isinstance(piece, Chunk) or piece != chunk:
            return False
        repeated -= piece.own_rows
    return repeated <= 0


def _rows(piece: Chunk | Piece) -> int:
    return piece.own_rows if isinstance(piece, Chunk) else piece.num_rows


def _last_rows(
    state: SeriesState, pieces: Sequence[Chunk | Piece], rows: int, way: Way
) -> list[Any]:
    found: list[Any] = []
    for piece in reversed(pieces):
        if rows <= 0:
            break
        held = way.own(state, piece) if isinstance(piece, Chunk) else piece
        taken = held.slice(max(0, held.num_rows - rows))
        found.insert(0, taken)
        rows -= taken.num_rows
    return found


def _chunk(state: SeriesState, piece: Chunk | Piece, way: Way) -> Chunk:
    return piece if isinstance(piece, Chunk) else way.written(state, [piece], 0, grows=False)


def _written(state: SeriesState, tables: Sequence[pa.Table], overlap: int, *, grows: bool) -> Chunk:
    """A new extent with these rows; one that ``grows`` has room for as many again."""
    import numpy as np
    import pyarrow as pa

    table = pa.concat_tables(tables).combine_chunks()
    rows = table.num_rows
    limit = state.meta.chunk_rows_max
    capacity = max(rows, min(limit, max(2 * rows, CAPACITY_MIN))) if grows else rows
    sources, order = sources_of(state.shape, table), np.empty(0, np.int64)
    first, count = np.zeros(1, np.int64), np.array([rows], np.int64)
    needs = np.zeros((1, state.shape.texts), np.int64)
    if state.shape.texts:
        kernels.text_needs(state.columns, sources, order, first, count, needs)
    texts = [max(2 * n, TEXT_BYTES_MIN) if grows else n for n in needs[0].tolist()]
    arena, offset = state.extents.make(capacity, texts)
    address = state.extents.address(arena, offset)
    segment = np.array([[address, capacity, 0, 0, rows]], np.int64)
    nulls = np.zeros(1, np.int64)
    kernels.scatter(state.columns, sources, order, segment, nulls)
    state.counts.rewritten_rows += rows
    return Chunk(arena, capacity, offset, rows, overlap, int(nulls[0]))


def _slot_of(state: SeriesState, slot: Slot, spine: list[Chunk], head: Chunk) -> Slot:
    extents = state.extents
    place = slot.spine_arena, slot.spine_offset
    if spine != extents.read_spine(slot.spine_arena, slot.spine_offset, slot.spine_count):
        place = extents.write_spine(spine)
    return Slot(
        generation=slot.generation,
        rows=sum(chunk.own_rows for chunk in spine) + head.own_rows,
        arena=head.arena,
        capacity=head.capacity,
        offset=head.offset,
        head_rows=head.rows,
        overlap=head.overlap,
        nulls=head.nulls,
        spine_arena=place[0],
        spine_count=len(spine),
        spine_offset=place[1],
    )
