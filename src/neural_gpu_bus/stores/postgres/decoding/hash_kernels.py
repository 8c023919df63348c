# ruff: noqa: PLR0917
"""Compiled search of texts in a table, which gives each different text a number.

A table of int32 slots (a number plus 1, 0 for an empty one), probed in a line, and entries of three
words: where a text lies, its length, its first eight bytes, so that a short one is compared without
looking where it lies. A place below 0 lies in bytes known before: the labels of an enum. Texts that
come in runs cost one comparison.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.first_compile import say_when_compiling
from neural_gpu_bus.stores.postgres.decoding.layouts import (
    CODES_AT,
    ENTRIES,
    ENTRIES_AT,
    FREE,
    KNOWN_AT,
    LAST_CODE,
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

say_when_compiling()

#: Of the files whose functions and numbers are compiled into these loops; a test says it.
COMPILED_WITH = "c2e11c9174f7e744"

#: Odd, with bits all over: 2**64 divided by the golden ratio.
MIXER = np.uint64(0x9E3779B97F4A7C15)

#: Place, length, first word.
ENTRY_BYTES = 24

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
def _word(at, length):  # type: ignore[no-untyped-def]
    """Up to the first eight bytes; with the length it says all of a text that has no more. Parts
    overlap, so that nothing outside is read and nothing loops.
    """
    if length >= 8:
        return _own_64(at)
    if length >= 4:
        return _own_32(at) | _own_32(at + length - 4) << np.uint64(32)
    if length == 0:
        return np.uint64(0)
    middle, last = np.uint64(byte(at + (length >> 1))), np.uint64(byte(at + length - 1))
    return np.uint64(byte(at)) | middle << np.uint64(8) | last << np.uint64(16)


@njit(forceinline=True)
def _hash(word, at, length):  # type: ignore[no-untyped-def]
    """Of the first word, the length, and what follows in words of eight bytes."""
    state = _mixed(np.uint64(length), word)
    if length > 8:
        for place in range(8, length - 7, 8):
            state = _mixed(state, _own_64(at + place))
        state = _mixed(state, _own_64(at + length - 8))
    return state


@njit(forceinline=True)
def _same_rest(left, right, length):  # type: ignore[no-untyped-def]
    """Whether two texts of one length above 8 and one first word are equal."""
    for place in range(8, length - 7, 8):
        if _own_64(left + place) != _own_64(right + place):
            return False
    return _own_64(left + length - 8) == _own_64(right + length - 8)


@njit(forceinline=True)
def _i64(at):  # type: ignore[no-untyped-def]
    return np.int64(load_own_64(np.uint64(at)))


@njit(forceinline=True)
def _slot(texts, index):  # type: ignore[no-untyped-def]
    return _i64(texts + 8 * index)


@njit(forceinline=True)
def _set_slot(texts, index, value):  # type: ignore[no-untyped-def]
    store_64(np.uint64(texts + 8 * index), np.uint64(value))


@njit(forceinline=True)
def _place_in(texts, slot):  # type: ignore[no-untyped-def]
    slot &= np.uint64(_slot(texts, TABLE_MASK))
    return np.uint64(_slot(texts, TABLE_AT)) + slot * np.uint64(4)


@njit(forceinline=True)
def _matches(entry, word, at, length, base, texts):  # type: ignore[no-untyped-def]
    """Whether the text at an address is that of an entry."""
    if _own_64(entry + 16) != word or _i64(entry + 8) != length:
        return False
    if length <= 8:
        return True
    known = _i64(entry)
    return _same_rest(
        at, base + known if known >= 0 else _slot(texts, KNOWN_AT) - known - 1, length
    )


@njit
def find_code(word, at, length, base, texts, rows):  # type: ignore[no-untyped-def]
    """The number of the text at an address, a new one where it is new; or ``NO_CODE``.

    ``word``: its first. ``texts``: address of a column's slots. ``rows``: rows so far.
    """
    slot, entries = _hash(word, at, length) >> np.uint64(20), _slot(texts, ENTRIES_AT)
    mask, table = np.uint64(_slot(texts, TABLE_MASK)), np.uint64(_slot(texts, TABLE_AT))
    while True:
        place = table + (slot & mask) * np.uint64(4)
        found = np.int64(load_own_32(place))
        if found == 0:
            return _enter(word, at, length, base, texts, rows, place)
        if _matches(entries + ENTRY_BYTES * (found - 1), word, at, length, base, texts):
            return found - 1
        slot += np.uint64(1)


@njit
def _enter(word, at, length, base, texts, rows, place):  # type: ignore[no-untyped-def]
    """Give a text the next number and keep it at a place of the table."""
    count = _slot(texts, ENTRIES)
    allowed = _slot(texts, LIMIT)
    if _slot(texts, FREE) >= 0:
        allowed = min(allowed, _slot(texts, FREE) + rows // ROWS_PER_TEXT_MIN)
    if count >= allowed:
        return np.int64(NO_CODE)
    entry = np.uint64(_slot(texts, ENTRIES_AT) + ENTRY_BYTES * count)
    store_64(entry, np.uint64(at - base))
    store_64(entry + np.uint64(8), np.uint64(length))
    store_64(entry + np.uint64(16), word)
    store_32(place, np.uint32(count + 1))
    _set_slot(texts, ENTRIES, count + 1)
    return count


@njit
def note_code(at, length, base, texts, row):  # type: ignore[no-untyped-def]
    """Find a row's text and store its number; False where there is no number for it."""
    word, code = _word(at, length), _slot(texts, LAST_CODE)
    last = _slot(texts, ENTRIES_AT) + ENTRY_BYTES * code
    if code < 0 or not _matches(last, word, at, length, base, texts):
        code = find_code(word, at, length, base, texts, row)
        if code == NO_CODE:
            return False
        _set_slot(texts, LAST_CODE, code)
    store_32(np.uint64(_slot(texts, CODES_AT) + 4 * row), np.uint32(code))
    return True


@njit("void(int64, int64)", nogil=True, cache=True)
def enter_known(texts, count):  # type: ignore[no-untyped-def]
    """Put the first entries, of texts known before, into an empty table."""
    for number in range(count):
        entry = _slot(texts, ENTRIES_AT) + ENTRY_BYTES * number
        at, length = _slot(texts, KNOWN_AT) - _i64(entry) - 1, _i64(entry + 8)
        word = _word(at, length)
        store_64(np.uint64(entry + 16), word)
        slot = _hash(word, at, length) >> np.uint64(20)
        while load_own_32(_place_in(texts, slot)) != 0:
            slot += np.uint64(1)
        store_32(_place_in(texts, slot), np.uint32(number + 1))
    _set_slot(texts, ENTRIES, count)


@njit("int64(int64, int64[::1], int64[::1], int32[::1])", nogil=True, cache=True)
def find_codes(texts, addresses, lengths, codes):  # type: ignore[no-untyped-def]
    """Numbers of texts at addresses, 0 for NULL; -1, or the place of one without a number."""
    for row in range(addresses.size):
        if lengths[row] < 0:
            codes[row] = 0
            continue
        word = _word(addresses[row], lengths[row])
        code = find_code(word, addresses[row], lengths[row], np.int64(0), texts, row)
        if code == NO_CODE:
            return row
        codes[row] = code
    return np.int64(-1)
