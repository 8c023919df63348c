# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0917
"""Rows as they were received, each written at once where its key wants it: one pass over the bytes.

Reading into columns takes two passes (count, then write), and splitting them by key three more.
Here nothing is counted before: every load is preceded by a test that its bytes lie inside, and
every store by one that there is room. The first row that cannot be written as it stands ends the
loop, and is as if it had not been looked at: whoever called takes it by another way.

All is loaded and stored by address, see ``copy_kernels``: 1,000,000 rows x 6 into a hundred targets
took 100 ms with arrays, 40 with addresses.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import BOOL
from neural_gpu_bus.stores.postgres.decoding.value_kernels import (
    clear_bit,
    text_length,
    write_fixed,
    write_null,
    write_variable,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    byte,
    copy_bytes,
    i16,
    i32,
    load_own_32,
    load_own_64,
    store_8,
    store_64,
)

#: Of the files whose functions and numbers are compiled into these loops; a test says it.
COMPILED_WITH = "b96548c880567590"

#: Of a column on the wire. PLACE: among the columns that are written, -1 for the others. IS_TEXT:
#: whether it becomes offsets and bytes.
LAYOUT, WIDTH, PARAMETER, PLACE, IS_TEXT, COLUMN_FIELDS = range(6)
#: Of one column of one target: addresses of its validity (0: no NULLs), its values or offsets and
#: its text, and how many bytes of text there may be.
VALIDITY, VALUES, DATA, ROOM, TARGET_FIELDS = range(5)
#: Of a target: rows it has and may have, mask of columns with NULLs, order value of its last row.
ROWS, CAPACITY, NULLS, LAST, HEAD_FIELDS = range(5)
#: Of a key that is known: hash, where its bytes are kept, its target.
HASH, AT, TARGET, ENTRY_FIELDS = range(4)
#: What a loop stopped for: all was taken; a key that is not known; a row before the last of its
#: target; no room; a NULL or a value that is not written here.
(ALL, NEW_KEY, LATE, FULL, OTHER) = range(5)

_FRAME_BYTES = 5
#: Of 64 bits of NULLs one is the sign.
_NULL_BITS = 63
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.int64(-1)


@njit(forceinline=True)
def _word(address, number):  # type: ignore[no-untyped-def]
    return np.int64(load_own_64(np.uint64(address + 8 * number)))


@njit(forceinline=True)
def _put(address, number, value):  # type: ignore[no-untyped-def]
    store_64(np.uint64(address + 8 * number), np.uint64(value))


@njit(forceinline=True)
def _mixed(found, word):  # type: ignore[no-untyped-def]
    found = (found ^ word) * _FACTOR
    return found ^ (found >> np.uint64(32))


@njit(forceinline=True)
def _row_end(message, end, count, columns_at, cells_at):  # type: ignore[no-untyped-def]
    """Where one row ends, its cells found: address and length of each. 0 where it is not whole or
    a length is wrong.
    """
    if end - message < _FRAME_BYTES + 2:
        return np.int64(0)
    row_end = message + 1 + i32(message + 1)
    at = message + _FRAME_BYTES
    if row_end > end or row_end - at < 2 or i16(at) != count:
        return np.int64(0)
    at += 2
    for column in range(count):
        if row_end - at < 4:
            return np.int64(0)
        length = i32(at)
        at += 4
        _put(cells_at, 2 * column, at)
        _put(cells_at, 2 * column + 1, length)
        if length < 0:
            if length != -1:
                return np.int64(0)
            continue
        if length > row_end - at:
            return np.int64(0)
        width = _word(columns_at, COLUMN_FIELDS * column + WIDTH)
        if width >= 0 and length != width:
            return np.int64(0)
        at += length
    return at if at == row_end else np.int64(0)


@njit(forceinline=True)
def _hash_of(key_at, parts, cells_at):  # type: ignore[no-untyped-def]
    """Of a key's bytes; -1 where one part is NULL."""
    found = np.uint64(1)
    for part in range(parts):
        cell = cells_at + 16 * _word(key_at, part)
        at, left = _word(cell, 0), _word(cell, 1)
        if left < 0:
            return np.int64(-1)
        found = _mixed(found, np.uint64(left))
        while left >= 8:
            found = _mixed(found, load_own_64(np.uint64(at)))
            at += 8
            left -= 8
        word = np.uint64(0)
        for _ in range(left):
            word = (word << np.uint64(8)) | np.uint64(byte(at))
            at += 1
        found = _mixed(found, word)
    return np.int64(found >> np.uint64(1))


