# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0917, PLR1714, SIM109
"""Compiled conversions of numeric's binary form: to decimals, doubles and the server's own text.

Layout (numeric_send in numeric.c): int16 number of digits to base 10,000, int16 weight of the
first (its power of 10,000), uint16 sign, uint16 digits shown behind the point, then the digits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import (
    BAD_NUMERIC,
    INEXACT,
    NO_FAULT,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    bits_of,
    i16,
    load_16,
    load_own_64,
    multiply_add,
    store_8,
    store_64,
    strtod,
)

NEGATIVE, NAN, INFINITE, NEGATIVE_INFINITE = 0x4000, 0xC000, 0xD000, 0xF000
HEAD_BYTES = 8
SHOWN_DIGITS_MAX = 0x3FFF

#: All that 64 bits hold.
POWERS = np.array([10**power for power in range(19)], np.int64)
#: All that a double holds exactly: with a whole number up to 2**53 one multiplication or division
#: rounds correctly.
EXACT_POWERS = np.array([10.0**power for power in range(23)])
EXACT_WHOLE_MAX = 1 << 53

#: A double's rounding is settled by 767 digits and by whether any follow (IEEE 754).
DOUBLE_DIGITS_MAX = 800

ZERO, POINT, MINUS, LETTER_E = ord("0"), ord("."), ord("-"), ord("e")
NOT_A_NUMBER_TEXT = np.frombuffer(b"NaN", np.uint8)
INFINITE_TEXT = np.frombuffer(b"-Infinity", np.uint8)


@njit(forceinline=True)
def _unsigned(at):  # type: ignore[no-untyped-def]
    return np.int64(load_16(np.uint64(at)))


@njit(forceinline=True)
def _is_whole(at, length):  # type: ignore[no-untyped-def]
    """Whether the bytes are a numeric, as far as its head says."""
    if length < HEAD_BYTES or length != HEAD_BYTES + 2 * i16(at):
        return False
    sign = _unsigned(at + 4)
    special = sign == NAN or sign == INFINITE or sign == NEGATIVE_INFINITE
    return (sign == 0 or sign == NEGATIVE or special) and _unsigned(at + 6) <= SHOWN_DIGITS_MAX


@njit(forceinline=True)
def _digits_in(group):  # type: ignore[no-untyped-def]
    """Decimal digits of one digit to base 10,000."""
    return np.int64(1) + (group >= 10) + (group >= 100) + (group >= 1000)


@njit(forceinline=True)
def _stripped(at):  # type: ignore[no-untyped-def]
    """Address of the first digit that is not zero, how many up to the last such, weight."""
    count, weight, first = i16(at), i16(at + 2), at + HEAD_BYTES
    while count > 0 and _unsigned(first) == 0:
        first, count, weight = first + 2, count - 1, weight - 1
    while count > 0 and _unsigned(first + 2 * (count - 1)) == 0:
        count -= 1
    return first, count, weight


@njit
def _store_words(target, words, magnitude, negative):  # type: ignore[no-untyped-def]
    """A number of 63 bits as two's complement of several words."""
    value = -magnitude if negative else magnitude
    store_64(target, np.uint64(value))
    for word in range(1, words):
        store_64(target + np.uint64(8 * word), np.uint64(value >> 63))


@njit
def _multiply_words(target, words, factor, addend):  # type: ignore[no-untyped-def]
    """``target * factor + addend``, without a sign."""
    carry = np.uint64(addend)
    for word in range(words):
        place = target + np.uint64(8 * word)
        carry, low = multiply_add(load_own_64(place), np.uint64(factor), carry)
        store_64(place, low)


@njit
def _negate_words(target, words):  # type: ignore[no-untyped-def]
    carry = np.uint64(1)
    for word in range(words):
        place = target + np.uint64(8 * word)
        low = ~load_own_64(place) + carry
        carry = np.uint64(carry == 1 and low == 0)
        store_64(place, low)


