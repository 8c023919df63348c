"""Compiled search of texts in a table, which gives each different text a number.

A table of int32 slots (a number plus 1, 0 for an empty one), probed in a line, and entries of two
int64: where a text lies, and its length. A place below 0 lies in bytes known before: the labels of
an enum. Texts that come in runs cost one comparison.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import (
    CODES_AT,
    ENTRIES,
    ENTRIES_AT,
    FREE,
    KNOWN_AT,
    LAST_CODE,
    LAST_LENGTH,
    LAST_POSITION,
    LIMIT,
    TABLE_AT,
    TABLE_MASK,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    byte,
    load_own_32,
    load_own_64,
    store_32,
    store_64,
)

#: Odd, with bits all over: 2**64 divided by the golden ratio.
MIXER = np.uint64(0x9E3779B97F4A7C15)

#: No code: the table is full, or its texts are too many for a dictionary.
NO_CODE = -1

#: Share of the rows that different texts may be; of fewer repetitions a dictionary is no gain.
ROWS_PER_TEXT_MIN = 10


@njit(forceinline=True)
def _mixed(state, word):  # type: ignore[no-untyped-def]
    state = (state ^ word) * MIXER
    return state ^ (state >> np.uint64(29))


@njit(forceinline=True)
def _own_64(at):  # type: ignore[no-untyped-def]
    return load_own_64(np.uint64(at))


@njit(forceinline=True)
def _own_32(at):  # type: ignore[no-untyped-def]
    return np.uint64(load_own_32(np.uint64(at)))


@njit(forceinline=True)
def _hash(at, length):  # type: ignore[no-untyped-def]
    """Words of eight bytes, the last one overlapping: nothing outside is read."""
    state = np.uint64(length) * MIXER
    if length >= 8:
        for place in range(0, length - 7, 8):
            state = _mixed(state, _own_64(at + place))
        return _mixed(state, _own_64(at + length - 8))
    if length >= 4:
        return _mixed(state, _own_32(at) | _own_32(at + length - 4) << np.uint64(32))
    for place in range(length):
        state = _mixed(state, np.uint64(byte(at + place)))
    return state


@njit(forceinline=True)
def _same(left, right, length):  # type: ignore[no-untyped-def]
    """Whether two texts of one length are equal."""
    if length >= 8:
        for place in range(0, length - 7, 8):
            if _own_64(left + place) != _own_64(right + place):
                return False
        return _own_64(left + length - 8) == _own_64(right + length - 8)
    if length >= 4:
        same = _own_32(left) == _own_32(right)
        return same and _own_32(left + length - 4) == _own_32(right + length - 4)
    for place in range(length):  # noqa: SIM110 - any() over a generator is not compiled
        if byte(left + place) != byte(right + place):
            return False
    return True


@njit(forceinline=True)
def _i64(at):  # type: ignore[no-untyped-def]
    return np.int64(load_own_64(np.uint64(at)))


@njit(forceinline=True)
def _slot(texts, index):  # type: ignore[no-untyped-def]
    return _i64(texts + 8 * index)


@njit(forceinline=True)
def _set_slot(texts, index, value):  # type: ignore[no-untyped-def]
    store_64(np.uint64(texts + 8 * index), np.uint64(value))


@njit
def find_code(at, length, base, texts, rows):  # type: ignore[no-untyped-def]
    """The number of the text at an address, a new one where it is new; or ``NO_CODE``.

    ``texts``: address of a column's slots. ``rows``: rows so far.
    """
    slot = _hash(at, length) >> np.uint64(20)
    while True:
        slot = np.uint64(slot) & np.uint64(_slot(texts, TABLE_MASK))
        place = np.uint64(_slot(texts, TABLE_AT)) + slot * np.uint64(4)
        found = np.int64(load_own_32(place))
        if found == 0:
            break
        entry = _slot(texts, ENTRIES_AT) + 16 * (found - 1)
        if _i64(entry + 8) == length:
            known = _i64(entry)
            other = base + known if known >= 0 else _slot(texts, KNOWN_AT) - known - 1
            if _same(at, other, length):
                return found - 1
        slot += np.uint64(1)
    count = _slot(texts, ENTRIES)
    allowed = _slot(texts, LIMIT)
    if _slot(texts, FREE) >= 0:
        allowed = min(allowed, _slot(texts, FREE) + rows // ROWS_PER_TEXT_MIN)
    if count >= allowed:
        return np.int64(NO_CODE)
    entry = np.uint64(_slot(texts, ENTRIES_AT) + 16 * count)
    store_64(entry, np.uint64(at - base))
    store_64(entry + np.uint64(8), np.uint64(length))
    store_32(place, np.uint32(count + 1))
    _set_slot(texts, ENTRIES, count + 1)
    return count


@njit
def note_code(at, length, base, texts, row):  # type: ignore[no-untyped-def]
    """Find a row's text and store its number; False where there is no number for it."""
    last = base + _slot(texts, LAST_POSITION)
    if length == _slot(texts, LAST_LENGTH) and _same(at, last, length):
        code = _slot(texts, LAST_CODE)
    else:
        code = find_code(at, length, base, texts, row)
        if code == NO_CODE:
            return False
        _set_slot(texts, LAST_POSITION, at - base)
        _set_slot(texts, LAST_LENGTH, length)
        _set_slot(texts, LAST_CODE, code)
    store_32(np.uint64(_slot(texts, CODES_AT) + 4 * row), np.uint32(code))
    return True


@njit("void(int64, int64)", nogil=True, cache=True)
def enter_known(texts, count):  # type: ignore[no-untyped-def]
    """Put the first entries, of texts known before, into an empty table."""
    for number in range(count):
        entry = _slot(texts, ENTRIES_AT) + 16 * number
        at, length = _slot(texts, KNOWN_AT) - _i64(entry) - 1, _i64(entry + 8)
        slot = _hash(at, length) >> np.uint64(20)
        while True:
            slot = np.uint64(slot) & np.uint64(_slot(texts, TABLE_MASK))
            place = np.uint64(_slot(texts, TABLE_AT)) + slot * np.uint64(4)
            if load_own_32(place) == 0:
                break
            slot += np.uint64(1)
        store_32(place, np.uint32(number + 1))
    _set_slot(texts, ENTRIES, count)


@njit("int64(int64, int64[::1], int64[::1], int32[::1])", nogil=True, cache=True)
def find_codes(texts, addresses, lengths, codes):  # type: ignore[no-untyped-def]
    """Numbers of texts at addresses, 0 for NULL; -1, or the place of one without a number."""
    for row in range(addresses.size):
        if lengths[row] < 0:
            codes[row] = 0
            continue
        code = find_code(addresses[row], lengths[row], np.int64(0), texts, row)
        if code == NO_CODE:
            return row
        codes[row] = code
    return np.int64(-1)
