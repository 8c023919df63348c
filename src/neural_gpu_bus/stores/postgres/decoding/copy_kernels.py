# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0917, PLR1714, SIM109
"""Compiled loops over COPY BINARY bytes: one counts and checks, one writes columns.

Layout: PostgreSQL manual, COPY, "Binary Format": an 11 byte signature, 4 bytes of flags, a counted
header extension, then rows (int16 fields; for each an int32 length, -1 for NULL, and its bytes),
and int16 -1 at the end. All numbers are big-endian. On a connection this stream comes in CopyData
messages ("Message Formats": ``d``, int32 length with itself, bytes).

Loads and stores use addresses. Columns of different types cannot stand in one array, and numba
counts references to an array that is handed to a function in a loop: 1,000,000 rows x 6 took 60 ms
to write by index and 15 ms by address (2 cores of an AMD EPYC, 2026-11-22). So each load is
preceded by a test that its bytes lie inside, in the scan; writing follows lengths that were tested.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.wire.machine_words import (
    atomic_and_8,
    atomic_or_8,
    byte,
    copy_bytes,
    i16,
    i32,
    i64,
    load_8,
    load_16,
    load_32,
    load_64,
    store_8,
    store_16,
    store_32,
    store_64,
)
from neural_gpu_bus.stores.postgres.wire.types import EPOCH_DAYS, EPOCH_US

#: How the bytes of a value are laid out. These stand here, not in ``column_types``: numba's cache
#: of compiled loops notices changes of this file alone.
FLOAT8, INT8, TIMESTAMP, FLOAT4, INT4, DATE, INT2, BOOL, TIME, UUID, TEXT, JSONB, CHAR = range(13)

#: Slots of a part: first byte in its buffer, first row of the reservation and row behind the last,
#: bytes of a bitmap that its first and last row share with other parts (-1: none).
START, FIRST_ROW, END_ROW, SHARED_FIRST, SHARED_LAST, PART_SLOTS = range(6)

#: Slots of a loop's state. POSITION: next byte. FAULT: one of the faults below, 0 for none. TAG: of
#: the messages that hold rows.
POSITION, ROWS, STAGE, FAULT, FAULT_POSITION, FAULT_COLUMN, TAG, STATE_SLOTS = range(8)

#: Stages of a stream. SPLIT: a row goes on in the next message, which the fast loop does not read.
HEADER, IN_ROWS, ENDED, SPLIT = range(4)

#: What a scan stopped for.
(MORE, OTHER_MESSAGE, FAULTY) = range(3)

#: Faults of the stream, then of single values.
(
    NO_FAULT,
    BAD_MESSAGE_LENGTH,
    BAD_SIGNATURE,
    BAD_FLAGS,
    BAD_FIELD_COUNT,
    BAD_LENGTH,
    BAD_WIDTH,
    AFTER_END,
    CUT,
    IS_INFINITE,
    OUT_OF_RANGE,
    BAD_BOOL,
    BAD_JSONB,
) = range(13)

#: Widths that are no fixed number of bytes: any, at least one (JSONB's version), one character.
ANY_WIDTH, ONE_OR_MORE, ONE_CHARACTER = -1, -2, -3

#: Fields of a plan: a matrix with one row for each column of the result. Addresses, 0 for none.
LAYOUT, VALUES, VALIDITY, OFFSETS, DATA, PLAN_FIELDS = range(6)

#: Tag and length of a message.
FRAME_BYTES = 5
COPY_DATA = ord("d")
#: A row of the extended protocol with binary values: the same bytes, without header and trailer.
DATA_ROW = ord("D")
SIGNATURE = np.frombuffer(b"PGCOPY\n\xff\r\n\x00", np.uint8)
SIGNATURE_BYTES = 11
#: Signature, flags, length of the extension.
HEADER_BYTES = SIGNATURE_BYTES + 8
JSONB_VERSION = 1

DAY_US = 86_400_000_000

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
#: Later than 294247-01-10 does not fit 64 bits of microseconds since 1970.
TIMESTAMP_US_MAX = INT64_MAX - EPOCH_US

NAN_32 = np.uint32(0x7FC00000)
NAN_64 = np.uint64(0x7FF8000000000000)

_SCAN = "int64(uint8[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1])"
_WRITE = "int64(uint8[::1], int64[::1], boolean, uint64[:, ::1], int64[::1], int64[::1])"


@njit(forceinline=True)
def _faulty(state, fault, position, column):  # type: ignore[no-untyped-def]
    state[FAULT] = fault
    state[FAULT_POSITION] = position
    state[FAULT_COLUMN] = column
    return FAULTY


@njit(forceinline=True)
def _after_header(at, end):  # type: ignore[no-untyped-def]
    """Address after the stream's header at ``at``, or the fault as a negative number."""
    if end - at < HEADER_BYTES:
        return -np.int64(BAD_SIGNATURE)
    for index in range(SIGNATURE_BYTES):
        if byte(at + index) != SIGNATURE[index]:
            return -np.int64(BAD_SIGNATURE)
    flags = i32(at + SIGNATURE_BYTES)
    extension = i32(at + SIGNATURE_BYTES + 4)
    # Bits 16 to 31 are critical: a reader that does not know them must stop. None is known.
    if flags >> 16 or extension < 0 or extension > end - at - HEADER_BYTES:
        return -np.int64(BAD_FLAGS)
    return at + HEADER_BYTES + extension


