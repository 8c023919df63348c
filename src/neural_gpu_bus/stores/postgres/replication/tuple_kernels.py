# Compiled loops take plain arrays.
# ruff: noqa: PLR0917, PLR1714, SIM109
"""Rows of a stream of changes as DataRow messages, and what names them: hashes of their keys.

Layout of a tuple: int16 columns; for each a letter, and for values (``t`` as text, ``b`` binary) an
int32 length and the bytes (PostgreSQL manual, "Logical Replication Message Formats", TupleData). Of
a DataRow: ``D``, int32 length, int16 fields; for each an int32 length, -1 for NULL, and the bytes.
The walk of the stream has tested that every tuple lies inside of its message.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.first_compile import say_when_compiling
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    byte,
    copy_bytes,
    i16,
    i32,
    load_own_32,
    load_own_64,
    store_8,
    store_16,
    store_32,
    store_64,
)

say_when_compiling()

#: Of the files whose functions are compiled into these loops; a test says it.
COMPILED_WITH = "0e20d46323bfe274"

#: Tag, length and number of fields of a DataRow.
ROW_HEAD_BYTES = 7
DATA_ROW = ord("D")
NULL, UNCHANGED, TEXT, BINARY = ord("n"), ord("u"), ord("t"), ord("b")

#: Lengths of a column that has no bytes.
NO_VALUE, NOT_SENT = -1, -2

#: What is wrong with a row.
(NO_FAULT, OTHER_COLUMNS, IS_TEXT, NO_TUPLE, KEY_NOT_SENT) = range(5)

#: Slots of a loop's answer: what is wrong, in which of the rows, at which place of the wire.
FAULT, FAULT_ROW, FAULT_COLUMN, ANSWER_SLOTS = range(4)


@njit(forceinline=True)
def _read_tuple(at, columns, addresses, lengths, kinds):  # type: ignore[no-untyped-def]
    """Where each column's bytes lie, and how many; False where it has another number of them."""
    if i16(at) != columns:
        return False
    at += 2
    for column in range(columns):
        kind = byte(at)
        at += 1
        kinds[column] = kind
        if kind == BINARY or kind == TEXT:
            length = i32(at)
            addresses[column], lengths[column] = at + 4, length
            at += 4 + length
        elif kind == UNCHANGED:
            lengths[column] = NOT_SENT
        else:
            lengths[column] = NO_VALUE
    return True


@njit(forceinline=True)
def _faulty(answer, fault, row, column):  # type: ignore[no-untyped-def]
    answer[FAULT], answer[FAULT_ROW], answer[FAULT_COLUMN] = fault, row, column
    return np.int64(-1)


@njit(forceinline=True)
def _store_i32(at, value):  # type: ignore[no-untyped-def]
    """In network order."""
    bits = np.uint32(value)
    swapped = (bits & np.uint32(0xFF)) << np.uint32(24)
    swapped |= (bits & np.uint32(0xFF00)) << np.uint32(8)
    swapped |= (bits >> np.uint32(8)) & np.uint32(0xFF00)
    store_32(np.uint64(at), np.uint32(swapped | bits >> np.uint32(24)))


@njit(forceinline=True)
def _write_field(to, source, length):  # type: ignore[no-untyped-def]
    """A field with its length; where the next begins."""
    if length < 0:
        _store_i32(to, np.int64(-1))
        return to + 4
    _store_i32(to, length)
    if length == 8:
        store_64(np.uint64(to + 4), load_own_64(np.uint64(source)))
    elif length == 4:
        store_32(np.uint64(to + 4), load_own_32(np.uint64(source)))
    else:
        copy_bytes(np.uint64(to + 4), np.uint64(source), np.uint64(length))
    return to + 4 + length


@njit("int64(uint8[::1], int64[::1], int64, int64[::1], int64[::1])", nogil=True, cache=True)
def row_bytes(buffer, tuples, columns, places, answer):  # type: ignore[no-untyped-def]
    """Bytes of the tuples' columns at some places as DataRow messages; -1 where a row is wrong,
    and then ``answer`` says how.
    """
    base, total = np.int64(buffer.ctypes.data), np.int64(0)
    addresses, lengths = np.empty(columns, np.int64), np.empty(columns, np.int64)
    kinds = np.empty(columns, np.uint8)
    for row in range(tuples.size):
        if tuples[row] < 0:
            return _faulty(answer, NO_TUPLE, row, -1)
        if not _read_tuple(base + tuples[row], columns, addresses, lengths, kinds):
            return _faulty(answer, OTHER_COLUMNS, row, -1)
        total += ROW_HEAD_BYTES + 4 * places.size
        for place in places:
            if kinds[place] == TEXT:
                return _faulty(answer, IS_TEXT, row, place)
            total += max(lengths[place], np.int64(0))
    return total


@njit(
    "int64(uint8[::1], int64[::1], int64, int64[::1], uint8[::1], uint8[:, ::1])",
    nogil=True,
    cache=True,
)
def write_rows(buffer, tuples, columns, places, target, unchanged):  # type: ignore[no-untyped-def]
    """Write what ``row_bytes`` has measured; values that were not sent become NULL and are noted.
    Returns their number.
    """
    base, to = np.int64(buffer.ctypes.data), np.int64(target.ctypes.data)
    addresses, lengths = np.empty(columns, np.int64), np.empty(columns, np.int64)
    kinds = np.empty(columns, np.uint8)
    missing = np.int64(0)
    for row in range(tuples.size):
        _read_tuple(base + tuples[row], columns, addresses, lengths, kinds)
        start = to
        to += ROW_HEAD_BYTES
        for index in range(places.size):
            length = lengths[places[index]]
            if length == NOT_SENT:
                missing += 1
                if unchanged.size:
                    unchanged[row, index] = 1
            to = _write_field(to, addresses[places[index]], length)
        store_8(np.uint64(start), np.uint8(DATA_ROW))
        _store_i32(start + 1, to - start - 1)
        count = np.uint16(places.size)
        store_16(np.uint64(start + 5), np.uint16(count << 8 | count >> 8))
    return missing
