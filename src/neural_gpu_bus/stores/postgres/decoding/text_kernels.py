# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR1714, SIM109
"""Compiled conversions of addresses and strings of bits to the text that the server writes.

Layouts: network_send (family, bits, whether cidr, count, then that many bytes), macaddr_send and
macaddr8_send (the bytes), varbit_send (int32 number of bits, then the bytes, highest bit first).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import BITS, INET
from neural_gpu_bus.stores.postgres.wire.machine_words import byte, i32, load_16, store_8

IPV4, IPV6 = 2, 3
HEAD_BYTES = 4
IPV4_BYTES, IPV6_BYTES = 4, 16

COLON, POINT, SLASH, ZERO, LETTER_A = ord(":"), ord("."), ord("/"), ord("0"), ord("a")


@njit
def _put(to, character):  # type: ignore[no-untyped-def]
    store_8(to, np.uint8(character))
    return to + np.uint64(1)


@njit
def _put_decimal(to, number):  # type: ignore[no-untyped-def]
    """A number below 1,000."""
    if number >= 100:
        to = _put(to, ZERO + number // 100)
    if number >= 10:
        to = _put(to, ZERO + number // 10 % 10)
    return _put(to, ZERO + number % 10)


@njit
def _put_nibble(to, number):  # type: ignore[no-untyped-def]
    return _put(to, ZERO + number if number < 10 else LETTER_A + number - 10)


@njit
def _put_word(to, word):  # type: ignore[no-untyped-def]
    """Up to four digits to base 16."""
    for shift in (12, 8, 4, 0):
        if word >> shift or shift == 0:
            to = _put_nibble(to, (word >> shift) & 15)
    return to


@njit
def _put_ipv4(at, to):  # type: ignore[no-untyped-def]
    for index in range(IPV4_BYTES):
        if index:
            to = _put(to, POINT)
        to = _put_decimal(to, np.int64(byte(at + index)))
    return to


@njit
def _longest_zeros(at):  # type: ignore[no-untyped-def]
    """First of the longest run of words that are zero, and its length; runs of one do not count."""
    best, best_size, size = -1, 1, 0
    for index in range(8):
        size = size + 1 if load_16(np.uint64(at + 2 * index)) == 0 else 0
        if size > best_size:
            best, best_size = index - size + 1, size
    return best, best_size


@njit
def _put_ipv6(at, to):  # type: ignore[no-untyped-def]
    """As inet_net_ntop.c: the longest zeros as ``::``, an IPv4 address inside as such."""
    best, size = _longest_zeros(at)
    last = np.int64(load_16(np.uint64(at + 14)))
    fifth = np.int64(load_16(np.uint64(at + 10)))
    has_ipv4 = best == 0 and (
        size == 6 or (size == 7 and last != 1) or (size == 5 and fifth == 0xFFFF)
    )
    for index in range(8):
        if best >= 0 and index >= best and index < best + size:
            if index == best:
                to = _put(to, COLON)
            continue
        if index:
            to = _put(to, COLON)
        if index == 6 and has_ipv4:
            return _put_ipv4(at + 12, to)
        to = _put_word(to, np.int64(load_16(np.uint64(at + 2 * index))))
    if best >= 0 and best + size == 8:
        to = _put(to, COLON)
    return to


@njit
def _write_inet(at, length, target):  # type: ignore[no-untyped-def]
    if length < HEAD_BYTES:
        return np.int64(-1)
    family, bits, count = byte(at), np.int64(byte(at + 1)), np.int64(byte(at + 3))
    size = IPV4_BYTES if family == IPV4 else IPV6_BYTES
    known = family == IPV4 or family == IPV6
    if not known or count != size or length != HEAD_BYTES + size or bits > 8 * size:
        return np.int64(-1)
    if family == IPV4:
        to = _put_ipv4(at + HEAD_BYTES, target)
    else:
        to = _put_ipv6(at + HEAD_BYTES, target)
    if bits != 8 * size or byte(at + 2):
        to = _put_decimal(_put(to, SLASH), bits)
    return np.int64(to - target)


@njit
def _write_bits(at, target):  # type: ignore[no-untyped-def]
    count = i32(at)
    for index in range(count):
        bit = (byte(at + 4 + (index >> 3)) >> np.uint8(7 - (index & 7))) & np.uint8(1)
        store_8(target + np.uint64(index), np.uint8(ZERO) + bit)
    return count


@njit
def bits_bytes(at, length):  # type: ignore[no-untyped-def]
    """Characters of a string of bits; -1 where the bytes are none."""
    if length < 4:
        return np.int64(-1)
    count = i32(at)
    return count if count >= 0 and length == 4 + (count + 7) // 8 else np.int64(-1)


@njit
def mac_bytes(length):  # type: ignore[no-untyped-def]
    """Characters of a MAC address of 6 or 8 bytes, else -1."""
    return 3 * length - 1 if length == 6 or length == 8 else np.int64(-1)


@njit
def inet_bytes(at, length, scratch):  # type: ignore[no-untyped-def]
    """Characters of an address, -1 where the bytes are none; ``scratch`` is written on."""
    return _write_inet(at, length, scratch)


@njit
def _write_mac(at, length, target):  # type: ignore[no-untyped-def]
    to = target
    for index in range(length):
        if index:
            to = _put(to, COLON)
        number = np.int64(byte(at + index))
        to = _put_nibble(_put_nibble(to, number >> 4), number & 15)
    return np.int64(to - target)


@njit
def write_formatted(layout, at, length, target):  # type: ignore[no-untyped-def]
    """One tested value as the server writes it; how many bytes."""
    if layout == INET:
        return _write_inet(at, length, target)
    if layout == BITS:
        return _write_bits(at, target)
    return _write_mac(at, length, target)