@njit(forceinline=True)
def _fits(length, width):  # type: ignore[no-untyped-def]
    """Whether a field that is not NULL may have this length."""
    if width >= 0:
        return length == width
    return width == ANY_WIDTH or (length >= 1 if width == ONE_OR_MORE else length == 1)


@njit(forceinline=True)
def _text_length(at, length, width):  # type: ignore[no-untyped-def]
    """Bytes of text in a field."""
    if width >= 0:
        return 0
    if width == ANY_WIDTH:
        return length
    return length - 1 if width == ONE_OR_MORE else np.int64(byte(at) != 0)


@njit
def _count_rows(at, end, widths, state, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """Count what lies between two addresses; where that ended, and what is wrong there."""
    while at < end:
        state[FAULT_COLUMN] = -1
        if state[STAGE] == ENDED:
            return at, AFTER_END
        if end - at < 2:
            return at, CUT
        fields = i16(at)
        at += 2
        if fields == -1:
            state[STAGE] = ENDED
            continue
        if fields != widths.size:
            return at - 2, BAD_FIELD_COUNT
        for column in range(widths.size):
            state[FAULT_COLUMN] = column
            if end - at < 4:
                return at, CUT
            length = i32(at)
            at += 4
            if length == -1:
                nulls[column] += 1
                continue
            if length < 0:
                return at - 4, BAD_LENGTH
            if length > end - at:
                return at - 4, CUT
            width = widths[column]
            if not _fits(length, width):
                return at - 4, BAD_WIDTH
            text_bytes[column] += _text_length(at, length, width)
            at += length
        state[ROWS] += 1
    return at, NO_FAULT


@njit(_SCAN, nogil=True, cache=True)
def scan_messages(buffer, stop, widths, state, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """Walk whole messages of ``buffer[:stop]`` from the state's position; count rows, text and
    NULLs. Returns what it stopped for. In stage SPLIT messages are walked and not looked into.
    """
    base = np.int64(buffer.ctypes.data)
    at, limit = base + state[POSITION], base + stop
    while True:
        state[POSITION] = at - base
        if limit - at < FRAME_BYTES:
            return MORE
        length = i32(at + 1)
        if length < 4:
            return _faulty(state, BAD_MESSAGE_LENGTH, at - base, -1)
        if byte(at) != state[TAG]:
            return OTHER_MESSAGE
        end = at + 1 + length
        if end > limit:
            return MORE
        at += FRAME_BYTES
        if state[STAGE] == HEADER:
            after = _after_header(at, end)
            if after < 0:
                return _faulty(state, -after, at - base, -1)
            at = after
            state[STAGE] = IN_ROWS
        if state[STAGE] != SPLIT:
            at, fault = _count_rows(at, end, widths, state, text_bytes, nulls)
            if fault == CUT and state[TAG] == COPY_DATA:
                state[STAGE] = SPLIT
            elif fault:
                return _faulty(state, fault, at - base, state[FAULT_COLUMN])
        at = end


@njit(_SCAN, nogil=True, cache=True)
def scan_stream(buffer, stop, widths, state, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """The same for a whole stream without messages around it."""
    base = np.int64(buffer.ctypes.data)
    at, end = base + state[POSITION], base + stop
    if state[STAGE] == HEADER:
        after = _after_header(at, end)
        if after < 0:
            return _faulty(state, -after, at - base, -1)
        at = after
        state[STAGE] = IN_ROWS
    at, fault = _count_rows(at, end, widths, state, text_bytes, nulls)
    if fault:
        return _faulty(state, fault, at - base, state[FAULT_COLUMN])
    state[POSITION] = at - base
    return MORE


@njit("int64(uint8[::1], int64, int64)", nogil=True, cache=True)
def join_messages(buffer, start, stop):  # type: ignore[no-untyped-def]
    """Move what is inside of the whole messages between two bytes together, in place from
    ``start`` on; returns where it ends.
    """
    base = np.int64(buffer.ctypes.data)
    at, to = start, start
    while at < stop:
        length = i32(base + at + 1) - 4
        at += FRAME_BYTES
        for index in range(length):
            buffer[to + index] = buffer[at + index]
        at += length
        to += length
    return to


@njit(forceinline=True)
def _clear_bit(bitmap, row, shared_first, shared_last):  # type: ignore[no-untyped-def]
    """Clear the row's bit; other threads write the bytes that are shared."""
    place = row >> 3
    bits, mask = bitmap + np.uint64(place), ~(np.uint8(1) << np.uint8(row & 7))
    if place == shared_first or place == shared_last:
        atomic_and_8(bits, mask)
    else:
        store_8(bits, load_8(bits) & mask)


@njit(forceinline=True)
def _set_bit(bitmap, row, value, shared_first, shared_last):  # type: ignore[no-untyped-def]
    """Or ``value`` into the row's bit."""
    place = row >> 3
    bits, mask = bitmap + np.uint64(place), value << np.uint8(row & 7)
    if place == shared_first or place == shared_last:
        atomic_or_8(bits, mask)
    else:
        store_8(bits, load_8(bits) | mask)


@njit(forceinline=True)
def _write_null(layout, values, row):  # type: ignore[no-untyped-def]
    """NaN in floats, zero elsewhere."""
    if layout == FLOAT8:
        store_64(values + np.uint64(row * 8), NAN_64)
    elif layout == INT8 or layout == TIMESTAMP or layout == TIME:
        store_64(values + np.uint64(row * 8), np.uint64(0))
    elif layout == FLOAT4:
        store_32(values + np.uint64(row * 4), NAN_32)
    elif layout == INT4 or layout == DATE:
        store_32(values + np.uint64(row * 4), np.uint32(0))
    elif layout == INT2:
        store_16(values + np.uint64(row * 2), np.uint16(0))
    elif layout == UUID:
        store_64(values + np.uint64(row * 16), np.uint64(0))
        store_64(values + np.uint64(row * 16 + 8), np.uint64(0))


@njit(forceinline=True)
def _write_date(at, values, row):  # type: ignore[no-untyped-def]
    days = i32(at)
    if days == INT32_MIN or days == INT32_MAX:
        return IS_INFINITE
    if days > INT32_MAX - EPOCH_DAYS:
        return OUT_OF_RANGE
    store_32(values + np.uint64(row * 4), np.uint32(days + EPOCH_DAYS))
    return NO_FAULT


@njit(forceinline=True)
def _write_timestamp(at, values, row):  # type: ignore[no-untyped-def]
    time_us = i64(at)
    if time_us == INT64_MIN or time_us == INT64_MAX:
        return IS_INFINITE
    if time_us > TIMESTAMP_US_MAX:
        return OUT_OF_RANGE
    store_64(values + np.uint64(row * 8), np.uint64(time_us + EPOCH_US))
    return NO_FAULT


@njit(forceinline=True)
def _write_time(at, values, row):  # type: ignore[no-untyped-def]
    time_us = i64(at)
    if time_us < 0 or time_us >= DAY_US:
        return OUT_OF_RANGE
    store_64(values + np.uint64(row * 8), np.uint64(time_us))
    return NO_FAULT


@njit(forceinline=True)
def _write_bool(at, values, row, shared_first, shared_last):  # type: ignore[no-untyped-def]
    value = byte(at)
    if value > 1:
        return BAD_BOOL
    _set_bit(values, row, value, shared_first, shared_last)
    return NO_FAULT


@njit(forceinline=True)
def _write_fixed(layout, at, values, row, shared_first, shared_last):  # type: ignore[no-untyped-def]
    """One value of fixed width; returns its fault. The most frequent layouts first."""
    address = np.uint64(at)
    fault = NO_FAULT
    if layout == FLOAT8 or layout == INT8:
        store_64(values + np.uint64(row * 8), load_64(address))
    elif layout == TIMESTAMP:
        fault = _write_timestamp(at, values, row)
    elif layout == FLOAT4 or layout == INT4:
        store_32(values + np.uint64(row * 4), load_32(address))
    elif layout == DATE:
        fault = _write_date(at, values, row)
    elif layout == INT2:
        store_16(values + np.uint64(row * 2), load_16(address))
    elif layout == BOOL:
        fault = _write_bool(at, values, row, shared_first, shared_last)
    elif layout == TIME:
        fault = _write_time(at, values, row)
    else:
        copy_bytes(values + np.uint64(row * 16), address, np.uint64(16))
    return fault


@njit(forceinline=True)
def _write_text(layout, at, length, target):  # type: ignore[no-untyped-def]
    """One value's bytes to an address; how many, or -1 for a JSONB version nobody defined."""
    if layout == JSONB:
        if byte(at) != JSONB_VERSION:
            return np.int64(-1)
        at += 1
        length -= 1
    elif layout == CHAR and byte(at) == 0:
        length = np.int64(0)
    copy_bytes(target, np.uint64(at), np.uint64(length))
    return length


@njit(_WRITE, nogil=True, cache=True)
def write_rows(buffer, part, framed, plan, written, state):  # type: ignore[no-untyped-def]
    """Write the stream of one part into the plan's columns, at rows and bytes of its own.

    The bytes were counted by a scan before. Validity bitmaps are full of ones, bitmaps of values
    full of zeros, first offsets are zero. ``written``: bytes of each text column before this part;
    changed. ``state`` begins as zeros, or in stage IN_ROWS for a stream without a header; a fault's
    row is left there.
    """
    base = np.int64(buffer.ctypes.data)
    at = base + part[START]
    end = at if framed else INT64_MAX
    shared_first, shared_last = part[SHARED_FIRST], part[SHARED_LAST]
    if not framed:
        at = _after_header(at, end)
        state[STAGE] = IN_ROWS
    for row in range(part[FIRST_ROW], part[END_ROW]):
        while at >= end:
            end = at + 1 + i32(at + 1)
            at += FRAME_BYTES
            if state[STAGE] == HEADER:
                at = _after_header(at, end)
                state[STAGE] = IN_ROWS
        at += 2
        for column in range(plan.shape[0]):
            length = i32(at)
            at += 4
            layout = plan[column, LAYOUT]
            fault = NO_FAULT
            if length < 0:
                _clear_bit(plan[column, VALIDITY], row, shared_first, shared_last)
                _write_null(layout, plan[column, VALUES], row)
                length = np.int64(0)
            elif plan[column, OFFSETS]:
                target = plan[column, DATA] + np.uint64(written[column])
                count = _write_text(layout, at, length, target)
                fault = NO_FAULT if count >= 0 else BAD_JSONB
                written[column] += count
            else:
                values = plan[column, VALUES]
                fault = _write_fixed(layout, at, values, row, shared_first, shared_last)
            if fault:
                state[ROWS] = row
                return _faulty(state, fault, at - base, column)
            if plan[column, OFFSETS]:
                after = plan[column, OFFSETS] + np.uint64((row + 1) * 8)
                store_64(after, np.uint64(written[column]))
            at += length
    return MORE
