# Compiled loops take plain arrays.
# ruff: noqa: PLR0917
"""SipHash-2-4 with 128 bits of the columns that name a row, as their bytes came.

Two rows with one hash would be taken for one row, and keys are what strangers may choose: so a hash
with a secret, of which nobody can find two equal ones (J.-P. Aumasson, D. J. Bernstein, "SipHash: a
fast short-input PRF", 2012; its 128-bit variant as in the authors' reference code). For each column
a word with its length goes before its bytes, which are filled up to whole words: no two keys give
the same words.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.first_compile import say_when_compiling
from neural_gpu_bus.stores.postgres.replication.tuple_kernels import (
    KEY_NOT_SENT,
    NO_TUPLE,
    NOT_SENT,
    OTHER_COLUMNS,
    _faulty,
    _read_tuple,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import byte, load_own_64

say_when_compiling()

#: Of the files whose functions are compiled into these loops; a test says it.
COMPILED_WITH = "ef1e07526bbce31b"

_U64 = np.uint64


@njit(forceinline=True)
def _rotated(word, bits):  # type: ignore[no-untyped-def]
    return word << _U64(bits) | word >> _U64(64 - bits)


@njit(forceinline=True)
def _rounds(v0, v1, v2, v3, count):  # type: ignore[no-untyped-def]
    for _ in range(count):
        v0 += v1
        v2 += v3
        v1 = _rotated(v1, 13) ^ v0
        v3 = _rotated(v3, 16) ^ v2
        v0 = _rotated(v0, 32)
        v2 += v1
        v0 += v3
        v1 = _rotated(v1, 17) ^ v2
        v3 = _rotated(v3, 21) ^ v0
        v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@njit(forceinline=True)
def _begin(first, second):  # type: ignore[no-untyped-def]
    v0, v1 = _U64(0x736F6D6570736575) ^ first, _U64(0x646F72616E646F6D) ^ second
    v2, v3 = _U64(0x6C7967656E657261) ^ first, _U64(0x7465646279746573) ^ second
    return v0, v1 ^ _U64(0xEE), v2, v3


@njit(forceinline=True)
def _absorbed(v0, v1, v2, v3, word):  # type: ignore[no-untyped-def]
    v0, v1, v2, v3 = _rounds(v0, v1, v2, v3 ^ word, 2)
    return v0 ^ word, v1, v2, v3


@njit(forceinline=True)
def _tail(at, length):  # type: ignore[no-untyped-def]
    """Up to seven bytes, little-endian."""
    word = _U64(0)
    for place in range(length):
        word |= _U64(byte(at + place)) << _U64(8 * place)
    return word


@njit(forceinline=True)
def _bytes_absorbed(v0, v1, v2, v3, at, length):  # type: ignore[no-untyped-def]
    """Whole words of eight bytes; the rest is the caller's."""
    for place in range(0, length - 7, 8):
        v0, v1, v2, v3 = _absorbed(v0, v1, v2, v3, load_own_64(_U64(at + place)))
    return v0, v1, v2, v3


@njit(forceinline=True)
def _ended(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    v0, v1, v2, v3 = _rounds(v0, v1, v2 ^ _U64(0xEE), v3, 4)
    low = v0 ^ v1 ^ v2 ^ v3
    v0, v1, v2, v3 = _rounds(v0, v1 ^ _U64(0xDD), v2, v3, 4)
    return low, v0 ^ v1 ^ v2 ^ v3


@njit("UniTuple(uint64, 2)(uint8[::1], uint64, uint64)", nogil=True, cache=True)
def siphash_128(data, first, second):  # type: ignore[no-untyped-def]
    """The hash of plain bytes, low and high half, by the secret's two halves."""
    at, length = np.int64(data.ctypes.data), np.int64(data.size)
    v0, v1, v2, v3 = _begin(first, second)
    v0, v1, v2, v3 = _bytes_absorbed(v0, v1, v2, v3, at, length)
    last = _tail(at + (length & ~np.int64(7)), length & np.int64(7))
    last |= _U64(length & np.int64(0xFF)) << _U64(56)
    v0, v1, v2, v3 = _absorbed(v0, v1, v2, v3, last)
    return _ended(v0, v1, v2, v3)


@njit(
    "boolean(uint8[::1], int64[::1], int64[::1], int64, int64[::1], uint64[::1], "
    "uint64[:, ::1], int64[::1])",
    nogil=True,
    cache=True,
)
def hash_keys(buffer, tuples, others, columns, places, secret, hashes, answer):  # type: ignore[no-untyped-def]
    """Hashes of the tuples' columns at some places; a value that was not sent is taken from the
    tuple in ``others``. False where a row is wrong, and then ``answer`` says how.
    """
    base = np.int64(buffer.ctypes.data)
    addresses, lengths = np.empty(columns, np.int64), np.empty(columns, np.int64)
    other_addresses, other_lengths = np.empty(columns, np.int64), np.empty(columns, np.int64)
    kinds = np.empty(columns, np.uint8)
    for row in range(tuples.size):
        if tuples[row] < 0:
            _faulty(answer, NO_TUPLE, row, -1)
            return False
        if not _read_tuple(base + tuples[row], columns, addresses, lengths, kinds):
            _faulty(answer, OTHER_COLUMNS, row, -1)
            return False
        has_other = False
        v0, v1, v2, v3 = _begin(secret[0], secret[1])
        for place in places:
            at, length = addresses[place], lengths[place]
            if length == NOT_SENT:
                if not has_other:
                    if others[row] < 0 or not _read_tuple(
                        base + others[row], columns, other_addresses, other_lengths, kinds
                    ):
                        _faulty(answer, KEY_NOT_SENT, row, place)
                        return False
                    has_other = True
                at, length = other_addresses[place], other_lengths[place]
                if length < 0:
                    _faulty(answer, KEY_NOT_SENT, row, place)
                    return False
            v0, v1, v2, v3 = _absorbed(v0, v1, v2, v3, _U64(length))
            if length > 0:
                v0, v1, v2, v3 = _bytes_absorbed(v0, v1, v2, v3, at, length)
                rest = length & np.int64(7)
                if rest:
                    word = _tail(at + length - rest, rest)
                    v0, v1, v2, v3 = _absorbed(v0, v1, v2, v3, word)
        hashes[row, 0], hashes[row, 1] = _ended(v0, v1, v2, v3)
    return True
