# ruff: noqa: PLR0917
"""Compiled grouping of rows by partition, and sorting within: stable, and quick where rows came in
order already.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit("boolean(int64[::1], int64[::1])", nogil=True, cache=True)
def is_grouped(partitions, values):  # type: ignore[no-untyped-def]
    """Whether rows stand by partition, and in order within (no values: without one)."""
    for row in range(1, partitions.size):
        if partitions[row] < partitions[row - 1]:
            return False
        if values.size and partitions[row] == partitions[row - 1] and values[row] < values[row - 1]:
            return False
    return True


@njit("void(int64[::1], int64[::1], int64[::1], int64[::1], boolean[::1])", nogil=True, cache=True)
def group(partitions, values, ends, order, falls):  # type: ignore[no-untyped-def]
    """Rows by partition, as they came within each. ``ends``: zeros, one for each number that a
    partition may have, and one more. ``falls``: of each number, whether a value does.
    """
    for row in range(partitions.size):
        ends[partitions[row] + 1] += 1
    for number in range(1, ends.size):
        ends[number] += ends[number - 1]
    last = np.empty(ends.size if values.size else 0, np.int64)
    last[:] = np.iinfo(np.int64).min
    for row in range(partitions.size):
        partition = partitions[row]
        order[ends[partition]] = row
        ends[partition] += 1
        if values.size:  # here, where values stand one behind the other
            falls[partition] |= values[row] < last[partition]
            last[partition] = values[row]


@njit
def _merge(values, order, other_values, other_order, low, middle, high):  # type: ignore[no-untyped-def]
    left, right = low, middle
    for at in range(low, high):
        if left < middle and (right >= high or values[left] <= values[right]):
            other_values[at], other_order[at] = values[left], order[left]
            left += 1
        else:
            other_values[at], other_order[at] = values[right], order[right]
            right += 1
    for at in range(low, high):
        values[at], order[at] = other_values[at], other_order[at]


@njit
def _sort(values, order, other_values, other_order, low, high, runs):  # type: ignore[no-untyped-def]
    """Merge rising stretches, neighbours first, until there is one."""
    count = 0
    runs[0] = low
    for at in range(low + 1, high):
        if values[at] < values[at - 1]:
            count += 1
            runs[count] = at
    count += 1
    runs[count] = high
    while count > 1:
        kept = 0
        for run in range(0, count, 2):
            if run + 1 < count:
                begin, middle, end = runs[run], runs[run + 1], runs[run + 2]
                _merge(values, order, other_values, other_order, begin, middle, end)
            runs[kept] = runs[run]
            kept += 1
        runs[kept] = high
        count = kept


@njit("void(int64[::1], int64[::1], int64[::1], int64[::1])", nogil=True, cache=True)
def sort_groups(firsts, counts, values, order):  # type: ignore[no-untyped-def]
    """Bring the rows of each group in ``order`` into order of their values."""
    held, other_values = np.empty(0, np.int64), np.empty(0, np.int64)
    other_order, runs = np.empty(0, np.int64), np.empty(0, np.int64)
    for number in range(firsts.size):
        first, count = firsts[number], counts[number]
        rows = order[first : first + count]
        for at in range(1, count):
            if values[rows[at]] < values[rows[at - 1]]:
                if held.size < count:
                    held, other_values = np.empty(count, np.int64), np.empty(count, np.int64)
                    other_order, runs = np.empty(count, np.int64), np.empty(count + 1, np.int64)
                for place in range(count):
                    held[place] = values[rows[place]]
                _sort(held, rows, other_values, other_order, 0, count, runs)
                break
