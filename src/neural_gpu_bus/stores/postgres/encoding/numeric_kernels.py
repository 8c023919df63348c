"""Compiled loops that write PostgreSQL's numeric: digits to the base of 10,000 (numeric.c,
``numeric_send``: int16 digits, int16 weight of the first, uint16 sign, uint16 decimals shown).
"""

from __future__ import annotations

import numba
import numpy as np

#: What is wrong with a value: nothing, too many digits before the point, too many behind it.
FITS, TOO_LARGE, TOO_FINE = range(3)

#: Digits of 256 bits and one limb more, to the base of 10,000.
_DIGITS_MAX = 24
_NEGATIVE = 0x4000


@numba.njit(nogil=True, cache=True)
def _digits_of(limbs, raised, digits):  # type: ignore[no-untyped-def]
    """Digits of ``limbs * raised`` (limbs: 32 bits each, lowest first, and one to spare), lowest
    first, into ``digits``; their number.
    """
    top = 0
    carry = np.uint64(0)
    for index in range(limbs.size):
        part = limbs[index] * raised + carry
        limbs[index] = part & np.uint64(0xFFFFFFFF)
        carry = part >> np.uint64(32)
        if limbs[index]:
            top = index + 1
    count = 0
    while top > 0:
        rest = np.uint64(0)
        for back in range(top):
            index = top - 1 - back
            part = (rest << np.uint64(32)) | limbs[index]
            limbs[index] = part // np.uint64(10_000)
            rest = part - limbs[index] * np.uint64(10_000)
        digits[count] = rest
        count += 1
        while top > 0 and limbs[top - 1] == 0:
            top -= 1
    return count


@numba.njit(nogil=True, cache=True)
def _short_digits_of(value, raised, digits):  # type: ignore[no-untyped-def]
    """The same for a product of less than 64 bits."""
    value *= raised
    count = 0
    while value:
        rest = value // np.uint64(10_000)
        digits[count] = value - rest * np.uint64(10_000)
        value = rest
        count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _limbs_of(words, limbs):  # type: ignore[no-untyped-def]
    """The value's size in ``limbs``; True where it was negative (two's complement)."""
    negative = words[words.size - 1] >> np.uint32(31) != 0
    carry = np.uint64(1)
    for index in range(words.size):
        word = np.uint64(words[index])
        if negative:
            word = (~word & np.uint64(0xFFFFFFFF)) + carry
            carry = word >> np.uint64(32)
            word &= np.uint64(0xFFFFFFFF)
        limbs[index] = word
    limbs[words.size] = 0
    return negative


@numba.njit(nogil=True, cache=True)
def _verdict(digits, low, count, weight, limits):  # type: ignore[no-untyped-def]
    """Whether ``numeric(p, s)`` holds it: ``limits`` are its digits before the point
    and behind it.
    """
    first, length = digits[count - 1], 1
    while first >= 10:
        first //= np.uint64(10)
        length += 1
    if 4 * weight + length > limits[0]:
        return TOO_LARGE
    last, trailing = digits[low], 0
    while last % np.uint64(10) == 0:
        last //= np.uint64(10)
        trailing += 1
    behind = -4 * (weight - (count - 1 - low)) - trailing
    return TOO_FINE if behind > limits[1] else FITS


@numba.njit(nogil=True, cache=True)
def _put_16(out, at, value):  # type: ignore[no-untyped-def]
    out[at] = np.uint8((value >> 8) & 255)
    out[at + 1] = np.uint8(value & 255)


@numba.njit(nogil=True, cache=True)
def put_numerics(words, valid, scale, limits, out, offsets, verdicts):  # type: ignore[no-untyped-def]  # noqa: PLR0917  # numba takes no keywords
    """Write ``words`` (rows, limbs) times 10**-scale into ``out`` at ``offsets``, which are set.

    ``valid``: empty where nothing is NULL. ``limits``: digits before and behind the point.
    """
    limbs = np.zeros(words.shape[1] + 1, np.uint64)
    digits = np.zeros(_DIGITS_MAX, np.uint64)
    groups = -((-scale) // 4)
    raised = np.uint64(10 ** (4 * groups - scale))
    shown = max(scale, 0)
    at = 0
    for row in range(words.shape[0]):
        offsets[row] = at
        if valid.size and not valid[row]:
            continue
        negative = _limbs_of(words[row], limbs)
        short = limbs[1] < np.uint64(1 << 20)
        for index in range(2, limbs.size):
            short = short and limbs[index] == 0
        if short:
            count = _short_digits_of(limbs[0] | (limbs[1] << np.uint64(32)), raised, digits)
        else:
            count = _digits_of(limbs, raised, digits)
        low = 0
        while low < count and digits[low] == 0:
            low += 1
        weight = count - 1 - groups if count else 0
        if count:
            verdicts[row] = _verdict(digits, low, count, weight, limits)
        _put_16(out, at, count - low)
        _put_16(out, at + 2, weight)
        _put_16(out, at + 4, _NEGATIVE if negative and count else 0)
        _put_16(out, at + 6, shown)
        at += 8
        for index in range(count - low):
            _put_16(out, at, np.int64(digits[count - 1 - index]))
            at += 2
    offsets[words.shape[0]] = at