@njit(forceinline=True)
def _is_key(key_at, parts, cells_at, kept):  # type: ignore[no-untyped-def]
    """Whether the key's bytes, each part's behind its length, are those that are kept."""
    for part in range(parts):
        cell = cells_at + 16 * _word(key_at, part)
        at, left = _word(cell, 0), _word(cell, 1)
        if _word(kept, 0) != left:
            return False
        kept += 8
        while left >= 8:
            if load_own_64(np.uint64(at)) != load_own_64(np.uint64(kept)):
                return False
            at += 8
            kept += 8
            left -= 8
        for _ in range(left):
            if byte(at) != byte(kept):
                return False
            at += 1
            kept += 1
    return True


@njit(forceinline=True)
def _place_of(hashed, key_at, parts, cells_at, places_at, mask, entries_at, kept_at):  # type: ignore[no-untyped-def]
    """Where in the table of places the key stands, or would."""
    place = hashed & mask
    while True:
        number = _word(places_at, place)
        if number == _EMPTY:
            return place
        entry = entries_at + 8 * ENTRY_FIELDS * number
        if _word(entry, HASH) == hashed and _is_key(
            key_at, parts, cells_at, kept_at + _word(entry, AT)
        ):
            return place
        place = (place + 1) & mask


@njit(forceinline=True)
def _order_value(values, row, width):  # type: ignore[no-untyped-def]
    if width == 8:
        return np.int64(load_own_64(np.uint64(values + 8 * row)))
    return np.int64(np.int32(load_own_32(np.uint64(values + 4 * row))))


@njit(forceinline=True)
def _write_text(layout, at, length, width, target, row, scratch):  # type: ignore[no-untyped-def]
    """A text behind those that are there; what stood in its way."""
    offsets = _word(target, VALUES)
    end = np.int64(0)
    if row:
        end = _word(offsets, row)
    else:
        _put(offsets, 0, 0)
    if length >= 0:
        size = text_length(at, length, width, scratch)
        if size < 0:
            return OTHER
        if end + size > _word(target, ROOM):
            return FULL
        count = write_variable(layout, at, length, np.uint64(_word(target, DATA) + end))
        if count < 0:
            return OTHER
        end += count
    _put(offsets, row + 1, end)
    return ALL


@njit(forceinline=True)
def _write_value(column, cell, target, row, scratch):  # type: ignore[no-untyped-def]
    """One value of one row; what stood in its way."""
    at, length, layout = _word(cell, 0), _word(cell, 1), _word(column, LAYOUT)
    validity = np.uint64(_word(target, VALIDITY))
    if validity:
        if row & 7 == 0:  # of the seven rows behind this one nobody has looked at any
            store_8(validity + np.uint64(row >> 3), np.uint8(255))
        if length < 0:
            clear_bit(validity, row, -1, -1)
    elif length < 0:
        return OTHER
    if _word(column, IS_TEXT):
        return _write_text(layout, at, length, _word(column, WIDTH), target, row, scratch)
    values, parameter = np.uint64(_word(target, VALUES)), np.uint64(_word(column, PARAMETER))
    if layout == BOOL:
        clear_bit(values, row, -1, -1)
    if length < 0:
        write_null(layout, values, row, parameter)
        return ALL
    fault = write_fixed(layout, at, length, values, row, parameter, scratch, -1, -1)
    return OTHER if fault else ALL


@njit(forceinline=True)
def _write_row(head, target, count, columns_at, cells_at, first, place, width, scratch):  # type: ignore[no-untyped-def]
    """One row behind the last of its target, and counted there; or what stood in its way."""
    row, value, nulls = _word(head, ROWS), np.int64(0), _word(head, NULLS)
    if row >= _word(head, CAPACITY):
        return FULL
    if first >= 0:
        column, cell = columns_at + 8 * COLUMN_FIELDS * first, cells_at + 16 * first
        of_order = target + 8 * TARGET_FIELDS * place
        why = _write_value(column, cell, of_order, row, scratch)
        if why != ALL:
            return why
        value = _order_value(_word(of_order, VALUES), row, width)
        if value < _word(head, LAST):
            return LATE
    for number in range(count):
        column, cell = columns_at + 8 * COLUMN_FIELDS * number, cells_at + 16 * number
        place = _word(column, PLACE)
        if place < 0 or number == first:
            continue
        why = _write_value(column, cell, target + 8 * TARGET_FIELDS * place, row, scratch)
        if why != ALL:
            return why
        if _word(cell, 1) < 0:
            nulls |= np.int64(1) << min(place, np.int64(_NULL_BITS - 1))
    _put(head, ROWS, row + 1)
    _put(head, NULLS, nulls)
    _put(head, LAST, value)
    return ALL


