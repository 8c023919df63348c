"""Compiled hash tables: equal values get one number, in order of first appearance.

Open addressing with steps of one, at most half full, growing as values appear. A slot holds a
number plus one; what it stands for is looked up by that number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from neural_gpu_bus.aggregates.signatures import INT, INTS, INTS32, OUT_CODES, OUT_INTS, VOID, WORD
from neural_gpu_bus.aggregates.vector_words import load_byte, load_word, multiply_fold

#: Slots of an empty table; a power of two. In 1,024 slots 50 texts meet often enough to cost
#: 3.5 ns a row.
SLOTS = 4096

#: Texts up to here are known by three words and their size.
WORDS_BYTES = 24

#: An odd number near 2^64 divided by the golden ratio (Knuth, volume 3, section 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BYTES = np.uint64(8)

#: Words that have half of their bits set.
_SECRETS = (
    np.uint64(0xA0761D6478BD642F),
    np.uint64(0xE7037ED1A0B428DB),
    np.uint64(0x8EBC6AF09C88C6E3),
    np.uint64(0x589965CC75374CC3),
)

#: What a text is known by: one cache line.
HEAD, SECOND, TAIL, SIZE, ADDRESS, HASH, TEXT_WORDS = 0, 1, 2, 3, 4, 5, 8
_HALF = np.uint64(32)


@njit(forceinline=True)
def _mixed(word):  # type: ignore[no-untyped-def]
    product = word * _GOLDEN
    return product ^ (product >> _HALF)


@njit(forceinline=True)
def _head(address, size, end):  # type: ignore[no-untyped-def]
    """The first eight bytes; zeros behind a shorter text, and nothing behind ``end`` is read."""
    if size >= 8:
        return load_word(address)
    if address + _BYTES <= end:
        kept = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
        return load_word(address) & kept
    word = np.uint64(0)
    for place in range(size):
        word |= load_byte(address + np.uint64(place)) << np.uint64(8 * place)
    return word


@njit(nogil=True)
def _middle_hash(address, size):  # type: ignore[no-untyped-def]
    """Of what lies between the first 16 bytes and the last eight."""
    found = np.uint64(0)
    for place in range(16, size - 8, 8):
        found = _mixed(found ^ load_word(address + np.uint64(place)))
    return found


@njit(nogil=True)
def _middle_equal(one, other, size):  # type: ignore[no-untyped-def]
    for place in range(16, size - 8, 8):
        if load_word(one + np.uint64(place)) != load_word(other + np.uint64(place)):
            return False
    return True


@njit(nogil=True)
def _spread(hashes, count, slots):  # type: ignore[no-untyped-def]
    """All numbers in a new table of that many slots."""
    table = np.zeros(slots, np.uint32)
    for number in range(count):
        _insert(table, hashes[number], number)
    return table


@njit(nogil=True)
def _insert(table, found, number):  # type: ignore[no-untyped-def]
    last = np.uint64(table.size - 1)
    slot = found & last
    while table[slot]:
        slot = (slot + np.uint64(1)) & last
    table[slot] = number + 1


@njit(forceinline=True)
def _text_words(address, size, end):  # type: ignore[no-untyped-def]
    """A text's first, second and last eight bytes. They overlap where it is shorter than 24."""
    if size < _BYTES:
        return _head(address, size, end), np.uint64(0), np.uint64(0)
    rest = size - _BYTES
    second = load_word(address + min(rest, _BYTES))
    return load_word(address), second, load_word(address + rest)


@njit(forceinline=True)
def _text_hash(address, size, head, second, tail):  # type: ignore[no-untyped-def]
    """Two products that do not wait for each other, as in Wang Yi's wyhash."""
    one = multiply_fold(head ^ _SECRETS[0], second ^ _SECRETS[1])
    found = one ^ multiply_fold(tail ^ _SECRETS[2], size ^ _SECRETS[3])
    if size > WORDS_BYTES:
        found = _mixed(found ^ _middle_hash(address, size))
    return found


@njit(nogil=True)
def _add_text(offsets, base, row, known, number):  # type: ignore[no-untyped-def]
    """What a text is known by, in its own row of ``known``."""
    start = np.uint64(offsets[row])
    size = np.uint64(offsets[row + 1]) - start
    end = base + np.uint64(offsets[offsets.size - 1])
    head, second, tail = _text_words(base + start, size, end)
    text = known[number]
    text[HEAD], text[SECOND], text[TAIL], text[SIZE] = head, second, tail, size
    text[ADDRESS] = base + start
    text[HASH] = _text_hash(base + start, size, head, second, tail)


@njit(nogil=True)
def _look_up(offsets, base, end, codes, place, table, known):  # type: ignore[no-untyped-def]
    """Numbers of texts from ``place`` on; returns where one stands that is not known yet."""
    last = np.uint64(table.size - 1)
    number = old_head = old_second = old_tail = old_address = np.uint64(0)
    old_size = np.uint64(0xFFFFFFFFFFFFFFFF)  # no text's
    address = base + np.uint64(offsets[place])
    for row in range(place, codes.size):
        next_address = base + np.uint64(offsets[row + 1])
        size = next_address - address
        head, second, tail = _text_words(address, size, end)
        other = (head ^ old_head) | (second ^ old_second) | (tail ^ old_tail) | (size ^ old_size)
        if other or (size > WORDS_BYTES and not _middle_equal(address, old_address, size)):
            # Of the row before, not of its number: that one is known only after its look-up.
            old_head, old_second, old_tail, old_size = head, second, tail, size
            old_address = address
            slot = _text_hash(address, size, head, second, tail) & last
            while True:
                held = table[slot]
                if held == 0:
                    return row
                number = np.uint64(held) - np.uint64(1)
                other = (head ^ known[number, HEAD]) | (second ^ known[number, SECOND])
                other |= (tail ^ known[number, TAIL]) | (size ^ known[number, SIZE])
                if not other and (
                    size <= WORDS_BYTES or _middle_equal(address, known[number, ADDRESS], size)
                ):
                    break
                slot = (slot + np.uint64(1)) & last
        codes[row] = number
        address = next_address
    return codes.size


