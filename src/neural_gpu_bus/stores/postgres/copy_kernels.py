"""Compiled loops over COPY BINARY bytes: one counts and checks, one writes columns.

Layout: PostgreSQL manual, COPY, "Binary Format": an 11 byte signature, 4 bytes of flags, a counted
header extension, then rows (int16 fields; for each an int32 length, -1 for NULL, and its bytes),
and int16 -1 at the end. All numbers are big-endian. On a connection this stream comes in CopyData
messages ("Message Formats": ``d``, int32 length with itself, bytes).

Loads go through the buffer by index, after their length was checked; only stores use addresses,
because columns of different types cannot stand in one array. Indexes are unsigned: a signed one
costs numba a test for negative (wraparound) at each byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: How the bytes of a value are laid out. These stand here, not in ``column_types``: numba's cache
#: of compiled loops notices changes of this file alone.
FLOAT8, INT8, TIMESTAMP, FLOAT4, INT4, DATE, INT2, BOOL, TIME, UUID, TEXT, JSONB, CHAR = range(13)

#: Slots of a loop's state. POSITION: next byte. FAULT: one of the faults below, 0 for none.
POSITION, ROWS, STAGE, FAULT, FAULT_POSITION, FAULT_COLUMN, STATE_SLOTS = range(7)

#: Stages of a stream. SPLIT: a row goes on in the next message, which the fast loop does not read.
HEADER, IN_ROWS, ENDED, SPLIT = range(4)

#: What a scan stopped for.
(MORE, OTHER_MESSAGE, ROW_LIMIT, FAULTY) = range(4)

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
SIGNATURE = np.frombuffer(b"PGCOPY\n\xff\r\n\x00", np.uint8)
SIGNATURE_BYTES = 11
#: Signature, flags, length of the extension.
HEADER_BYTES = SIGNATURE_BYTES + 8
JSONB_VERSION = 1

#: 2000-01-01 after 1970-01-01.
EPOCH_DAYS = 10_957
EPOCH_US = EPOCH_DAYS * 86_400_000_000
DAY_US = 86_400_000_000

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
#: Later than 294247-01-10 does not fit 64 bits of microseconds since 1970.
TIMESTAMP_US_MAX = INT64_MAX - EPOCH_US

NAN_32 = np.uint32(0x7FC00000)
NAN_64 = np.uint64(0x7FF8000000000000)

_SCAN = "int64(uint8[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1], int64)"
_WRITE = "int64(uint8[::1], boolean, uint64[:, ::1], int64[::1], int64[::1], int64)"


def _store(bits: int, value_type: Any) -> Any:
    """A store of one number to an address."""

    def typed(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            builder.store(arguments[1], pointer).align = 1
            return context.get_dummy_value()

        return types.void(types.uint64, value_type), generate

    return intrinsic(typed)


_store_8 = _store(8, types.uint8)
_store_16 = _store(16, types.uint16)
_store_32 = _store(32, types.uint32)
_store_64 = _store(64, types.uint64)


@intrinsic  # type: ignore[misc]
def _load_8(typing_context: Any, address: Any) -> Any:
    """The byte at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(8).as_pointer()))

    return types.uint8(types.uint64), generate


