# ruff: noqa: PLR0917
"""A few rows behind the last of their partitions, and a publication, in few compiled calls.

The general way groups rows, asks for room and writes, in two dozen calls: 150 us for one row, of
which writing takes one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.addresses import load_64
from neural_gpu_bus.memory.series.clock import PUBLISHED, WRITING
from neural_gpu_bus.memory.series.directory import CHANGED
from neural_gpu_bus.memory.series.kernels import (
    _HEADER,
    _TEXT_HEADER,
    CAPACITY,
    COUNT,
    FIRST,
    ROW,
    SEGMENT_FIELDS,
    TARGET,
    TEXT_NUMBER,
    VALUES,
    _place,
    _segment,
    store_in_order,
    write_slots,
)

#: Of the files whose functions are compiled into these loops, which numba does not look at.
COMPILED_WITH = "f0c11a9913b6fce0"

#: Rows of one partition are compared each with each.
FEW_ROWS_MAX = 64
#: Words of ``records.SLOT``; two fields of 32 bits share one.
_ROWS, _ARENA_CAPACITY, _OFFSET, _HEAD_ROWS_OVERLAP, _NULLS = range(1, 6)
_LOW = np.int64(0xFFFFFFFF)


@njit
def _has_room(  # type: ignore[no-untyped-def]
    columns, sources, partitions, values, slots, arenas, last_values, segments, places, row
):
    """Whether the row goes behind those before it; where it goes is in ``segments``."""
    partition = partitions[row]
    slot = slots[partition]
    arena, capacity = slot[_ARENA_CAPACITY] & _LOW, slot[_ARENA_CAPACITY] >> 32
    head_rows = slot[_HEAD_ROWS_OVERLAP] & _LOW
    before, value = 0, last_values[partition] if slot[_ROWS] else np.int64(-(2**63))
    for other in range(row):
        if partitions[other] == partition:
            before += 1
            if values.size:
                value = values[other]
    if arena == 0 or head_rows + before >= capacity:
        return False
    if values.size and values[row] < value:
        return False
    base = arenas[arena] + slot[_OFFSET]
    segment = segments[row]
    segment[TARGET], segment[CAPACITY] = base, capacity
    segment[ROW], segment[FIRST], segment[COUNT] = head_rows + before, row, 1
    _place(columns, capacity, places)
    for column in range(columns.shape[0]):
        text = columns[column, TEXT_NUMBER]
        if text < 0:
            continue
        used = load_64(base + places[column, 1] + 8 * head_rows) if head_rows else np.int64(0)
        for other in range(row + 1):
            if partitions[other] == partition:
                at = sources[column, VALUES] + 8 * other
                used += load_64(at + 8) - load_64(at)
        if used > load_64(base + _HEADER + _TEXT_HEADER * text + 8):
            return False
    return True


@njit
def add_few(  # type: ignore[no-untyped-def]
    columns, sources, partitions, values, slots, arenas, last_values, touched
):
    """All rows, or none and False: where one has no room, or does not come behind the others.

    ``values``: of the order, empty without one. ``slots``: shape (partitions, 8), as in
    ``records.SLOT``. ``arenas``: their addresses.
    """
    rows = partitions.size
    segments = np.empty((rows, SEGMENT_FIELDS), np.int64)
    places = np.empty((columns.shape[0], 2), np.int64)
    for row in range(rows):
        if not _has_room(
            columns, sources, partitions, values, slots, arenas, last_values, segments, places, row
        ):
            return False
    order = np.empty(0, np.int64)
    for row in range(rows):
        partition = partitions[row]
        nulls = _segment(columns, sources, order, segments[row], places, False)
        slot = slots[partition]
        slot[_ROWS] += 1
        slot[_HEAD_ROWS_OVERLAP] += 1
        slot[_NULLS] |= nulls
        touched[partition] = True
        if values.size:
            last_values[partition] = values[row]
    return True


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], boolean[::1])",
    nogil=True,
    cache=True,
)
def settle_touched(slots, published, values, published_values, touched):  # type: ignore[no-untyped-def]
    """What touched partitions hold is published: no partition is touched any more."""
    for partition in range(touched.size):
        if touched[partition]:
            published[partition] = slots[partition]
            published_values[partition] = values[partition]
            touched[partition] = False


@njit("void(int64[::1], int64, int64, int64, int64, int64)", nogil=True, cache=True)
def publish_stamp(words, at, generation, position, committed_ns, published_ns):  # type: ignore[no-untyped-def]
    """The stamp of a generation whose slots are written; then it is published."""
    words[at], words[at + 1] = generation, position
    words[at + 2], words[at + 3] = committed_ns, published_ns
    store_in_order(words, PUBLISHED, generation)


@njit(
    "void(int64[::1], int64, int64, int64, int64, int64, int64[:, :, ::1], int64[::1], "
    "int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], boolean[::1])",
    nogil=True,
    cache=True,
)
def publish_one(  # type: ignore[no-untyped-def]
    words, at, generation, position, committed_ns, published_ns,
    entries, head, slots, published, values, published_values, touched,
):  # fmt: skip
    """A whole publication where one series changed: the same stores in the same order."""
    store_in_order(words, WRITING, generation)
    partitions = np.flatnonzero(touched)
    if partitions.size:
        head[CHANGED] = generation
        for partition in partitions:
            slots[partition, 0] = generation
        write_slots(entries, slots, partitions, generation)
    publish_stamp(words, at, generation, position, committed_ns, published_ns)
    settle_touched(slots, published, values, published_values, touched)
