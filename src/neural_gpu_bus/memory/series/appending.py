"""Appending: rows go behind those that are there, in place, into an extent with room for them.

Where there is none the extent's rows are copied into one twice as large, up to ``chunk_rows_max``;
a full one stays, and the next begins with a copy of its last ``overlap_rows``. So each row is
copied about twice however long a partition becomes, and no append waits for more than one extent.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.batches import Batch
from neural_gpu_bus.memory.series.records import Chunk
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
#: Fewer are copied in less time than a thread takes to start and end, twice over.
ROWS_OF_TWO_THREADS_MIN = 1 << 16


def append(state: SeriesState, batch: Batch) -> None:
    """Add a batch behind the rows of its partitions, where the order must want it.

    Call within ``state.all_or_nothing``.
    """
    import numpy as np

    slots = state.slots[batch.partitions]
    fits = _fits(state, batch, slots)
    if not fits.all():
        grows = (slots["head_rows"] + batch.counts <= state.meta.chunk_rows_max) & ~fits
        groups = np.flatnonzero(grows)
        _grow(state, batch, groups)
        fits |= grows
        _write(state, batch, fits)
        for group in np.flatnonzero(~fits).tolist():
            _append_over_chunks(state, batch, group)
    else:
        _write(state, batch)
    state.counts.appended_rows += int(batch.counts.sum())


def _fits(state: SeriesState, batch: Batch, slots: npt.NDArray[np.void]) -> Bools:

    fits: Bools = batch.counts <= slots["capacity"] - slots["head_rows"]
    if not state.shape.texts:
        return fits
    used, room = _text_use(state, slots)
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


def _grow(state: SeriesState, batch: Batch, groups: Numbers) -> None:
    """Give heads extents with room for their groups' rows; all rows are copied in one call."""
    import numpy as np

    extents, partitions = state.extents, batch.partitions[groups]
    slots, counts = state.slots[partitions], batch.counts[groups]
    rows = slots["head_rows"] + counts
    to_come = rows if batch.to_come is None else rows + batch.to_come[groups]
    capacities = np.maximum(2 * slots["capacity"].astype(np.int64), to_come)
    capacities = np.maximum(capacities, CAPACITY_MIN)
    capacities = np.minimum(capacities, np.maximum(state.meta.chunk_rows_max, rows))
    used, room = _text_use(state, slots)
    wanted = (used + _text_needs(state, batch)[groups]) * 5 // 4 * (capacities / rows)[:, None]
    texts = np.maximum(np.maximum(2 * room, wanted.astype(np.int64)), TEXT_BYTES_MIN)
    before = _addresses(state, slots)
    for index, slot in enumerate(slots):
        extents.drop(int(slot["arena"]), int(slot["offset"]))
        place = extents.make(int(capacities[index]), texts[index].tolist())
        slots["arena"][index], slots["offset"][index] = place
    moves = np.empty((len(groups), kernels.MOVE_FIELDS), np.int64)
    moves[:, kernels.FROM], moves[:, kernels.TO] = before, _addresses(state, slots)
    moves[:, kernels.FROM_CAPACITY] = slots["capacity"]
    moves[:, kernels.TO_CAPACITY] = capacities
    moves[:, kernels.FROM_ROW] = moves[:, kernels.TO_ROW] = 0
    moves[:, kernels.MOVED_ROWS] = slots["head_rows"]
    kernels.move_rows(state.columns, moves[slots["head_rows"] > 0])
    slots["capacity"] = capacities
    state.counts.grown_rows += int(slots["head_rows"].sum())
    state.slots[partitions] = slots
    state.touched[partitions] = True


def _addresses(state: SeriesState, slots: npt.NDArray[np.void]) -> Numbers:
    """Of the heads; 0 where there is none."""
    import numpy as np

    arenas = state.extents.arenas.addresses
    return np.where(slots["arena"] > 0, arenas[slots["arena"]] + slots["offset"], 0)


def _text_use(state: SeriesState, slots: npt.NDArray[np.void]) -> tuple[Numbers, Numbers]:
    """Bytes of each text column in each head, and bytes that they may take."""
    import numpy as np

    used = np.zeros((len(slots), state.shape.texts), np.int64)
    room = np.zeros_like(used)
    if state.shape.texts:
        capacities, rows = (slots[name].astype(np.int64) for name in ("capacity", "head_rows"))
        kernels.text_use(state.columns, _addresses(state, slots), capacities, rows, used, room)
    return used, room


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
    segments[:, kernels.TARGET] = _addresses(state, slots)
    segments[:, kernels.CAPACITY] = slots["capacity"]
    segments[:, kernels.ROW] = slots["head_rows"]
    segments[:, kernels.FIRST] = firsts
    segments[:, kernels.COUNT] = counts
    nulls = _scatter(state, batch, segments)
    slots["rows"] += counts
    slots["head_rows"] += counts.astype(np.int32)
    slots["nulls"] |= nulls
    state.slots[partitions] = slots
    state.touched[partitions] = True
    if len(batch.values):
        state.last_values[partitions] = batch.order_values(firsts + counts - 1)


def _scatter(state: SeriesState, batch: Batch, segments: Numbers) -> Numbers:
    """Copy the rows, many by two threads; masks of columns with NULLs."""
    import numpy as np

    nulls = np.empty(len(segments), np.int64)
    ends = np.cumsum(segments[:, kernels.COUNT])
    half = int(np.searchsorted(ends, ends[-1] // 2)) + 1
    threads = []
    if ends[-1] >= ROWS_OF_TWO_THREADS_MIN and half < len(segments):
        given = (state.columns, batch.sources, batch.order, segments[:half], nulls[:half])
        threads = [threading.Thread(target=kernels.scatter, args=given)]
        threads[0].start()
    else:
        half = 0
    kernels.scatter(state.columns, batch.sources, batch.order, segments[half:], nulls[half:])
    for thread in threads:
        thread.join()
    return nulls


def _append_over_chunks(state: SeriesState, batch: Batch, group: int) -> None:
    """More rows than one chunk takes: fill the head, begin the next, and so on."""
    import numpy as np

    partition = int(batch.partitions[group])
    first, left = int(batch.firsts[group]), int(batch.counts[group])
    while left:
        slot = state.slot(partition)
        room = state.meta.chunk_rows_max - slot.head_rows
        if room <= 0:
            begin_chunk(state, partition, left + batch.left(group))
            continue
        rows = min(room, left)
        part = Batch(
            batch.columns,
            batch.sources,
            batch.order,
            np.array([partition], np.int64),
            np.array([first], np.int64),
            np.array([rows], np.int64),
            batch.values,
            None if batch.to_come is None else batch.to_come[group : group + 1] + left - rows,
        )
        slots = state.slots[part.partitions]
        if not _fits(state, part, slots).all():
            _grow(state, part, np.zeros(1, np.int64))
        _write(state, part)
        first, left = first + rows, left - rows


def begin_chunk(state: SeriesState, partition: int, rows: int = 0) -> None:
    """The head is full: it becomes the last chunk of the spine, and a new head repeats its end.

    ``rows``: that are known to come.
    """
    extents, slot = state.extents, state.slot(partition)
    full = slot.head
    spine = extents.read_spine(slot.spine_arena, slot.spine_offset, slot.spine_count)
    overlap = min(state.meta.overlap_rows, full.rows)
    capacity = max(2 * overlap, overlap + rows, CAPACITY_MIN)
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