@intrinsic  # type: ignore[misc]
def _copy(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """memcpy between two addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(argument, byte) for argument in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


@njit(forceinline=True)
def _u16(buffer, at):  # type: ignore[no-untyped-def]
    high = np.uint16(buffer[at]) << np.uint16(8)
    return np.uint16(high | np.uint16(buffer[at + np.uint64(1)]))


@njit(forceinline=True)
def _u32(buffer, at):  # type: ignore[no-untyped-def]
    value = np.uint32(buffer[at]) << np.uint32(24)
    value |= np.uint32(buffer[at + np.uint64(1)]) << np.uint32(16)
    value |= np.uint32(buffer[at + np.uint64(2)]) << np.uint32(8)
    return np.uint32(value | np.uint32(buffer[at + np.uint64(3)]))


@njit(forceinline=True)
def _u64(buffer, at):  # type: ignore[no-untyped-def]
    high = np.uint64(_u32(buffer, at)) << np.uint64(32)
    return np.uint64(high | np.uint64(_u32(buffer, at + np.uint64(4))))


@njit(forceinline=True)
def _address(buffer, at):  # type: ignore[no-untyped-def]
    return np.uint64(buffer.ctypes.data) + np.uint64(at)


@njit(forceinline=True)
def _fault(state, fault, position, column):  # type: ignore[no-untyped-def]
    state[FAULT] = fault
    state[FAULT_POSITION] = position
    state[FAULT_COLUMN] = column
    return np.int64(-1)


@njit(forceinline=True)
def _after_header(buffer, at, end, state):  # type: ignore[no-untyped-def]
    """Position after the stream's header at ``at``, or -1."""
    if end - at < HEADER_BYTES:
        return _fault(state, BAD_SIGNATURE, at, -1)
    for index in range(SIGNATURE_BYTES):
        if buffer[np.uint64(at + index)] != SIGNATURE[index]:
            return _fault(state, BAD_SIGNATURE, at + index, -1)
    flags = _u32(buffer, np.uint64(at + SIGNATURE_BYTES))
    extension = np.int64(np.int32(_u32(buffer, np.uint64(at + SIGNATURE_BYTES + 4))))
    # Bits 16 to 31 are critical: a reader that does not know them must stop. None is known.
    if flags >> np.uint32(16) or extension < 0 or extension > end - at - HEADER_BYTES:
        return _fault(state, BAD_FLAGS, at + SIGNATURE_BYTES, -1)
    return at + HEADER_BYTES + extension


@njit(forceinline=True)
def _count_row(buffer, at, end, widths, state, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """Position after the row whose fields begin at ``at``, or -1."""
    for column in range(widths.size):
        if end - at < 4:
            return _fault(state, CUT, at, column)
        length = np.int64(np.int32(_u32(buffer, np.uint64(at))))
        at += 4
        if length == -1:
            nulls[column] += 1
            continue
        if length < 0:
            return _fault(state, BAD_LENGTH, at - 4, column)
        if length > end - at:
            return _fault(state, CUT, at - 4, column)
        width = widths[column]
        if width >= 0:
            if length != width:
                return _fault(state, BAD_WIDTH, at - 4, column)
        elif width == ANY_WIDTH:
            text_bytes[column] += length
        elif width == ONE_OR_MORE:
            if length < 1:
                return _fault(state, BAD_WIDTH, at - 4, column)
            text_bytes[column] += length - 1
        else:
            if length != 1:
                return _fault(state, BAD_WIDTH, at - 4, column)
            text_bytes[column] += buffer[np.uint64(at)] != 0
        at += length
    return at


@njit(forceinline=True)
def _count_rows(buffer, at, end, widths, state, text_bytes, nulls, rows_stop):  # type: ignore[no-untyped-def]
    """Position after the rows between two bytes, or -1; stops early at ``rows_stop`` rows."""
    while at < end and state[ROWS] < rows_stop:
        if end - at < 2:
            return _fault(state, CUT, at, -1)
        fields = np.int64(np.int16(_u16(buffer, np.uint64(at))))
        if state[STAGE] == ENDED:
            return _fault(state, AFTER_END, at, -1)
        if fields == -1:
            state[STAGE] = ENDED
            at += 2
            continue
        if fields != widths.size:
            return _fault(state, BAD_FIELD_COUNT, at, -1)
        at = _count_row(buffer, at + 2, end, widths, state, text_bytes, nulls)
        if at < 0:
            return at
        state[ROWS] += 1
    return at


@njit(_SCAN, nogil=True, cache=True)
def scan_messages(buffer, stop, widths, state, text_bytes, nulls, rows_stop):  # type: ignore[no-untyped-def]
    """Walk whole messages of ``buffer[:stop]`` from the state's position; count rows, text and
    NULLs. Returns what it stopped for. In stage SPLIT messages are walked and not looked into.
    """
    at = state[POSITION]
    while True:
        state[POSITION] = at
        if state[ROWS] >= rows_stop:
            return ROW_LIMIT
        if stop - at < FRAME_BYTES:
            return MORE
        length = np.int64(np.int32(_u32(buffer, np.uint64(at + 1))))
        if length < 4:
            _fault(state, BAD_MESSAGE_LENGTH, at, -1)
            return FAULTY
        end = at + 1 + length
        if buffer[np.uint64(at)] != COPY_DATA:
            return OTHER_MESSAGE
        if end > stop:
            return MORE
        at += FRAME_BYTES
        if state[STAGE] == HEADER:
            at = _after_header(buffer, at, end, state)
            if at < 0:
                return FAULTY
            state[STAGE] = IN_ROWS
        if state[STAGE] != SPLIT:
            # No limit inside of a message: the caller's marks stand between messages.
            at = _count_rows(buffer, at, end, widths, state, text_bytes, nulls, INT64_MAX)
            if at < 0:
                if state[FAULT] != CUT:
                    return FAULTY
                state[FAULT] = NO_FAULT
                state[STAGE] = SPLIT
        at = end


@njit(_SCAN, nogil=True, cache=True)
def scan_stream(buffer, stop, widths, state, text_bytes, nulls, rows_stop):  # type: ignore[no-untyped-def]
    """The same for a whole stream without messages around it."""
    at = state[POSITION]
    if state[STAGE] == HEADER:
        at = _after_header(buffer, at, stop, state)
        if at < 0:
            return FAULTY
        state[STAGE] = IN_ROWS
    at = _count_rows(buffer, at, stop, widths, state, text_bytes, nulls, rows_stop)
    if at < 0:
        return FAULTY
    state[POSITION] = at
    return ROW_LIMIT if at < stop else MORE


@njit("int64(uint8[::1], int64, int64)", nogil=True, cache=True)
def join_messages(buffer, start, stop):  # type: ignore[no-untyped-def]
    """Move what is inside of the whole messages between two bytes together, in place from
    ``start`` on; returns where it ends.
    """
    at, to = start, start
    while at < stop:
        length = np.int64(_u32(buffer, np.uint64(at + 1))) - 4
        at += FRAME_BYTES
        for index in range(length):
            buffer[np.uint64(to + index)] = buffer[np.uint64(at + index)]
        at += length
        to += length
    return to


@njit(forceinline=True)
def _write_null(plan, column, row):  # type: ignore[no-untyped-def]
    """Clear the row's validity bit; NaN in floats, zero elsewhere."""
    bit = plan[column, VALIDITY] + np.uint64(row >> 3)
    _store_8(bit, _load_8(bit) & ~(np.uint8(1) << np.uint8(row & 7)))
    layout = plan[column, LAYOUT]
    at = plan[column, VALUES]
    index = np.uint64(row)
    if layout == FLOAT8:
        _store_64(at + index * np.uint64(8), NAN_64)
    elif layout == INT8 or layout == TIMESTAMP or layout == TIME:
        _store_64(at + index * np.uint64(8), np.uint64(0))
    elif layout == FLOAT4:
        _store_32(at + index * np.uint64(4), NAN_32)
    elif layout == INT4 or layout == DATE:
        _store_32(at + index * np.uint64(4), np.uint32(0))
    elif layout == INT2:
        _store_16(at + index * np.uint64(2), np.uint16(0))
    elif layout == UUID:
        _store_64(at + index * np.uint64(16), np.uint64(0))
        _store_64(at + index * np.uint64(16) + np.uint64(8), np.uint64(0))


@njit(forceinline=True)
def _write_time(buffer, at, plan, column, row):  # type: ignore[no-untyped-def]
    """A date, timestamp or time of day; returns its fault."""
    layout = plan[column, LAYOUT]
    if layout == DATE:
        days = np.int64(np.int32(_u32(buffer, np.uint64(at))))
        if days == INT32_MIN or days == INT32_MAX:
            return IS_INFINITE
        if days > INT32_MAX - EPOCH_DAYS:
            return OUT_OF_RANGE
        _store_32(plan[column, VALUES] + np.uint64(row * 4), np.uint32(days + EPOCH_DAYS))
        return NO_FAULT
    time_us = np.int64(_u64(buffer, np.uint64(at)))
    if layout == TIMESTAMP:
        if time_us == INT64_MIN or time_us == INT64_MAX:
            return IS_INFINITE
        if time_us > TIMESTAMP_US_MAX:
            return OUT_OF_RANGE
        time_us += EPOCH_US
    elif time_us < 0 or time_us >= DAY_US:
        return OUT_OF_RANGE
    _store_64(plan[column, VALUES] + np.uint64(row * 8), np.uint64(time_us))
    return NO_FAULT


@njit(forceinline=True)
def _write_fixed(buffer, at, plan, column, row):  # type: ignore[no-untyped-def]
    """One value of fixed width; returns its fault."""
    layout = plan[column, LAYOUT]
    values = plan[column, VALUES]
    position = np.uint64(at)
    if layout == FLOAT8 or layout == INT8:
        _store_64(values + np.uint64(row * 8), _u64(buffer, position))
    elif layout == TIMESTAMP or layout == DATE or layout == TIME:
        return _write_time(buffer, at, plan, column, row)
    elif layout == FLOAT4 or layout == INT4:
        _store_32(values + np.uint64(row * 4), _u32(buffer, position))
    elif layout == INT2:
        _store_16(values + np.uint64(row * 2), _u16(buffer, position))
    elif layout == BOOL:
        value = buffer[position]
        if value > 1:
            return BAD_BOOL
        bit = values + np.uint64(row >> 3)
        _store_8(bit, _load_8(bit) | (value << np.uint8(row & 7)))
    else:
        _copy(values + np.uint64(row * 16), _address(buffer, at), np.uint64(16))
    return NO_FAULT


@njit(forceinline=True)
def _write_text(buffer, at, length, plan, column, written):  # type: ignore[no-untyped-def]
    """Append one value's bytes; returns its fault."""
    if plan[column, LAYOUT] == JSONB:
        if buffer[np.uint64(at)] != JSONB_VERSION:
            return BAD_JSONB
        at += 1
        length -= 1
    elif plan[column, LAYOUT] == CHAR and buffer[np.uint64(at)] == 0:
        length = 0
    target = plan[column, DATA] + np.uint64(written[column])
    _copy(target, _address(buffer, at), np.uint64(length))
    written[column] += length
    return NO_FAULT


@njit(_WRITE, nogil=True, cache=True)
def write_rows(buffer, framed, plan, state, written, rows_stop):  # type: ignore[no-untyped-def]
    """Write rows from the state's row and position up to ``rows_stop`` into the plan's columns.

    The bytes were counted by a scan before. Validity bitmaps are full of ones, bitmaps of values
    full of zeros, first offsets are set. ``written``: bytes of text before the first row, for
    each column. Returns a fault; its row is then in the state.
    """
    at = state[POSITION]
    message_end = at if framed else INT64_MAX
    header = state[STAGE] == HEADER
    for row in range(state[ROWS], rows_stop):
        while header or at >= message_end:
            if framed:
                message_end = at + 1 + np.int64(_u32(buffer, np.uint64(at + 1)))
                at += FRAME_BYTES
            if header:
                at = _after_header(buffer, at, message_end, state)
                header = False
        at += 2
        for column in range(plan.shape[0]):
            length = np.int64(np.int32(_u32(buffer, np.uint64(at))))
            at += 4
            fault = NO_FAULT
            if plan[column, OFFSETS]:
                if length >= 0:
                    fault = _write_text(buffer, at, length, plan, column, written)
                offset = plan[column, OFFSETS] + np.uint64((row + 1) * 8)
                _store_64(offset, np.uint64(written[column]))
            elif length >= 0:
                fault = _write_fixed(buffer, at, plan, column, row)
            if length < 0:
                _write_null(plan, column, row)
                continue
            if fault != NO_FAULT:
                state[ROWS] = row
                _fault(state, fault, at, column)
                return fault
            at += length
    return NO_FAULT
