# Compiled loops take plain arrays.
# ruff: noqa: PLR0917
"""A few tuples of the stream into columns that are there already, in one compiled call."""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding import copy_kernels, layouts
from neural_gpu_bus.stores.postgres.replication import tuple_kernels
from neural_gpu_bus.stores.postgres.wire.machine_words import store_64

#: Of the files whose functions are compiled into this loop; a test says it.
COMPILED_WITH = "6c121462c58bbb88"

#: One word of a bitmap.
PREPARED_ROWS_MAX = 64
#: Of a column: bytes of text that came, NULLs.
TEXT_BYTES, NULLS = range(2)

_BOOL, _DATA_ROW, _IN_ROWS = layouts.BOOL, copy_kernels.DATA_ROW, layouts.IN_ROWS
_ROWS, _STAGE, _FAULT, _TAG = layouts.ROWS, layouts.STAGE, layouts.FAULT, layouts.TAG
_POSITION, _SCRATCH, _STATE_SLOTS = layouts.POSITION, layouts.SCRATCH, layouts.STATE_SLOTS
_END_ROW, _START, _FIRST_ROW = layouts.END_ROW, layouts.START, layouts.FIRST_ROW
_PART_SLOTS, _MORE = layouts.PART_SLOTS, layouts.MORE
_LAYOUT, _VALUES, _VALIDITY = layouts.LAYOUT, layouts.VALUES, layouts.VALIDITY


@njit
def _fresh_state(scratch):  # type: ignore[no-untyped-def]
    state = np.zeros(_STATE_SLOTS, np.int64)
    state[_STAGE], state[_TAG], state[_SCRATCH] = _IN_ROWS, _DATA_ROW, scratch.ctypes.data
    return state


@njit(
    "boolean(uint8[::1], int64[::1], int64, int64[::1], uint8[::1], int64[::1], int64[:, ::1], "
    "int64[:, ::1], uint64[:, ::1], int64[::1], uint8[::1])",
    nogil=True,
    cache=True,
)
def write_prepared(  # type: ignore[no-untyped-def]
    buffer, tuples, columns, places, messages, widths, slots, counts, plan, text_room, scratch
):
    """Write whole tuples of a relation with so many ``columns`` into the columns of ``plan``, those
    at ``places``; False where the general way is to look at them, or has more room.

    ``messages``: room for them in between. ``counts``: ``TEXT_BYTES`` and ``NULLS`` of each column,
    an answer. ``text_room``: bytes that each column's text may take.
    """
    rows = tuples.size
    if rows == 0 or rows > PREPARED_ROWS_MAX:
        return False
    answer = np.zeros(tuple_kernels.ANSWER_SLOTS, np.int64)
    size = tuple_kernels.row_bytes(buffer, tuples, columns, places, answer)
    if size < 0 or size > messages.size:
        return False
    none = np.zeros((0, 0), np.uint8)
    if tuple_kernels.write_rows(buffer, tuples, columns, places, messages, none):
        return False
    counts[:] = 0
    state = _fresh_state(scratch)
    found = copy_kernels.scan_messages(
        messages, size, widths, state, slots, counts[TEXT_BYTES], counts[NULLS]
    )
    if found != _MORE or state[_POSITION] != size or state[_ROWS] != rows:
        return False
    for column in range(plan.shape[0]):
        if counts[TEXT_BYTES, column] > text_room[column]:
            return False
        store_64(plan[column, _VALIDITY], np.uint64(0xFFFFFFFFFFFFFFFF))
        if plan[column, _LAYOUT] == _BOOL:
            store_64(plan[column, _VALUES], np.uint64(0))
    part = np.full(_PART_SLOTS, -1, np.int64)
    part[_START], part[_FIRST_ROW], part[_END_ROW] = 0, 0, rows
    state = _fresh_state(scratch)
    written = np.zeros(plan.shape[0], np.int64)
    copy_kernels.write_rows(messages, part, True, plan, written, state)
    return state[_FAULT] == 0