@njit(
    "UniTuple(int64, 2)(uint8[::1], int64, int64, int64[:, ::1], int64[::1], int64[::1], "
    "int64[:, :, ::1], int64[:, ::1], int64[::1], int64[:, ::1], uint8[::1], uint8[::1])",
    nogil=True,
    cache=True,
)
def spread_rows(  # type: ignore[no-untyped-def]
    buffer, start, stop, columns, key, order, targets, heads, places, entries, kept, scratch
):
    """Write DataRow messages from ``start`` on; where that ended, and why there.

    ``key``: columns that say which target. ``order``: column, place and width of the values that
    must not fall within a target; empty without one. ``targets``: shape (targets, columns, 4), and
    ``heads``, which changes. ``places``, ``entries``, ``kept``: keys as ``learn_keys`` made them.
    In the bytes of bitmaps that rows begun to fill the bits behind are ones.
    """
    base, kept_at = np.int64(buffer.ctypes.data), np.int64(kept.ctypes.data)
    columns_at, key_at = np.int64(columns.ctypes.data), np.int64(key.ctypes.data)
    targets_at, heads_at = np.int64(targets.ctypes.data), np.int64(heads.ctypes.data)
    places_at, entries_at = np.int64(places.ctypes.data), np.int64(entries.ctypes.data)
    count, parts, mask = columns.shape[0], key.size, places.size - 1
    target_bytes = 8 * TARGET_FIELDS * targets.shape[1]
    cells = np.empty(2 * count, np.int64)
    cells_at, room = np.int64(cells.ctypes.data), np.uint64(scratch.ctypes.data)
    first = order_place = order_width = np.int64(-1)
    if order.size:
        first, order_place, order_width = order[0], order[1], order[2]
    at, end = base + start, base + stop
    while at < end:
        row_end = _row_end(at, end, count, columns_at, cells_at)
        hashed = np.int64(-1) if row_end == 0 else _hash_of(key_at, parts, cells_at)
        if hashed < 0:
            return at - base, np.int64(OTHER)
        place = _place_of(hashed, key_at, parts, cells_at, places_at, mask, entries_at, kept_at)
        number = _word(places_at, place)
        if number == _EMPTY:
            return at - base, np.int64(NEW_KEY)
        number = _word(entries_at, ENTRY_FIELDS * number + TARGET)
        head, target = heads_at + 8 * HEAD_FIELDS * number, targets_at + target_bytes * number
        why = _write_row(
            *(head, target, count, columns_at, cells_at, first, order_place, order_width, room)
        )
        if why != ALL:
            return at - base, np.int64(why)
        at = row_end
    return at - base, np.int64(ALL)


@njit(
    "int64(uint8[::1], int64, int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], "
    "uint8[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def learn_keys(buffer, start, columns, key, found, places, entries, kept, counts):  # type: ignore[no-untyped-def]
    """Keep the keys of rows whose targets were ``found`` in another way; how many rows.

    ``places``: a power of two, -1 where none stands, and never full. ``counts``: entries and bytes
    that are kept, which change; at the end of either nothing more is learnt.
    """
    base, kept_at = np.int64(buffer.ctypes.data), np.int64(kept.ctypes.data)
    columns_at, key_at = np.int64(columns.ctypes.data), np.int64(key.ctypes.data)
    places_at, entries_at = np.int64(places.ctypes.data), np.int64(entries.ctypes.data)
    count, parts, mask = columns.shape[0], key.size, places.size - 1
    cells = np.empty(2 * count, np.int64)
    cells_at = np.int64(cells.ctypes.data)
    at, end = base + start, base + buffer.size
    for row in range(found.size):
        at = _row_end(at, end, count, columns_at, cells_at)
        hashed = np.int64(-1) if at == 0 else _hash_of(key_at, parts, cells_at)
        if hashed < 0:
            return np.int64(row)
        place = _place_of(hashed, key_at, parts, cells_at, places_at, mask, entries_at, kept_at)
        if places[place] != _EMPTY:
            continue
        size = np.int64(0)
        for part in range(parts):
            size += 8 + cells[2 * key[part] + 1]
        if counts[0] == entries.shape[0] or counts[1] + size > kept.size:
            return np.int64(row)
        to = kept_at + counts[1]
        for part in range(parts):
            source, length = cells[2 * key[part]], cells[2 * key[part] + 1]
            _put(to, 0, length)
            copy_bytes(np.uint64(to + 8), np.uint64(source), np.uint64(length))
            to += 8 + length
        entries[counts[0], HASH], entries[counts[0], AT] = hashed, counts[1]
        entries[counts[0], TARGET] = found[row]
        places[place] = counts[0]
        counts[0] += 1
        counts[1] += size
    return np.int64(found.size)