@njit
def write_decimal(at, length, target, parameter):  # type: ignore[no-untyped-def]
    """The value times ten to the power of its scale to an address; see ``decimal_parameter``."""
    words = np.int64(parameter & np.uint64(255))
    precision = np.int64((parameter >> np.uint64(8)) & np.uint64(255))
    scale = np.int64(parameter >> np.uint64(16)) - 32_768
    if not _is_whole(at, length):
        return BAD_NUMERIC
    sign = _unsigned(at + 4)
    if sign != 0 and sign != NEGATIVE:
        return NOT_A_NUMBER
    first, count, weight = _stripped(at)
    if count == 0:
        _store_words(target, words, np.int64(0), False)
        return NO_FAULT
    lead, last = _unsigned(first), _unsigned(first + 2 * (count - 1))
    if lead > 9999 or last > 9999:
        return BAD_NUMERIC
    digits = 4 * weight + _digits_in(lead) + scale
    # Places that the last digit to base 10,000 is to be moved to the left.
    shift = 4 * (weight - count + 1) + scale
    if shift < 0:
        if shift <= -4 or last % POWERS[-shift] != 0:
            return INEXACT
        last, step = last // POWERS[-shift], POWERS[4 + shift]
        shift = np.int64(0)
    else:
        step = np.int64(10_000)
    if digits > precision:
        return OUT_OF_RANGE
    if digits <= 18:
        value = np.int64(0)
        for index in range(count - 1):
            group = _unsigned(first + 2 * index)
            if group > 9999:
                return BAD_NUMERIC
            value = value * 10_000 + group
        value = (value * step + last) * POWERS[shift]
        _store_words(target, words, value, sign == NEGATIVE)
        return NO_FAULT
    return _write_long(first, count, last, step, shift, target, words, sign == NEGATIVE)


@njit
def _write_long(first, count, last, step, shift, target, words, negative):  # type: ignore[no-untyped-def]
    """The same where the value needs more than 64 bits."""
    _store_words(target, words, np.int64(0), False)
    for index in range(count - 1):
        group = _unsigned(first + 2 * index)
        if group > 9999:
            return BAD_NUMERIC
        _multiply_words(target, words, 10_000, group)
    # The digits before the last were multiplied by 10,000 each; the last one has its own step.
    _multiply_words(target, words, step, last)
    while shift > 0:
        part = min(shift, np.int64(18))
        _multiply_words(target, words, POWERS[part], 0)
        shift -= part
    if negative:
        _negate_words(target, words)
    return NO_FAULT


@njit
def write_double(at, length, target, scratch):  # type: ignore[no-untyped-def]
    """The nearest double to an address, as the server's own cast gives it."""
    if not _is_whole(at, length):
        return BAD_NUMERIC
    sign = _unsigned(at + 4)
    if sign == NAN:
        store_64(target, bits_of(np.nan))
        return NO_FAULT
    if sign == INFINITE or sign == NEGATIVE_INFINITE:
        store_64(target, bits_of(np.inf if sign == INFINITE else -np.inf))
        return NO_FAULT
    first, count, weight = _stripped(at)
    if count == 0:
        store_64(target, np.uint64(0))
        return NO_FAULT
    value, fault = _nearest(first, count, weight, scratch)
    if fault == NO_FAULT:
        store_64(target, bits_of(-value if sign == NEGATIVE else value))
    return fault


