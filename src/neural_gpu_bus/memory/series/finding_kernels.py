# ruff: noqa: PLR0917
"""Compiled search of rows in extents: by the order value, then by equal values of some columns.

Equal is what the bytes say: NULL equals NULL, and a NaN another of the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.addresses import load_8, load_16, load_32, load_64
from neural_gpu_bus.memory.series.kernels import (
    BITS,
    DATA,
    FORM,
    SOURCE_FIELDS,
    TEXT,
    VALIDITY,
    VALIDITY_BIT,
    VALUES,
    VALUES_BIT,
    WIDTH,
    _bit,
    _place,
)
from neural_gpu_bus.memory.series.weaving_kernels import ADDRESS, ROOM, _source_of

#: Of the files whose functions are compiled into these loops, which numba does not look at.
COMPILED_WITH = "1ccdd053d66f81b9"

#: Of a chunk: address, capacity and NULLs of its extent as in ``weaving_kernels``, then these.
OVERLAP, ROWS, CHUNK_FIELDS = range(3, 6)
#: Of a group of rows that are looked for, all of one partition and one order value: where it
#: begins, how many, the first chunk of its partition and how many.
GROUP_FIRST, GROUP_COUNT, GROUP_CHUNK, GROUP_CHUNKS, GROUP_FIELDS = range(5)
#: Of the order column: its number among the stored (-1: none), width, whether it has a sign.
ORDER_COLUMN, ORDER_WIDTH, ORDER_SIGNED = range(3)

#: So many rows of one order value are compared each with each.
_FEW = 4
#: 2**64 divided by the golden ratio, odd (Knuth, volume 3, section 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(forceinline=True)
def _mixed(state, word):  # type: ignore[no-untyped-def]
    state = (state ^ word) * _GOLDEN
    return state ^ (state >> np.uint64(29))


@njit(forceinline=True)
def _bytes_hash(state, at, nbytes):  # type: ignore[no-untyped-def]
    index = np.int64(0)
    while index + 8 <= nbytes:
        state = _mixed(state, np.uint64(load_64(at + index)))
        index += 8
    while index < nbytes:
        state = _mixed(state, np.uint64(load_8(at + index)))
        index += 1
    return state


@njit
def _row_hash(columns, on, sources, row, state):  # type: ignore[no-untyped-def]
    """Of the columns ``on`` in one row."""
    for index in range(on.size):
        column = on[index]
        source = sources[column]
        if source[VALIDITY] and _bit(source[VALIDITY], source[VALIDITY_BIT] + row) == 0:
            state = _mixed(state, np.uint64(0xFFFFFFFFFFFFFFF1))
        elif columns[column, FORM] == TEXT:
            at = source[VALUES] + 8 * row
            begin = load_64(at)
            nbytes = load_64(at + 8) - begin
            state = _bytes_hash(state, source[DATA] + begin, nbytes)
            state = _mixed(state, np.uint64(nbytes))
        elif columns[column, FORM] == BITS:
            state = _mixed(state, np.uint64(_bit(source[VALUES], source[VALUES_BIT] + row)))
        else:
            width = columns[column, WIDTH]
            state = _bytes_hash(state, source[VALUES] + width * row, width)
    return state


@njit(forceinline=True)
def _same_bytes(one, other, nbytes):  # type: ignore[no-untyped-def]
    index = np.int64(0)
    while index + 8 <= nbytes:
        if load_64(one + index) != load_64(other + index):
            return False
        index += 8
    while index < nbytes:
        if load_8(one + index) != load_8(other + index):
            return False
        index += 1
    return True


@njit
def _same(columns, on, sources, row, others, other):  # type: ignore[no-untyped-def]
    """Whether two rows are equal in the columns ``on``."""
    for index in range(on.size):
        column = on[index]
        one, two = sources[column], others[column]
        valid = one[VALIDITY] == 0 or _bit(one[VALIDITY], one[VALIDITY_BIT] + row) == 1
        others_valid = two[VALIDITY] == 0 or _bit(two[VALIDITY], two[VALIDITY_BIT] + other) == 1
        if valid != others_valid:
            return False
        if not valid:
            continue
        if columns[column, FORM] == TEXT:
            at, other_at = one[VALUES] + 8 * row, two[VALUES] + 8 * other
            begin, other_begin = load_64(at), load_64(other_at)
            nbytes = load_64(at + 8) - begin
            if load_64(other_at + 8) - other_begin != nbytes:
                return False
            if not _same_bytes(one[DATA] + begin, two[DATA] + other_begin, nbytes):
                return False
        elif columns[column, FORM] == BITS:
            bit = _bit(one[VALUES], one[VALUES_BIT] + row)
            if bit != _bit(two[VALUES], two[VALUES_BIT] + other):
                return False
        else:
            width = columns[column, WIDTH]
            if not _same_bytes(one[VALUES] + width * row, two[VALUES] + width * other, width):
                return False
    return True


@njit(forceinline=True)
def _order_value(values, row, width, signed):  # type: ignore[no-untyped-def]
    at = values + width * row
    if width == 8:
        return load_64(at)
    if width == 4:
        found = np.int64(load_32(at))
        return found - (np.int64(1) << 32) if signed and found >> 31 else found
    if width == 2:
        found = np.int64(load_16(at))
        return found - (np.int64(1) << 16) if signed and found >> 15 else found
    found = np.int64(load_8(at))
    return found - (np.int64(1) << 8) if signed and found >> 7 else found


@njit
def _bound(values, low, high, wanted, order, behind):  # type: ignore[no-untyped-def]
    """The first row from ``low`` on whose order value is not less; ``behind``: that is more."""
    width, signed = order[ORDER_WIDTH], order[ORDER_SIGNED]
    while low < high:
        middle = (low + high) >> 1
        value = _order_value(values, middle, width, signed)
        if value < wanted or (behind and value == wanted):
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _order_places(columns, chunks, order):  # type: ignore[no-untyped-def]
    """Where the order column of each chunk lies."""
    found = np.zeros(chunks.shape[0], np.int64)
    if order[ORDER_COLUMN] < 0:
        return found
    places = np.empty((columns.shape[0], 2), np.int64)
    last = np.int64(-1)
    for number in range(chunks.shape[0]):
        if chunks[number, ROOM] != last:
            last = chunks[number, ROOM]
            _place(columns, last, places)
        found[number] = chunks[number, ADDRESS] + places[order[ORDER_COLUMN], 1]
    return found


@njit
def _first_chunk(chunks, at_order, begin, stop, value, order):  # type: ignore[no-untyped-def]
    """The first whose last row is not less; of one without rows nothing is known."""
    while begin < stop:
        middle = (begin + stop) >> 1
        rows = chunks[middle, ROWS]
        if rows == 0:
            return begin
        last = _order_value(at_order[middle], rows - 1, order[ORDER_WIDTH], order[ORDER_SIGNED])
        if last < value:
            begin = middle + 1
        else:
            stop = middle
    return begin


@njit
def _begins_by(chunks, at_order, chunk, value, order):  # type: ignore[no-untyped-def]
    low = chunks[chunk, OVERLAP]
    if low >= chunks[chunk, ROWS]:
        return False
    return _order_value(at_order[chunk], low, order[ORDER_WIDTH], order[ORDER_SIGNED]) <= value


@njit
def _scan(columns, on, held, low, high, sources, wanted, left, rows, chunk, found):  # type: ignore[no-untyped-def]
    """Look at each row of a stretch for any of those wanted; how many are still looked for."""
    for row in range(low, high):
        for index in range(wanted.size):
            number = wanted[index]
            if found[number, 0] < 0 and _same(columns, on, held, row, sources, rows[number]):
                found[number, 0], found[number, 1] = chunk, row
                left -= 1
                break
        if left == 0:
            break
    return left


@njit
def _table_of(columns, on, sources, wanted, rows):  # type: ignore[no-untyped-def]
    """Slots of an open hash table: numbers of rows wanted plus one."""
    size = np.int64(16)
    while size < 2 * wanted.size:
        size *= 2
    table = np.zeros(size, np.int32)
    for index in range(wanted.size):
        state = _row_hash(columns, on, sources, rows[wanted[index]], np.uint64(0))
        slot = np.int64(state & np.uint64(size - 1))
        while table[slot]:
            slot = (slot + 1) & (size - 1)
        table[slot] = index + 1
    return table


@njit
def _scan_by_hash(columns, on, held, low, high, sources, wanted, left, rows, chunk, found, table):  # type: ignore[no-untyped-def]
    mask = table.size - 1
    for row in range(low, high):
        state = _row_hash(columns, on, held, row, np.uint64(0))
        slot = np.int64(state & np.uint64(mask))
        while table[slot]:
            number = wanted[table[slot] - 1]
            if found[number, 0] < 0 and _same(columns, on, held, row, sources, rows[number]):
                found[number, 0], found[number, 1] = chunk, row
                left -= 1
                break
            slot = (slot + 1) & mask
        if left == 0:
            break
    return left


@njit(
    "void(int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1],"
    " int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def find_rows(columns, on, order, chunks, groups, members, values, rows, sources, found):  # type: ignore[no-untyped-def]
    """For each row that is wanted the chunk and the row in its extent, -1 where there is none.

    ``on``: stored columns that have to be equal. ``members``: numbers of the wanted rows by group;
    ``values``: order value of each; ``rows``: its row in ``sources``. No row is found twice.
    """
    at_order = _order_places(columns, chunks, order)
    held = np.zeros((columns.shape[0], SOURCE_FIELDS), np.int64)
    places = np.empty((columns.shape[0], 2), np.int64)
    table = np.zeros(1, np.int32)
    holds = np.int64(-1)
    for group in range(groups.shape[0]):
        first = groups[group, GROUP_FIRST]
        wanted = members[first : first + groups[group, GROUP_COUNT]]
        left, value = wanted.size, values[wanted[0]]
        if left > _FEW:
            table = _table_of(columns, on, sources, wanted, rows)
        begin = groups[group, GROUP_CHUNK]
        stop = begin + groups[group, GROUP_CHUNKS]
        if order[ORDER_COLUMN] >= 0:
            begin = _first_chunk(chunks, at_order, begin, stop, value, order)
        for chunk in range(begin, stop):
            low, high = chunks[chunk, OVERLAP], chunks[chunk, ROWS]
            if order[ORDER_COLUMN] >= 0 and low < high:
                low = _bound(at_order[chunk], low, high, value, order, False)
                ends = low < high
                high = _bound(at_order[chunk], low, high, value, order, True)
                if ends and low == high:  # all that follows is more
                    break
            if low >= high:
                continue
            if holds != chunk:
                _place(columns, chunks[chunk, ROOM], places)
                for index in range(on.size):
                    _source_of(columns, on[index], chunks[chunk], places, held[on[index]])
                holds = np.int64(chunk)
            if wanted.size > _FEW:
                left = _scan_by_hash(
                    columns, on, held, low, high, sources, wanted, left, rows, chunk, found, table
                )
            else:
                left = _scan(
                    columns, on, held, low, high, sources, wanted, left, rows, chunk, found
                )
            if left == 0:
                break


@njit(
    "void(int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def find_places(columns, order, chunks, groups, values, found):  # type: ignore[no-untyped-def]
    """Where rows that are added go: a chunk of their partition, and the row they stand before.

    ``groups``: of each partition, over ``values`` in order. Behind those of the same value; without
    an order behind the last.
    """
    at_order = _order_places(columns, chunks, order)
    for group in range(groups.shape[0]):
        first, begin = groups[group, GROUP_FIRST], groups[group, GROUP_CHUNK]
        stop = begin + groups[group, GROUP_CHUNKS]
        for number in range(first, first + groups[group, GROUP_COUNT]):
            chunk, value = stop - 1, values[number]
            if order[ORDER_COLUMN] >= 0:
                while chunk > begin and not _begins_by(chunks, at_order, chunk, value, order):
                    chunk -= 1
                low, high = chunks[chunk, OVERLAP], chunks[chunk, ROWS]
                found[number, 1] = _bound(at_order[chunk], low, high, value, order, True)
            else:
                found[number, 1] = chunks[chunk, ROWS]
            found[number, 0] = chunk


@njit(
    "void(int64[:, ::1], int64[::1], int64[:, ::1], uint64[::1], int64, uint64[::1])",
    nogil=True,
    cache=True,
)
def hash_rows(columns, on, sources, seeds, seed_step, hashes):  # type: ignore[no-untyped-def]
    """64-bit hash of the columns ``on`` of each row, on top of its seed.

    ``seed_step``: 1 for a seed a row, 0 for one for all.
    """
    for row in range(hashes.size):
        hashes[row] = _row_hash(columns, on, sources, row, seeds[row * seed_step])


@njit(
    "void(int64[:, ::1], int64[::1], int64[::1], int64[::1], uint64, uint64[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def hash_chunk(columns, on, order, chunk, seed, hashes, values):  # type: ignore[no-untyped-def]
    """The same of the rows that a chunk holds itself, with the order value of each."""
    held = np.zeros((columns.shape[0], SOURCE_FIELDS), np.int64)
    places = np.empty((columns.shape[0], 2), np.int64)
    _place(columns, chunk[ROOM], places)
    for index in range(on.size):
        _source_of(columns, on[index], chunk, places, held[on[index]])
    overlap = chunk[OVERLAP]
    for row in range(hashes.size):
        hashes[row] = _row_hash(columns, on, held, overlap + row, seed)
        if order[ORDER_COLUMN] >= 0:
            at = chunk[ADDRESS] + places[order[ORDER_COLUMN], 1]
            values[row] = _order_value(at, overlap + row, order[ORDER_WIDTH], order[ORDER_SIGNED])
        else:
            values[row] = 0


@njit("void(int64[:, ::1], int64[::1], int64[:, ::1], int64[::1])", nogil=True, cache=True)
def order_values_at(columns, order, rows, values):  # type: ignore[no-untyped-def]
    """Order values of single rows: address and capacity of an extent, row in it."""
    places = np.empty((columns.shape[0], 2), np.int64)
    for number in range(rows.shape[0]):
        _place(columns, rows[number, 1], places)
        at = rows[number, 0] + places[order[ORDER_COLUMN], 1]
        values[number] = _order_value(at, rows[number, 2], order[ORDER_WIDTH], order[ORDER_SIGNED])
