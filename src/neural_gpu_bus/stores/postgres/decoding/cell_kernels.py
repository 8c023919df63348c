# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0917
"""Compiled loops over cells: where values lie and how long they are (NULL: length -1).

A type with parts is taken apart level by level; each loop tests that what it hands on lies inside
of its cell, so the next may trust its cells' addresses and lengths, and nothing else. All return
the place of the first cell that is wrong, or -1.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import (
    BAD_JSONB,
    BAD_VALUE,
    FAULT,
    LOWER_BOUND,
    OTHER_TYPE,
    SCRATCH,
)
from neural_gpu_bus.stores.postgres.decoding.value_kernels import (
    text_length,
    write_fixed,
    write_null,
    write_variable,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    byte,
    i16,
    i32,
    load_16,
    load_32,
    store_16,
    store_32,
    store_64,
)

#: Of the files whose functions and numbers are compiled into these loops; a test says it.
COMPILED_WITH = "b96548c880567590"

#: arrayfuncs.c: dimensions, whether there are NULLs, OID of the items; then each dimension's size
#: and lower bound.
ARRAY_HEAD_BYTES, DIMENSION_BYTES, DIMENSIONS_MAX = 12, 8, 6

EMPTY, LOWER_INFINITE, UPPER_INFINITE = 1, 8, 16
NONE = np.int64(-1)

_CELLS = "int64[::1], int64[::1]"


@njit(f"int64({_CELLS}, int64, int64, int64[::1])", nogil=True, cache=True)
def measure_values(addresses, lengths, width, scratch, found):  # type: ignore[no-untyped-def]
    """Bytes of text into ``found[0]``; every length is tested."""
    for place in range(addresses.size):
        if lengths[place] < 0:
            continue
        size = text_length(addresses[place], lengths[place], width, np.uint64(scratch))
        if size < 0:
            return np.int64(place)
        found[0] += size
    return NONE


@njit(f"int64({_CELLS}, uint64[::1], int64[::1])", nogil=True, cache=True)
def write_values(addresses, lengths, plan, state):  # type: ignore[no-untyped-def]
    """Write measured values; ``plan``: layout, addresses of values, offsets and data, parameter."""
    layout, values, offsets, data, parameter = plan[0], plan[1], plan[2], plan[3], plan[4]
    scratch, written = np.uint64(state[SCRATCH]), np.int64(0)
    for place in range(addresses.size):
        at, length = addresses[place], lengths[place]
        if length < 0:
            write_null(layout, values, place, parameter)
        elif offsets:
            count = write_variable(layout, at, length, data + np.uint64(written))
            if count < 0:
                state[FAULT] = BAD_JSONB
                return np.int64(place)
            written += count
        else:
            fault = write_fixed(layout, at, length, values, place, parameter, scratch, -1, -1)
            if fault:
                state[FAULT] = fault
                return np.int64(place)
        if offsets:
            store_64(offsets + np.uint64(8 * (place + 1)), np.uint64(written))
    return NONE


@njit(
    f"int64({_CELLS}, int64, int64, int64[:, ::1], int64[::1], int64[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def array_heads(addresses, lengths, item_oid, lower_bound, sizes, dimensions, heads, state):  # type: ignore[no-untyped-def]
    """Sizes of each dimension, how many dimensions, bytes before the items; of NULL all 0.

    An item takes four bytes or more, so a value's own length bounds what its sizes may say.
    """
    for place in range(addresses.size):
        at, length = addresses[place], lengths[place]
        if length < 0:
            continue
        state[FAULT] = BAD_VALUE
        if length < ARRAY_HEAD_BYTES:
            return np.int64(place)
        count, flag = i32(at), i32(at + 4)
        head = ARRAY_HEAD_BYTES + DIMENSION_BYTES * count
        if count < 0 or count > DIMENSIONS_MAX or flag < 0 or flag > 1 or length < head:
            return np.int64(place)
        if np.int64(load_32(np.uint64(at + 8))) != item_oid:
            state[FAULT] = OTHER_TYPE
            return np.int64(place)
        items = np.int64(1)
        for dimension in range(count):
            size = i32(at + ARRAY_HEAD_BYTES + DIMENSION_BYTES * dimension)
            if size < 0 or size > length:
                return np.int64(place)
            items *= size
            if items > length:
                return np.int64(place)
            sizes[place, dimension] = size
            if i32(at + ARRAY_HEAD_BYTES + DIMENSION_BYTES * dimension + 4) != lower_bound:
                state[FAULT] = LOWER_BOUND
                return np.int64(place)
        dimensions[place], heads[place] = count, head
        if (items if count else 0) * 4 > length - head:
            return np.int64(place)
    state[FAULT] = 0
    return NONE


@njit(f"int64({_CELLS}, int64[::1])", nogil=True, cache=True)
def list_heads(addresses, lengths, counts):  # type: ignore[no-untyped-def]
    """How many items stand behind an int32 that counts them; each takes four bytes or more."""
    for place in range(addresses.size):
        length = lengths[place]
        if length < 0:
            continue
        if length < 4:
            return np.int64(place)
        count = i32(addresses[place])
        if count < 0 or 4 * count > length - 4:
            return np.int64(place)
        counts[place] = count
    return NONE


@njit(f"int64({_CELLS}, int64[::1], int64[::1], boolean, {_CELLS})", nogil=True, cache=True)
def list_items(addresses, lengths, heads, counts, with_nulls, items, item_lengths):  # type: ignore[no-untyped-def]
    """Cells of all items: an int32 length and its bytes each, up to the end of the cell."""
    to = 0
    for place in range(addresses.size):
        if lengths[place] < 0:
            continue
        at, end = addresses[place] + heads[place], addresses[place] + lengths[place]
        for _ in range(counts[place]):
            if end - at < 4:
                return np.int64(place)
            length = i32(at)
            at += 4
            if length > end - at or length < (-1 if with_nulls else 0):
                return np.int64(place)
            items[to], item_lengths[to] = at, length
            to += 1
            at += max(length, np.int64(0))
        if at != end:
            return np.int64(place)
    return NONE


@njit(
    f"int64({_CELLS}, int64[::1], int64[:, ::1], int64[:, ::1], int64[::1])",
    nogil=True,
    cache=True,
)
def composite_parts(addresses, lengths, oids, parts, part_lengths, state):  # type: ignore[no-untyped-def]
    """Cells of all fields (record_send): int32 count, then OID, length and bytes of each."""
    for place in range(addresses.size):
        if lengths[place] < 0:
            for field in range(oids.size):
                part_lengths[field, place] = -1
            continue
        at, end = addresses[place], addresses[place] + lengths[place]
        state[FAULT] = BAD_VALUE
        if end - at < 4:
            return np.int64(place)
        if i32(at) != oids.size:
            state[FAULT] = OTHER_TYPE
            return np.int64(place)
        at += 4
        for field in range(oids.size):
            if end - at < 8:
                return np.int64(place)
            if np.int64(load_32(np.uint64(at))) != oids[field]:
                state[FAULT] = OTHER_TYPE
                return np.int64(place)
            length = i32(at + 4)
            at += 8
            if length < -1 or length > end - at:
                return np.int64(place)
            parts[field, place], part_lengths[field, place] = at, length
            at += max(length, np.int64(0))
        if at != end:
            return np.int64(place)
    state[FAULT] = 0
    return NONE


@njit(f"int64({_CELLS}, uint8[::1], int64[:, ::1], int64[:, ::1])", nogil=True, cache=True)
def range_parts(addresses, lengths, flags, parts, part_lengths):  # type: ignore[no-untyped-def]
    """Flags and cells of both bounds (range_send); a bound that is infinite is NULL."""
    for place in range(addresses.size):
        part_lengths[0, place] = part_lengths[1, place] = -1
        if lengths[place] < 0:
            continue
        at, end = addresses[place], addresses[place] + lengths[place]
        if at == end:
            return np.int64(place)
        flags[place] = byte(at)
        at += 1
        for bound in range(2):
            infinite = UPPER_INFINITE if bound else LOWER_INFINITE
            if flags[place] & (EMPTY | infinite):
                continue
            if end - at < 4:
                return np.int64(place)
            length = i32(at)
            at += 4
            if length < 0 or length > end - at:
                return np.int64(place)
            parts[bound, place], part_lengths[bound, place] = at, length
            at += length
        if at != end:
            return np.int64(place)
    return NONE


@njit(f"int64({_CELLS}, int64[::1], {_CELLS}, {_CELLS})", nogil=True, cache=True)
def map_items(addresses, lengths, counts, keys, key_lengths, values, value_lengths):  # type: ignore[no-untyped-def]
    """Cells of all keys and values (hstore_send): lengths and bytes, a value may be NULL."""
    to = 0
    for place in range(addresses.size):
        if lengths[place] < 0:
            continue
        at, end = addresses[place] + 4, addresses[place] + lengths[place]
        for _ in range(counts[place]):
            for part in range(2):
                if end - at < 4:
                    return np.int64(place)
                length = i32(at)
                at += 4
                if length > end - at or length < -part:
                    return np.int64(place)
                if part:
                    values[to], value_lengths[to] = at, length
                else:
                    keys[to], key_lengths[to] = at, length
                at += max(length, np.int64(0))
            to += 1
        if at != end:
            return np.int64(place)
    return NONE


@njit(f"int64({_CELLS}, int64, int64, int64, int64[::1])", nogil=True, cache=True)
def packed_heads(addresses, lengths, count_bytes, head_bytes, item_bytes, counts):  # type: ignore[no-untyped-def]
    """How many items of one width stand behind a head; they fill the cell."""
    for place in range(addresses.size):
        length = lengths[place]
        if length < 0:
            continue
        if length < head_bytes:
            return np.int64(place)
        count = i16(addresses[place]) if count_bytes == 2 else i32(addresses[place])
        if count < 0 or length != head_bytes + count * item_bytes:
            return np.int64(place)
        counts[place] = count
    return NONE


@njit(f"void(int64[::1], int64, int64, int64[::1], {_CELLS})", nogil=True, cache=True)
def packed_items(addresses, head_bytes, item_bytes, counts, items, item_lengths):  # type: ignore[no-untyped-def]
    """Cells of all items."""
    to = 0
    for place in range(addresses.size):
        for index in range(counts[place]):
            items[to] = addresses[place] + head_bytes + index * item_bytes
            item_lengths[to] = item_bytes
            to += 1


@njit(f"void({_CELLS}, int64, int64, int64, int64[::1], uint64)", nogil=True, cache=True)
def write_packed(addresses, lengths, head_bytes, item_bytes, size, counts, target):  # type: ignore[no-untyped-def]
    """The items themselves, two or four bytes each, in a row; for NULL ``size`` zeros."""
    for place in range(addresses.size):
        count = counts[place] if lengths[place] >= 0 else size
        for index in range(count):
            at = np.uint64(addresses[place] + head_bytes + index * item_bytes)
            if item_bytes == 4:
                store_32(target, load_32(at) if lengths[place] >= 0 else np.uint32(0))
            else:
                store_16(target, load_16(at) if lengths[place] >= 0 else np.uint16(0))
            target += np.uint64(item_bytes)
