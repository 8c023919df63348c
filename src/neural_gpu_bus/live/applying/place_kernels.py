# ruff: noqa: PLR0917
"""Compiled open addressing: where a row with that hash of its identity lies.

Slots of one hash, one partition and one order value each, probed in a line, at most three quarters
full. A hash of 0 is an empty slot.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(forceinline=True)
def _kept(hashed):  # type: ignore[no-untyped-def]
    return hashed if hashed != 0 else np.uint64(1)


@njit(
    "void(uint64[::1], int32[::1], int64[::1], uint64[::1], int32[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def put(slots, partitions, values, hashes, of_partition, of_value):  # type: ignore[no-untyped-def]
    """Add rows; there has to be room. A hash of 0 is no row."""
    mask = slots.size - 1
    for row in range(hashes.size):
        if hashes[row] == 0:
            continue
        at = np.int64(hashes[row] & np.uint64(mask))
        while slots[at]:
            at = (at + 1) & mask
        slots[at] = hashes[row]
        partitions[at] = of_partition[row]
        values[at] = of_value[row]


@njit(
    "void(uint64[::1], int32[::1], int64[::1], uint64[::1], int64[::1], int64[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def look(slots, partitions, values, hashes, skipped, of_partition, of_value):  # type: ignore[no-untyped-def]
    """Of each row that is wanted the place after ``skipped`` others of the same hash; -1 none."""
    mask = slots.size - 1
    for row in range(hashes.size):
        hashed, left = _kept(hashes[row]), skipped[row]
        at = np.int64(hashed & np.uint64(mask))
        of_partition[row] = -1
        while slots[at]:
            if slots[at] == hashed:
                if left == 0:
                    of_partition[row] = partitions[at]
                    of_value[row] = values[at]
                    break
                left -= 1
            at = (at + 1) & mask


@njit(
    "int64(uint64[::1], int32[::1], int64[::1], uint64[::1], int64[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def drop(slots, partitions, values, hashes, of_partition, of_value):  # type: ignore[no-untyped-def]
    """Remove rows; how many were there. What stands behind moves up, so that no line breaks."""
    mask = slots.size - 1
    dropped = np.int64(0)
    for row in range(hashes.size):
        hashed = _kept(hashes[row])
        at = np.int64(hashed & np.uint64(mask))
        while slots[at] and not (
            slots[at] == hashed
            and partitions[at] == of_partition[row]
            and values[at] == of_value[row]
        ):
            at = (at + 1) & mask
        if slots[at] == 0:
            continue
        dropped += 1
        hole, at = at, (at + 1) & mask
        while slots[at]:
            home = np.int64(slots[at] & np.uint64(mask))
            if ((at - home) & mask) >= ((at - hole) & mask):
                slots[hole], partitions[hole] = slots[at], partitions[at]
                values[hole] = values[at]
                hole = at
            at = (at + 1) & mask
        slots[hole] = 0
    return dropped
