# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0917
"""Compiled loops of the writer: rows into extents, extents into larger ones, slots into entries.

Over raw addresses, because columns of different types cannot stand in one array. What is written
lies inside the extents, whose capacity the callers have tested; ``shape.py`` has the layout.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.addresses import (
    copy_bytes,
    fence,
    load_8,
    load_16,
    load_32,
    load_64,
    store_8,
    store_16,
    store_32,
    store_64,
)

#: These stand here, not in ``shape``: numba's cache of compiled loops notices this file alone.
FIXED, BITS, TEXT = range(3)
#: Of a column: form, bytes of a value, 1 where it may be NULL, what lies under NULL, number among
#: the text columns.
FORM, WIDTH, NULLABLE, FILLER, TEXT_NUMBER, COLUMN_FIELDS = range(6)
#: Where a column's rows come from. Addresses, 0 for none; first bits of the two bitmaps.
VALUES, VALIDITY, VALIDITY_BIT, VALUES_BIT, DATA, SOURCE_FIELDS = range(6)
#: Rows that go into one extent: its address, capacity, rows it has, first row of the source, count.
TARGET, CAPACITY, ROW, FIRST, COUNT, SEGMENT_FIELDS = range(6)
#: Rows that go from one extent into another.
(
    FROM,
    FROM_CAPACITY,
    FROM_ROW,
    TO,
    TO_CAPACITY,
    TO_ROW,
    MOVED_ROWS,
    MOVE_FIELDS,
) = range(8)

_HEADER, _TEXT_HEADER = 64, 16


@njit(forceinline=True)
def _aligned(nbytes):  # type: ignore[no-untyped-def]
    return (nbytes + 63) & ~np.int64(63)


@njit
def _place(columns, capacity, places):  # type: ignore[no-untyped-def]
    """Where validity and values of each column lie in an extent; where its texts begin."""
    texts = 0
    for column in range(columns.shape[0]):
        texts += columns[column, FORM] == TEXT
    at = _aligned(np.int64(_HEADER + _TEXT_HEADER * texts))
    for column in range(columns.shape[0]):
        places[column, 0] = -1
        if columns[column, NULLABLE]:
            places[column, 0] = at
            at += _aligned((capacity + 7) >> 3)
        places[column, 1] = at
        form = columns[column, FORM]
        if form == BITS:
            at += _aligned((capacity + 7) >> 3)
        elif form == TEXT:
            at += _aligned(8 * (capacity + 1))
        else:
            at += _aligned(capacity * columns[column, WIDTH])
    return at


@njit(forceinline=True)
def _bit(address, bit):  # type: ignore[no-untyped-def]
    return (load_8(address + (bit >> 3)) >> np.uint8(bit & 7)) & np.uint8(1)


@njit(forceinline=True)
def _set_bit(address, bit, value):  # type: ignore[no-untyped-def]
    at = address + (bit >> 3)
    mask = np.uint8(1) << np.uint8(bit & 7)
    old = load_8(at)
    store_8(at, (old | mask) if value else (old & ~mask))


@njit(forceinline=True)
def _source_row(order, position):  # type: ignore[no-untyped-def]
    return order[position] if order.size else position


@njit
def _bits(order, first, count, source, source_bit, target, row):  # type: ignore[no-untyped-def]
    """Bits one by one; whole bytes where both begin one. Returns how many are 0.

    Bits behind ``count`` in the last byte may be anything: no reader counts them in.
    """
    if order.size == 0 and (source_bit + first) & 7 == 0 and row & 7 == 0:
        nbytes = (count + 7) >> 3
        begin = source + ((source_bit + first) >> 3)
        zeros = np.int64(0)
        for index in range(nbytes):
            value = load_8(begin + index)
            store_8(target + (row >> 3) + index, value)
            if index < (count >> 3):
                zeros += value != 255
        for index in range(count & ~7, count):
            zeros += _bit(target, row + index) == 0
        return zeros
    zeros = np.int64(0)
    for index in range(count):
        value = _bit(source, source_bit + _source_row(order, first + index))
        _set_bit(target, row + index, value)
        zeros += value == 0
    return zeros


@njit
def _ones(count, target, row):  # type: ignore[no-untyped-def]
    """Set that many bits."""
    index = np.int64(0)
    while index < count and (row + index) & 7:
        _set_bit(target, row + index, 1)
        index += 1
    while count - index >= 8:
        store_8(target + ((row + index) >> 3), np.uint8(255))
        index += 8
    while index < count:
        _set_bit(target, row + index, 1)
        index += 1


@njit
def _fixed(order, first, count, source, target, width):  # type: ignore[no-untyped-def]
    if order.size == 0:
        copy_bytes(target, source + first * width, count * width)
    elif width == 8:
        for index in range(count):
            store_64(target + 8 * index, load_64(source + 8 * order[first + index]))
    elif width == 4:
        for index in range(count):
            store_32(target + 4 * index, load_32(source + 4 * order[first + index]))
    elif width == 2:
        for index in range(count):
            store_16(target + 2 * index, load_16(source + 2 * order[first + index]))
    elif width == 1:
        for index in range(count):
            store_8(target + index, load_8(source + order[first + index]))
    else:
        for index in range(count):
            copy_bytes(target + width * index, source + width * order[first + index], width)


@njit
def _fill_nulls(count, validity, row, target, width, filler):  # type: ignore[no-untyped-def]
    """What lies under NULL is the same everywhere: NaN in floats, 0 in others."""
    for index in range(count):
        if _bit(validity, row + index) == 0:
            if width == 8:
                store_64(target + 8 * index, filler)
            elif width == 4:
                store_32(target + 4 * index, np.uint32(filler))
            elif width == 2:
                store_16(target + 2 * index, np.uint16(filler))
            else:
                for place in range(width):
                    store_8(target + width * index + place, np.uint8(0))


@njit
def _texts(order, first, count, source, validity, row, offsets, data):  # type: ignore[no-untyped-def]
    """Texts behind those that are there; NULL has none. ``validity``: of the target, 0 for none."""
    if row == 0:
        store_64(offsets, np.int64(0))
    end = load_64(offsets + 8 * row)
    for index in range(count):
        if validity == 0 or _bit(validity, row + index):
            at = source[VALUES] + 8 * _source_row(order, first + index)
            begin = load_64(at)
            length = load_64(at + 8) - begin
            copy_bytes(data + end, source[DATA] + begin, length)
            end += length
        store_64(offsets + 8 * (row + index + 1), end)


@njit
def _column(column, source, order, segment, places, filled):  # type: ignore[no-untyped-def]
    """One column of one segment; whether it has NULLs there."""
    base, row, first, count = segment[TARGET], segment[ROW], segment[FIRST], segment[COUNT]
    validity, found = np.int64(0), False
    if column[NULLABLE]:
        validity = base + places[0]
        if source[VALIDITY]:
            found = (
                _bits(order, first, count, source[VALIDITY], source[VALIDITY_BIT], validity, row)
                > 0
            )
        else:
            _ones(count, validity, row)
    values = base + places[1]
    if column[FORM] == TEXT:
        data = base + load_64(base + _HEADER + _TEXT_HEADER * column[TEXT_NUMBER])
        _texts(order, first, count, source, validity if found else 0, row, values, data)
    elif column[FORM] == BITS:
        _bits(order, first, count, source[VALUES], source[VALUES_BIT], values, row)
        if found and not filled:
            for index in range(count):
                if _bit(validity, row + index) == 0:
                    _set_bit(values, row + index, 0)
    else:
        width = column[WIDTH]
        target = values + row * width
        _fixed(order, first, count, source[VALUES], target, width)
        if found and not filled:
            _fill_nulls(count, validity, row, target, width, column[FILLER])
    return found


@njit
def _segment(columns, sources, order, segment, places, filled):  # type: ignore[no-untyped-def]
    _place(columns, segment[CAPACITY], places)
    nulls = np.int64(0)
    for column in range(columns.shape[0]):
        if _column(columns[column], sources[column], order, segment, places[column], filled):
            nulls |= np.int64(1) << np.int64(min(column, 62))
    return nulls


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[::1])",
    nogil=True,
    cache=True,
)
def scatter(columns, sources, order, segments, nulls):  # type: ignore[no-untyped-def]
    """Write rows of a batch into extents; ``nulls``: a mask of columns for each segment.

    ``order``: row of the source at each position, empty where they stand in order already.
    """
    places = np.empty((columns.shape[0], 2), np.int64)
    for number in range(segments.shape[0]):
        nulls[number] = _segment(columns, sources, order, segments[number], places, False)


@njit("void(int64[:, ::1], int64[:, ::1])", nogil=True, cache=True)
def move_rows(columns, moves):  # type: ignore[no-untyped-def]
    """Copy rows from extents into others."""
    places = np.empty((columns.shape[0], 2), np.int64)
    sources = np.zeros((columns.shape[0], SOURCE_FIELDS), np.int64)
    segment = np.empty(SEGMENT_FIELDS, np.int64)
    order = np.empty(0, np.int64)
    for number in range(moves.shape[0]):
        move = moves[number]
        base = move[FROM]
        _place(columns, move[FROM_CAPACITY], places)
        for column in range(columns.shape[0]):
            sources[column, VALUES] = base + places[column, 1]
            sources[column, VALIDITY] = base + places[column, 0] if places[column, 0] >= 0 else 0
            if columns[column, FORM] == TEXT:
                at = base + _HEADER + _TEXT_HEADER * columns[column, TEXT_NUMBER]
                sources[column, DATA] = base + load_64(at)
        segment[TARGET] = move[TO]
        segment[CAPACITY] = move[TO_CAPACITY]
        segment[ROW] = move[TO_ROW]
        segment[FIRST] = move[FROM_ROW]
        segment[COUNT] = move[MOVED_ROWS]
        _segment(columns, sources, order, segment, places, True)


@njit(
    "void(int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def text_use(columns, addresses, capacities, rows, used, room):  # type: ignore[no-untyped-def]
    """Bytes that each text column takes in extents of that many rows, and may take."""
    places = np.empty((columns.shape[0], 2), np.int64)
    for number in range(addresses.size):
        base = addresses[number]
        if base == 0:
            continue
        _place(columns, capacities[number], places)
        for column in range(columns.shape[0]):
            text = columns[column, TEXT_NUMBER]
            if text >= 0:
                offsets = base + places[column, 1]
                used[number, text] = load_64(offsets + 8 * rows[number]) if rows[number] else 0
                room[number, text] = load_64(base + _HEADER + _TEXT_HEADER * text + 8)


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def text_needs(columns, sources, order, firsts, counts, needs):  # type: ignore[no-untyped-def]
    """Bytes of each text column in rows of a batch, at most: what lies under NULL counts in."""
    for column in range(columns.shape[0]):
        text = columns[column, TEXT_NUMBER]
        if text < 0:
            continue
        for number in range(firsts.size):
            total = np.int64(0)
            for index in range(counts[number]):
                row = _source_row(order, firsts[number] + index)
                at = sources[column, VALUES] + 8 * row
                total += load_64(at + 8) - load_64(at)
            needs[number, text] = total


@njit("void(int64[:, :, ::1], int64[:, ::1], int64[::1], int64)", nogil=True, cache=True)
def write_slots(entries, states, partitions, generation):  # type: ignore[no-untyped-def]
    """Write what partitions hold as of a generation over the older slot of each.

    The generation first: a slot of one that is not published counts for nobody. A slot that an
    interrupted call wrote for the same generation is the one to write again.
    """
    for index in range(partitions.size):
        entry = entries[partitions[index]]
        if entry[0, 0] != generation and entry[1, 0] != generation:
            slot = 1 if entry[0, 0] > entry[1, 0] else 0
            entry[slot, 0] = generation
    fence()
    for index in range(partitions.size):
        partition = partitions[index]
        entry = entries[partition]
        slot = 0 if entry[0, 0] == generation else 1
        for word in range(1, entry.shape[1]):
            entry[slot, word] = states[partition, word]
    fence()


@njit("void(int64[::1], int64, int64)", nogil=True, cache=True)
def store_in_order(words, place, value):  # type: ignore[no-untyped-def]
    """One aligned store, after all stores before it and before all that follow."""
    fence()
    words[place] = value
    fence()


@njit("void()", nogil=True, cache=True)
def full_fence():  # type: ignore[no-untyped-def]
    """For readers on processors that reorder loads."""
    fence()
