# Compiled loops take plain arrays.
"""Where DataRow messages end: to cut a stream of them into batches, and to wait for their end."""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.wire.machine_words import byte, i32

#: Tag and length of a message.
FRAME_BYTES = 5
DATA_ROW = ord("D")

#: What a walk stopped for: bytes are missing, another message, enough rows.
(MORE, OTHER_MESSAGE, ENOUGH) = range(3)


@njit("UniTuple(int64, 3)(uint8[::1], int64, int64, int64, int64)", nogil=True, cache=True)
def walk_rows(buffer, position, stop, rows_max, bytes_max):  # type: ignore[no-untyped-def]
    """Walk whole messages of ``buffer[position:stop]``: at most ``rows_max`` of them, and not one
    more behind ``bytes_max`` bytes. Returns position behind them, their number, and what it
    stopped for; a length that none can have counts as another message.
    """
    base = np.int64(buffer.ctypes.data)
    start, rows = position, np.int64(0)
    while rows < rows_max and position - start < bytes_max:
        if stop - position < FRAME_BYTES:
            return position, rows, np.int64(MORE)
        length = i32(base + position + 1)
        if byte(base + position) != DATA_ROW or length < 4:
            return position, rows, np.int64(OTHER_MESSAGE)
        if length + 1 > stop - position:
            return position, rows, np.int64(MORE)
        position += length + 1
        rows += 1
    return position, rows, np.int64(ENOUGH)
