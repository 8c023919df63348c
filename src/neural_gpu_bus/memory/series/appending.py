"""Appending: rows go behind those that are there, in place, into an extent with room for them.

Where there is none the extent's rows are copied into one twice as large, up to ``chunk_rows_max``;
a full one stays, and the next begins with a copy of its last ``overlap_rows``. So each row is
copied about twice however long a partition becomes, and no append waits for more than one extent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.batches import Batch
from neural_gpu_bus.memory.series.records import Chunk, Slot
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

#: Rows of the first extent of a partition.
CAPACITY_MIN = 64
#: Bytes that each text column has room for in it.
TEXT_BYTES_MIN = 1024

#: Writes rows that come late into a partition: state, batch, group.
Merge = Callable[[SeriesState, Batch, int], None]


def append(state: SeriesState, batch: Batch, merge: Merge) -> None:
    """Add a batch to its partitions. Call within ``state.all_or_nothing``."""
    import numpy as np

    slots = state.slots[batch.partitions]
    late = _late(state, batch, slots)
    fits = ~late & _fits(state, batch, slots)
    if not fits.all():
        grows = ~late & (slots["head_rows"] + batch.counts <= state.meta.chunk_rows_max) & ~fits
        needs = _text_needs(state, batch)
        for group in np.flatnonzero(grows).tolist():
            partition = int(batch.partitions[group])
            slot = state.slot(partition)
            _grow(state, partition, slot, int(batch.counts[group]), needs[group].tolist())
        fits |= grows
        _write(state, batch, fits)
        for group in np.flatnonzero(~fits).tolist():
            if late[group]:
                merge(state, batch, group)
            else:
                _append_over_chunks(state, batch, group)
    else:
        _write(state, batch)
    state.counts.appended_rows += int(batch.counts.sum())


def _late(state: SeriesState, batch: Batch, slots: npt.NDArray[np.void]) -> Bools:
    """Groups that begin before the last row of their partition."""
    import numpy as np

    if not len(batch.order_values):
        return np.zeros(len(slots), np.bool_)
    begins = batch.order_values[batch.firsts]
    late: Bools = (begins < state.last_values[batch.partitions]) & (slots["rows"] > 0)
    return late


def _fits(state: SeriesState, batch: Batch, slots: npt.NDArray[np.void]) -> Bools:
    import numpy as np

    fits: Bools = batch.counts <= slots["capacity"] - slots["head_rows"]
    if not state.shape.texts:
        return fits
    arenas = state.extents.arenas.addresses
    addresses = np.where(slots["arena"] > 0, arenas[slots["arena"]] + slots["offset"], 0)
    used = np.zeros((len(slots), state.shape.texts), np.int64)
    room = np.zeros_like(used)
    capacities, rows = (slots[name].astype(np.int64) for name in ("capacity", "head_rows"))
    kernels.text_use(state.columns, addresses, capacities, rows, used, room)
    fits &= (used + _text_needs(state, batch) <= room).all(axis=1)
    return fits


def _text_needs(state: SeriesState, batch: Batch) -> Numbers:
    """Bytes of each text column in each group."""
    import numpy as np

    needs = np.zeros((len(batch.firsts), state.shape.texts), np.int64)
    if state.shape.texts:
        kernels.text_needs(
            state.columns, batch.sources, batch.order, batch.firsts, batch.counts, needs
        )
    return needs


def _grow(state: SeriesState, partition: int, slot: Slot, rows: int, needs: list[int]) -> None:
    """Give a head an extent with room for that many rows more."""
    extents, head = state.extents, slot.head
    used, room = extents.text_use(head, head.rows)
    capacity = max(2 * head.capacity, head.rows + rows, CAPACITY_MIN)
    capacity = min(capacity, max(state.meta.chunk_rows_max, head.rows + rows))
    texts = [
        max(2 * had, (taken + need) * 5 // 4 * capacity // (head.rows + rows), TEXT_BYTES_MIN)
        for taken, had, need in zip(used, room, needs, strict=True)
    ]
    arena, offset = extents.make(capacity, texts)
    grown = slot._replace(arena=arena, offset=offset, capacity=capacity)
    if head.rows:
        extents.move(head, 0, grown.head, 0, head.rows)
        state.counts.grown_rows += head.rows
    extents.drop(head.arena, head.offset)
    state.set(partition, grown)


def _write(state: SeriesState, batch: Batch, chosen: Bools | None = None) -> None:
    """Scatter the rows of the groups that fit; one call for all columns and partitions."""
    import numpy as np

    groups = slice(None) if chosen is None else np.flatnonzero(chosen)
    partitions, firsts, counts = (
        column[groups] for column in (batch.partitions, batch.firsts, batch.counts)
    )
    if not len(partitions):
        return
    slots = state.slots[partitions]
    segments = np.empty((len(partitions), kernels.SEGMENT_FIELDS), np.int64)
    addresses = state.extents.arenas.addresses
    segments[:, kernels.TARGET] = addresses[slots["arena"]] + slots["offset"]
    segments[:, kernels.CAPACITY] = slots["capacity"]
    segments[:, kernels.ROW] = slots["head_rows"]
    segments[:, kernels.FIRST] = firsts
    segments[:, kernels.COUNT] = counts
    nulls = np.empty(len(partitions), np.int64)
    kernels.scatter(state.columns, batch.sources, batch.order, segments, nulls)
    slots["rows"] += counts
    slots["head_rows"] += counts.astype(np.int32)
    slots["nulls"] |= nulls
    state.slots[partitions] = slots
    state.touched[partitions] = True
    if len(batch.order_values):
        state.last_values[partitions] = batch.order_values[firsts + counts - 1]


def _append_over_chunks(state: SeriesState, batch: Batch, group: int) -> None:
    """More rows than one chunk takes: fill the head, begin the next, and so on."""
    import numpy as np

    partition = int(batch.partitions[group])
    first, left = int(batch.firsts[group]), int(batch.counts[group])
    while left:
        slot = state.slot(partition)
        room = state.meta.chunk_rows_max - slot.head_rows
        if room <= 0:
            begin_chunk(state, partition)
            continue
        rows = min(room, left)
        part = Batch(
            batch.table,
            batch.sources,
            batch.order,
            np.array([partition], np.int64),
            np.array([first], np.int64),
            np.array([rows], np.int64),
            batch.order_values,
        )
        slots = state.slots[part.partitions]
        if not _fits(state, part, slots).all():
            _grow(state, partition, slot, rows, _text_needs(state, part)[0].tolist())
        _write(state, part)
        first, left = first + rows, left - rows


def begin_chunk(state: SeriesState, partition: int) -> None:
    """The head is full: it becomes the last chunk of the spine, and a new head repeats its end."""
    extents, slot = state.extents, state.slot(partition)
    full = slot.head
    spine = extents.read_spine(slot.spine_arena, slot.spine_offset, slot.spine_count)
    overlap = min(state.meta.overlap_rows, full.rows)
    capacity = max(2 * overlap, CAPACITY_MIN)
    capacity = min(capacity, state.meta.chunk_rows_max)
    used, _ = extents.text_use(full, full.rows)
    texts = [max(nbytes, TEXT_BYTES_MIN) for nbytes in used]
    arena, offset = extents.make(capacity, texts)
    head = Chunk(arena, capacity, offset, overlap, overlap, full.nulls if overlap else 0)
    extents.move(full, full.rows - overlap, head, 0, overlap)
    state.counts.grown_rows += overlap
    chunks = [*spine, full]
    spine_arena, spine_offset = extents.write_spine(chunks)
    extents.drop_spine(slot.spine_arena, slot.spine_count)
    state.set(
        partition,
        slot._replace(
            arena=arena,
            capacity=capacity,
            offset=offset,
            head_rows=overlap,
            overlap=overlap,
            nulls=head.nulls,
            spine_arena=spine_arena,
            spine_count=len(chunks),
            spine_offset=spine_offset,
        ),
    )
