# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0912, PLR0917, PLR1714
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

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.hash_kernels import note_code
from neural_gpu_bus.stores.postgres.decoding.layouts import (
    AFTER_END,
    ANY_WIDTH,
    BAD_FIELD_COUNT,
    BAD_FLAGS,
    BAD_JSONB,
    BAD_LENGTH,
    BAD_MESSAGE_LENGTH,
    BAD_SIGNATURE,
    BAD_WIDTH,
    CELLS,
    CODES,
    CUT,
    DATA,
    END_ROW,
    ENDED,
    FAULT,
    FAULT_COLUMN,
    FAULT_POSITION,
    FAULTY,
    FIRST_ROW,
    HASHED,
    HEADER,
    IN_ROWS,
    LAYOUT,
    MORE,
    NO_FAULT,
    OFFSETS,
    OTHER_MESSAGE,
    PARAMETER,
    POSITION,
    ROWS,
    SCRATCH,
    SHARED_FIRST,
    SHARED_LAST,
    SPLIT,
    STAGE,
    START,
    TAG,
    TEXT_SLOTS,
    VALIDITY,
    VALUES,
)
from neural_gpu_bus.stores.postgres.decoding.value_kernels import (
    clear_bit,
    text_length,
    write_fixed,
    write_null,
    write_variable,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import byte, i16, i32, store_64

#: Of the files whose functions and numbers are compiled into these loops; a test says it.
COMPILED_WITH = "8068cf5c8a20dc10"

#: Tag and length of a message.
FRAME_BYTES = 5
COPY_DATA = ord("d")
#: A row of the extended protocol with binary values: the same bytes, without header and trailer.
DATA_ROW = ord("D")
SIGNATURE = np.frombuffer(b"PGCOPY\n\xff\r\n\x00", np.uint8)
SIGNATURE_BYTES = 11
#: Signature, flags, length of the extension.
HEADER_BYTES = SIGNATURE_BYTES + 8

#: More than a field has bytes.
GAVE_UP = 1 << 40

INT64_MAX = (1 << 63) - 1

_SCAN = "int64(uint8[::1], int64, int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1])"
_COLLECT = "void(uint8[::1], int64[::1], boolean, int64, int64[::1], int64[:, ::1], int64[:, ::1])"
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


@njit
def _count_text(at, length, width, base, slots, row, scratch):  # type: ignore[no-untyped-def]
    """Bytes of a field's text, -1 where it is malformed; ``GAVE_UP`` more where its texts are too
    many for a dictionary.
    """
    if width == HASHED:
        return length if note_code(at, length, base, slots, row) else length + GAVE_UP
    return text_length(at, length, width, np.uint64(scratch))


def _make_count_rows(with_texts: bool) -> Any:
    """The loop over rows. Without texts it is a third quicker: what one never calls still takes
    registers (1,000,000 rows x 6: 15 ms against 23).
    """

    @njit
    def count_rows(at, end, base, widths, state, texts_at, text_bytes, nulls):  # type: ignore[no-untyped-def]
        """Count what lies between two addresses; where that ended, and what is wrong there.

        A column whose texts are too many for a dictionary is counted as any text from there on.
        """
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
                if width >= 0:
                    if length != width:
                        return at - 4, BAD_WIDTH
                elif with_texts:
                    slots = texts_at + column * TEXT_SLOTS * 8
                    size = _count_text(at, length, width, base, slots, state[ROWS], state[SCRATCH])
                    if size < 0:
                        return at - 4, BAD_WIDTH
                    if size >= GAVE_UP:
                        size -= GAVE_UP
                        widths[column] = ANY_WIDTH
                    text_bytes[column] += size
                at += length
            state[ROWS] += 1
        return at, NO_FAULT

    return count_rows


_count_fixed = _make_count_rows(False)
_count_rows = _make_count_rows(True)


@njit(_SCAN, nogil=True, cache=True)
def scan_messages(buffer, stop, widths, state, texts, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """Walk whole messages of ``buffer[:stop]`` from the state's position; count rows, text and
    NULLs. Returns what it stopped for. In stage SPLIT messages are walked and not looked into.
    """
    base, texts_at = np.int64(buffer.ctypes.data), np.int64(texts.ctypes.data)
    at, limit, fixed = base + state[POSITION], base + stop, widths.size == 0 or widths.min() >= 0
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
            if fixed:
                at, fault = _count_fixed(at, end, base, widths, state, texts_at, text_bytes, nulls)
            else:
                at, fault = _count_rows(at, end, base, widths, state, texts_at, text_bytes, nulls)
            if fault == CUT and state[TAG] == COPY_DATA:
                state[STAGE] = SPLIT
            elif fault:
                return _faulty(state, fault, at - base, state[FAULT_COLUMN])
        at = end


@njit(_SCAN, nogil=True, cache=True)
def scan_stream(buffer, stop, widths, state, texts, text_bytes, nulls):  # type: ignore[no-untyped-def]
    """The same for a whole stream without messages around it."""
    base, texts_at = np.int64(buffer.ctypes.data), np.int64(texts.ctypes.data)
    at, end = base + state[POSITION], base + stop
    if state[STAGE] == HEADER:
        after = _after_header(at, end)
        if after < 0:
            return _faulty(state, -after, at - base, -1)
        at = after
        state[STAGE] = IN_ROWS
    at, fault = _count_rows(at, end, base, widths, state, texts_at, text_bytes, nulls)
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
    scratch = np.uint64(state[SCRATCH])
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
                if plan[column, VALIDITY]:
                    clear_bit(plan[column, VALIDITY], row, shared_first, shared_last)
                write_null(layout, plan[column, VALUES], row, plan[column, PARAMETER])
                length = np.int64(0)
            elif plan[column, OFFSETS]:
                target = plan[column, DATA] + np.uint64(written[column])
                count = write_variable(layout, at, length, target)
                fault = NO_FAULT if count >= 0 else BAD_JSONB
                written[column] += count
            elif layout != CODES and layout != CELLS:
                values, parameter = plan[column, VALUES], plan[column, PARAMETER]
                fault = write_fixed(
                    layout, at, length, values, row, parameter, scratch, shared_first, shared_last
                )
            if fault:
                state[ROWS] = row
                return _faulty(state, fault, at - base, column)
            if plan[column, OFFSETS]:
                after = plan[column, OFFSETS] + np.uint64((row + 1) * 8)
                store_64(after, np.uint64(written[column]))
            at += length
    return MORE


@njit(_COLLECT, nogil=True, cache=True)
def collect_cells(buffer, part, framed, stage, places, addresses, lengths):  # type: ignore[no-untyped-def]
    """Where the values of some columns lie: matrices of a row for each of them. NULL: length -1.

    ``stage``: the stream's at its start.
    """
    base = np.int64(buffer.ctypes.data)
    at = base + part[START]
    end = at if framed else INT64_MAX
    if not framed:
        at = _after_header(at, end)
    for row in range(part[FIRST_ROW], part[END_ROW]):
        while at >= end:
            end = at + 1 + i32(at + 1)
            at += FRAME_BYTES
            if stage == HEADER:
                at = _after_header(at, end)
                stage = IN_ROWS
        fields = i16(at)
        at += 2
        wanted = 0
        for column in range(fields):
            length = i32(at)
            at += 4
            if wanted < places.size and places[wanted] == column:
                addresses[wanted, row] = at
                lengths[wanted, row] = length
                wanted += 1
            at += max(length, np.int64(0))
