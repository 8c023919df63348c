# ruff: noqa: PLR0917
"""Where the next rows of each partition go, for a loop that writes them there itself."""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.addresses import load_8, load_64, store_8
from neural_gpu_bus.memory.series.kernels import (
    _HEADER,
    _TEXT_HEADER,
    TEXT_NUMBER,
    _place,
)

#: Of the files whose functions are compiled into these loops, which numba does not look at.
COMPILED_WITH = "32418402af419f58"

#: Of one column of one partition: addresses of its validity (0: no NULLs), its values or offsets
#: and its text, and how many bytes of text there may be.
VALIDITY, VALUES, DATA, ROOM, TARGET_FIELDS = range(5)
#: Of a partition's head: rows it has and may have, mask of columns with NULLs, last order value.
ROWS, CAPACITY, NULLS, LAST, HEAD_FIELDS = range(5)
#: Words of ``records.SLOT``; two fields of 32 bits share one.
_ROWS, _ARENA_CAPACITY, _OFFSET, _HEAD_ROWS_OVERLAP, _NULLS = range(1, 6)
_LOW = np.int64(0xFFFFFFFF)


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[:, :, ::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def find_heads(columns, slots, arenas, last_values, targets, heads):  # type: ignore[no-untyped-def]
    """Fill ``targets`` and ``heads``, which are zeros. In the bytes of validity bitmaps that rows
    begun to fill the bits behind become ones.

    ``slots``: shape (partitions, 8), as in ``records.SLOT``. ``arenas``: their addresses.
    """
    places = np.empty((columns.shape[0], 2), np.int64)
    for partition in range(slots.shape[0]):
        slot, head = slots[partition], heads[partition]
        arena, capacity = slot[_ARENA_CAPACITY] & _LOW, slot[_ARENA_CAPACITY] >> 32
        if arena == 0:
            continue
        rows = slot[_HEAD_ROWS_OVERLAP] & _LOW
        head[ROWS], head[CAPACITY], head[NULLS] = rows, capacity, slot[_NULLS]
        head[LAST] = last_values[partition] if slot[_ROWS] else np.int64(-(2**63))
        base = arenas[arena] + slot[_OFFSET]
        _place(columns, capacity, places)
        for column in range(columns.shape[0]):
            target = targets[partition, column]
            target[VALUES] = base + places[column, 1]
            text = columns[column, TEXT_NUMBER]
            if text >= 0:
                at = base + _HEADER + _TEXT_HEADER * text
                target[DATA], target[ROOM] = base + load_64(at), load_64(at + 8)
            if places[column, 0] >= 0:
                target[VALIDITY] = base + places[column, 0]
                if rows & 7:
                    at = target[VALIDITY] + (rows >> 3)
                    store_8(at, load_8(at) | np.uint8(0xFF << (rows & 7) & 0xFF))