@njit
def _nearest(first, count, weight, scratch):  # type: ignore[no-untyped-def]
    """The nearest double of digits that are not zero, and a fault."""
    if count <= 5:
        whole = np.int64(0)
        for index in range(count - 1):
            group = _unsigned(first + 2 * index)
            if group > 9999:
                return 0.0, BAD_NUMERIC
            whole = whole * 10_000 + group
        last, step = _unsigned(first + 2 * (count - 1)), np.int64(10_000)
        if last > 9999:
            return 0.0, BAD_NUMERIC
        power = 4 * (weight - count + 1)
        while last % 10 == 0:
            last, step, power = last // 10, step // 10, power + 1
        if whole <= EXACT_WHOLE_MAX // 10_000 and -22 <= power <= 22:
            whole = whole * step + last
            if power < 0:
                return np.float64(whole) / EXACT_POWERS[-power], NO_FAULT
            return np.float64(whole) * EXACT_POWERS[power], NO_FAULT
    to = scratch
    shown = min(count, np.int64(DOUBLE_DIGITS_MAX // 4))
    for index in range(count):
        group = _unsigned(first + 2 * index)
        if group > 9999:
            return 0.0, BAD_NUMERIC
        if index < shown:
            to = _put_group(to, group)
    power = 4 * (weight - shown + 1)
    if shown < count:
        store_8(to, np.uint8(ZERO + 1))
        to, power = to + np.uint64(1), power - 1
    store_8(to, np.uint8(LETTER_E))
    to += np.uint64(1)
    if power < 0:
        store_8(to, np.uint8(MINUS))
        to, power = to + np.uint64(1), -power
    to = _put_group(_put_group(to, power // 10_000), power % 10_000)
    store_8(to, np.uint8(0))
    value = strtod(scratch)
    # The server's cast refuses both.
    return value, OUT_OF_RANGE if value == np.inf or value == 0.0 else NO_FAULT


@njit(forceinline=True)
def _put_group(to, group):  # type: ignore[no-untyped-def]
    """Four decimal digits to an address."""
    store_8(to, np.uint8(ZERO + group // 1000))
    store_8(to + np.uint64(1), np.uint8(ZERO + group // 100 % 10))
    store_8(to + np.uint64(2), np.uint8(ZERO + group // 10 % 10))
    store_8(to + np.uint64(3), np.uint8(ZERO + group % 10))
    return to + np.uint64(4)


@njit
def text_bytes(at, length):  # type: ignore[no-untyped-def]
    """Bytes of the server's own text for it; -1 where it is no numeric."""
    if not _is_whole(at, length):
        return np.int64(-1)
    count, weight, sign, shown = i16(at), i16(at + 2), _unsigned(at + 4), _unsigned(at + 6)
    if sign == NAN:
        return np.int64(3)
    if sign == INFINITE or sign == NEGATIVE_INFINITE:
        return np.int64(8 + (sign == NEGATIVE_INFINITE))
    lead = _unsigned(at + HEAD_BYTES) if count > 0 else np.int64(0)
    for index in range(count):
        if _unsigned(at + HEAD_BYTES + 2 * index) > 9999:
            return np.int64(-1)
    size = np.int64(sign == NEGATIVE)
    size += 4 * weight + _digits_in(lead) if weight >= 0 else 1
    return size + (shown + 1 if shown > 0 else 0)


@njit
def write_text(at, to):  # type: ignore[no-untyped-def]
    """The server's own text (get_str_from_var in numeric.c) to an address; how many bytes."""
    start = to
    count, weight, sign, shown = i16(at), i16(at + 2), _unsigned(at + 4), _unsigned(at + 6)
    if sign != 0 and sign != NEGATIVE:
        return _write_special(sign, to)
    if sign == NEGATIVE:
        store_8(to, np.uint8(MINUS))
        to += np.uint64(1)
    if weight < 0:
        store_8(to, np.uint8(ZERO))
        to += np.uint64(1)
    for index in range(weight + 1):
        group = _unsigned(at + HEAD_BYTES + 2 * index) if index < count else np.int64(0)
        digits = _digits_in(group) if index == 0 else 4
        for place in range(digits - 1, -1, -1):
            store_8(to, np.uint8(ZERO + group // POWERS[place] % 10))
            to += np.uint64(1)
    if shown > 0:
        store_8(to, np.uint8(POINT))
        to += np.uint64(1)
    for place in range(shown):
        index = weight + 1 + place // 4
        inside = index >= 0 and index < count
        group = _unsigned(at + HEAD_BYTES + 2 * index) if inside else np.int64(0)
        store_8(to, np.uint8(ZERO + group // POWERS[3 - place % 4] % 10))
        to += np.uint64(1)
    return np.int64(to - start)


@njit
def _write_special(sign, to):  # type: ignore[no-untyped-def]
    if sign == NAN:
        for index in range(3):
            store_8(to + np.uint64(index), NOT_A_NUMBER_TEXT[index])
        return np.int64(3)
    skipped = 0 if sign == NEGATIVE_INFINITE else 1
    for index in range(skipped, 9):
        store_8(to + np.uint64(index - skipped), INFINITE_TEXT[index])
    return np.int64(9 - skipped)