@njit(nogil=True)
def _number_texts(offsets, base, start, codes, firsts, seeds):  # type: ignore[no-untyped-def]
    """A text of up to 24 bytes is three words and its size: these lie by its number, so that no
    text seen before is read again. Of longer ones the middle is.
    """
    slots = SLOTS
    while slots < 4 * seeds:
        slots *= 4
    known = np.empty((slots // 2, TEXT_WORDS), np.uint64)
    for seed in range(seeds):
        _add_text(offsets, base, firsts[seed], known, seed)
    table = _spread(known[:, HASH], seeds, slots)
    end = base + np.uint64(offsets[offsets.size - 1])
    rows = offsets[start : start + codes.size + 1]
    count = seeds
    place = 0
    while True:
        place = _look_up(rows, base, end, codes, place, table, known)
        if place == codes.size:
            return count
        if count == known.shape[0]:
            larger = np.empty((4 * count, TEXT_WORDS), np.uint64)
            larger[:count] = known
            known = larger
            table = _spread(known[:, HASH], count, 8 * count)
        _add_text(offsets, base, start + place, known, count)
        _insert(table, known[count, HASH], count)
        firsts[count] = start + place
        codes[place] = count
        count += 1
        place += 1


@njit(types.int64(INTS, WORD, INT, OUT_CODES, OUT_INTS, INT), cache=True, nogil=True)
def number_texts(offsets: Any, base: Any, start: Any, codes: Any, firsts: Any, seeds: Any) -> int:
    """Texts from row ``start`` on into ``codes``; returns how many different ones there are.

    ``offsets`` (all rows + 1) count from the address ``base``. ``firsts`` takes the row in which
    each first stands; the first ``seeds`` are known before.
    """
    return _number_texts(offsets, base, start, codes, firsts, seeds)  # type: ignore[no-any-return]


@njit(types.int64(INTS32, WORD, INT, OUT_CODES, OUT_INTS, INT), cache=True, nogil=True)
def number_short_texts(
    offsets: Any, base: Any, start: Any, codes: Any, firsts: Any, seeds: Any
) -> int:
    """The same for offsets of 32 bits."""
    return _number_texts(offsets, base, start, codes, firsts, seeds)  # type: ignore[no-any-return]


@njit(types.int64(INTS, OUT_CODES, OUT_INTS), cache=True, nogil=True)
def number_words(values: Any, codes: Any, firsts: Any) -> int:
    """The same of integers (rows,)."""
    hashes = np.empty(firsts.size, np.uint64)
    table = np.zeros(SLOTS, np.uint32)
    last = np.uint64(SLOTS - 1)
    count = 0
    for row in range(codes.size):
        value = values[row]
        found = _mixed(np.uint64(value))
        slot = found & last
        while True:
            number = np.int64(table[slot]) - 1
            if number < 0:
                if 2 * (count + 1) > table.size:
                    table = _spread(hashes, count, 4 * table.size)
                    last = np.uint64(table.size - 1)
                    slot = found & last
                    continue
                table[slot] = count + 1
                hashes[count] = found
                firsts[count] = row
                number = np.int64(count)
                count += 1
                break
            if values[firsts[number]] == value:
                break
            slot = (slot + np.uint64(1)) & last
        codes[row] = number
    return count


@njit(types.int64(INTS, INT, INT, OUT_CODES, OUT_INTS), cache=True, nogil=True)
def number_near(values: Any, low: Any, high: Any, codes: Any, firsts: Any) -> int:
    """The same of integers between ``low`` and ``high``, inclusive, by a table of them all."""
    table = np.zeros(high - low + 1, np.uint32)
    count = 0
    for row in range(codes.size):
        place = values[row] - low
        if table[place] == 0:
            firsts[count] = row
            count += 1
            table[place] = np.uint32(count)
        codes[row] = table[place] - np.uint32(1)
    return count


@njit(VOID(INTS, OUT_INTS), cache=True, nogil=True)
def find_range(values: Any, ends: Any) -> None:
    """Smallest and largest of at least one integer into ``ends`` (2,), in one pass."""
    low = high = values[0]
    for row in range(values.size):
        low = min(values[row], low)
        high = max(values[row], high)
    ends[0], ends[1] = low, high


@njit(VOID(INTS, INT, OUT_CODES), cache=True, nogil=True)
def subtract(values: Any, low: Any, codes: Any) -> None:
    """Distances from ``low``, which fit."""
    for row in range(values.size):
        codes[row] = np.uint32(values[row] - low)


@njit(VOID(INTS, INT, INT, OUT_INTS), cache=True, nogil=True)
def floor_ticks(ticks: Any, width: Any, origin: Any, starts: Any) -> None:
    """The start of each tick's bucket; infinite times (the ends of int64) stay as they are.

    A division takes as long as ten rows of the same bucket, so the last bucket is remembered.
    """
    low = high = 0
    for row in range(ticks.size):
        tick = ticks[row]
        if low <= tick < high:
            starts[row] = low
        elif tick in (np.iinfo(np.int64).min, np.iinfo(np.int64).max):
            starts[row] = tick
        else:
            # numba's floor division is Python's: times before the origin round down too.
            low = (tick - origin) // width * width + origin
            high = low + width
            starts[row] = low
