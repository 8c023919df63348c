"""Compiled loops that write the cells of a column, each at the cursor of its row.

A cell is ``int32 length`` (-1 = NULL) and that many bytes, big-endian; the elements of arrays and
the fields of rows are cells too (arrayfuncs.c, ``array_send``; rowtypes.c, ``record_send``).
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from neural_gpu_bus.stores.postgres.encoding.wire_source import WireColumn

_ALL_VALID = np.empty(0, np.bool_)


def put_column(
    out: npt.NDArray[np.uint8],
    cursor: npt.NDArray[np.int64],
    column: WireColumn,
    start: int,
    stop: int,
) -> None:
    """Write the cells of rows ``start`` to ``stop``; each cursor moves behind its cell."""
    valid = _ALL_VALID if column.valid is None else column.valid[start:stop]
    if column.offsets is not None:
        lead = column.lead[0] if column.lead else -1
        _put_variable(out, cursor, column.offsets[start : stop + 1], column.values, valid, lead)
    elif column.values.ndim == 2:
        _put_bytes(out, cursor, column.values[start:stop], valid)
    else:
        _put_fixed(out, cursor, column.values[start:stop], valid)


# Indices are unsigned below: with signed ones numba looks for negative indices at each store,
# which keeps LLVM from joining the bytes of a value into one swapped store.


@numba.njit(nogil=True, cache=True, inline="always")
def put_length(out, at, length):  # type: ignore[no-untyped-def]
    """Write 32 bits."""
    out[at] = np.uint8((length >> np.uint32(24)) & np.uint32(255))
    out[at + np.uint64(1)] = np.uint8((length >> np.uint32(16)) & np.uint32(255))
    out[at + np.uint64(2)] = np.uint8((length >> np.uint32(8)) & np.uint32(255))
    out[at + np.uint64(3)] = np.uint8(length & np.uint32(255))


@numba.njit(nogil=True, cache=True)
def put_counts(out, cursor, columns):  # type: ignore[no-untyped-def]
    """Write the number of a row's columns at each cursor and move it on."""
    for row in range(cursor.size):
        at = np.uint64(cursor[row])
        out[at] = np.uint8(columns >> 8)
        out[at + np.uint64(1)] = np.uint8(columns & 255)
        cursor[row] += 2


@numba.njit(nogil=True, cache=True)
def put_words(out, cursor, words, counts):  # type: ignore[no-untyped-def]
    """Write the first ``counts`` of each row's words, 32 bits each, and move its cursor on."""
    for row in range(cursor.size):
        for index in range(counts[row]):
            put_length(out, np.uint64(cursor[row]), np.uint32(words[row, index]))
            cursor[row] += 4


@numba.njit(nogil=True, cache=True)
def _put_fixed(out, cursor, values, valid):  # type: ignore[no-untyped-def]
    width = np.uint64(values.itemsize)
    some_null = valid.size > 0
    for row in range(cursor.size):
        at = np.uint64(cursor[row])
        if some_null and not valid[row]:
            put_length(out, at, np.uint32(0xFFFFFFFF))
            cursor[row] += 4
            continue
        put_length(out, at, np.uint32(width))
        value = np.uint64(values[row])
        for byte in range(width):
            shift = np.uint64(8) * (width - np.uint64(1) - np.uint64(byte))
            out[at + np.uint64(4) + np.uint64(byte)] = np.uint8((value >> shift) & np.uint64(255))
        cursor[row] += 4 + values.itemsize


@numba.njit(nogil=True, cache=True)
def _put_bytes(out, cursor, values, valid):  # type: ignore[no-untyped-def]
    width = values.shape[1]
    some_null = valid.size > 0
    for row in range(cursor.size):
        at = np.uint64(cursor[row])
        if some_null and not valid[row]:
            put_length(out, at, np.uint32(0xFFFFFFFF))
            cursor[row] += 4
            continue
        put_length(out, at, np.uint32(width))
        for byte in range(width):
            out[at + np.uint64(4) + np.uint64(byte)] = values[row, byte]
        cursor[row] += 4 + width


@numba.njit(nogil=True, cache=True)
def _put_variable(out, cursor, offsets, data, valid, lead):  # type: ignore[no-untyped-def]  # noqa: PLR0917  # numba takes no keywords
    some_null = valid.size > 0
    for row in range(cursor.size):
        at = np.uint64(cursor[row])
        if some_null and not valid[row]:
            put_length(out, at, np.uint32(0xFFFFFFFF))
            cursor[row] += 4
            continue
        begin = np.uint64(offsets[row])
        length = np.uint64(offsets[row + 1]) - begin
        size = length
        at += np.uint64(4)
        if lead >= 0:
            size += np.uint64(1)
            out[at] = np.uint8(lead)
            at += np.uint64(1)
        put_length(out, np.uint64(cursor[row]), np.uint32(size))
        for byte in range(length):
            out[at + np.uint64(byte)] = data[begin + np.uint64(byte)]
        cursor[row] += 4 + np.int64(size)
