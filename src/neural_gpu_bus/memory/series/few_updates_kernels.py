# Compiled loops take plain arrays.
# ruff: noqa: PLR0917
"""Where a few rows that change without moving lie, and what their extents become.

For partitions with one extent alone: what the general way plans with two dozen calls.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.finding_kernels import (
    ORDER_COLUMN,
    _bound,
    _same,
)
from neural_gpu_bus.memory.series.kernels import SOURCE_FIELDS, _place
from neural_gpu_bus.memory.series.weaving_kernels import (
    ADDRESS,
    BATCH,
    EXTENT_FIELDS,
    NULLS,
    ROOM,
    TARGET_RUN,
    TARGET_RUNS,
    _source_of,
)

#: Of the files whose functions are compiled into these loops, which numba does not look at.
COMPILED_WITH = "35d662f039cb6998"

#: Words of ``records.SLOT``; two fields of 32 bits share one.
_ARENA_CAPACITY, _OFFSET, _HEAD_ROWS_OVERLAP, _NULLS, _SPINE = range(2, 7)
_LOW = np.int64(0xFFFFFFFF)
#: Without an order each row of the partition is looked at, for every row that changes.
_LOOKED_AT_MAX = 1 << 14


@njit
def _extent_of(slot, arenas, extent):  # type: ignore[no-untyped-def]
    """The only extent of a partition; False where it has others, or none."""
    arena = slot[_ARENA_CAPACITY] & _LOW
    if arena == 0 or slot[_HEAD_ROWS_OVERLAP] >> 32 or slot[_SPINE] >> 32:
        return False
    extent[ADDRESS] = arenas[arena] + slot[_OFFSET]
    extent[ROOM], extent[NULLS] = slot[_ARENA_CAPACITY] >> 32, slot[_NULLS]
    return True


@njit
def _row_of(columns, on, sources, row, value, order, held, at_order, rows):  # type: ignore[no-untyped-def]
    """The row of an extent that has this order value and is equal in ``on``; -1 for none."""
    low, high = np.int64(0), rows
    if order[ORDER_COLUMN] >= 0:
        low = _bound(at_order, low, high, value, order, False)
        high = _bound(at_order, low, high, value, order, True)
    for other in range(low, high):
        if _same(columns, on, sources, row, held, other):
            return np.int64(other)
    return np.int64(-1)


@njit
def _find(columns, sources, on, order, partitions, values, slots, arenas, found):  # type: ignore[no-untyped-def]
    """Of each row that changes its row in the extent; False where one is not there."""
    held = np.zeros((columns.shape[0], SOURCE_FIELDS), np.int64)
    places, extent = np.empty((columns.shape[0], 2), np.int64), np.zeros(EXTENT_FIELDS, np.int64)
    last, rows, at_order = np.int64(-1), np.int64(0), np.int64(0)
    for row in range(partitions.size):
        partition = partitions[row]
        if partition != last:
            if not _extent_of(slots[partition], arenas, extent):
                return False
            rows = slots[partition, _HEAD_ROWS_OVERLAP] & _LOW
            if order[ORDER_COLUMN] < 0 and rows * partitions.size > _LOOKED_AT_MAX:
                return False
            _place(columns, extent[ROOM], places)
            for column in on:
                _source_of(columns, column, extent, places, held[column])
            if order[ORDER_COLUMN] >= 0:
                at_order = extent[ADDRESS] + places[order[ORDER_COLUMN], 1]
            last = partition
        value = values[row] if order[ORDER_COLUMN] >= 0 else np.int64(0)
        found[row] = _row_of(columns, on, sources, row, value, order, held, at_order, rows)
        if found[row] < 0:
            return False
    return True


@njit
def _in_order(partitions, found):  # type: ignore[no-untyped-def]
    """Rows by partition, then by place; of those that change the same row the last."""
    order = np.arange(partitions.size)
    for number in range(1, order.size):
        row, at = order[number], number
        while at > 0:
            before = order[at - 1]
            same = partitions[before] == partitions[row]
            if partitions[before] < partitions[row] or (same and found[before] <= found[row]):
                break
            order[at] = before
            at -= 1
        order[at] = row
    kept = 0
    for number in range(order.size):
        row, is_last = order[number], number + 1 == order.size
        after = row if is_last else order[number + 1]
        if is_last or partitions[after] != partitions[row] or found[after] != found[row]:
            order[kept] = row
            kept += 1
    return order[:kept]


@njit
def plan_few(  # type: ignore[no-untyped-def]
    columns, sources, on, order, partitions, values, slots, arenas,
    touched, extents, runs, targets,
):  # fmt: skip
    """How many partitions are written anew so that these rows take the places of those of equal
    order value that are equal in ``on``; 0 where the general way has to look.

    ``touched``: these partitions. ``extents``, ``runs``, ``targets``: what ``weave`` takes, but for
    where targets lie and what room they have.
    """
    found = np.empty(partitions.size, np.int64)
    if not _find(columns, sources, on, order, partitions, values, slots, arenas, found):
        return np.int64(0)
    rows = _in_order(partitions, found)
    count, run, cursor = np.int64(0), np.int64(0), np.int64(0)
    for number in range(rows.size):
        row = rows[number]
        partition = partitions[row]
        if number == 0 or partitions[rows[number - 1]] != partition:
            touched[count] = partition
            _extent_of(slots[partition], arenas, extents[count])
            targets[count, TARGET_RUN] = run
            count, cursor = count + 1, np.int64(0)
        if found[row] > cursor:
            runs[run, 0], runs[run, 1], runs[run, 2] = count - 1, cursor, found[row] - cursor
            run += 1
        runs[run, 0], runs[run, 1], runs[run, 2] = BATCH, row, 1
        run, cursor = run + 1, found[row] + 1
        held = slots[partition, _HEAD_ROWS_OVERLAP] & _LOW
        is_last = number + 1 == rows.size or partitions[rows[number + 1]] != partition
        if is_last and held > cursor:
            runs[run, 0], runs[run, 1], runs[run, 2] = count - 1, cursor, held - cursor
            run += 1
        targets[count - 1, TARGET_RUNS] = run - targets[count - 1, TARGET_RUN]
    return count
