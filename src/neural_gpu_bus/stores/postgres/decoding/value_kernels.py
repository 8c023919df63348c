# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0917, PLR1714, SIM109
"""Compiled conversions of single values at addresses, for all loops: lengths, NULLs, values."""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.layouts import (
    ANY_WIDTH,
    BAD_BOOL,
    BITS_WIDTH,
    BOOL,
    CHAR,
    DATE,
    DECIMAL,
    FLOAT4,
    FLOAT8,
    HASHED,
    INET_WIDTH,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    IS_INFINITE,
    JSONB,
    MONEY,
    NO_FAULT,
    NUMERIC_FLOAT,
    NUMERIC_TEXT,
    NUMERIC_WIDTH,
    ONE_CHARACTER,
    ONE_OR_MORE,
    OPAQUE,
    OUT_OF_RANGE,
    TIME,
    TIMESTAMP,
    UTC_OFFSET,
    UUID,
)
from neural_gpu_bus.stores.postgres.decoding.numeric_kernels import (
    text_bytes,
    write_decimal,
    write_double,
    write_text,
)
from neural_gpu_bus.stores.postgres.decoding.text_kernels import (
    bits_bytes,
    inet_bytes,
    mac_bytes,
    write_formatted,
)
from neural_gpu_bus.stores.postgres.wire.machine_words import (
    atomic_and_8,
    atomic_or_8,
    byte,
    copy_bytes,
    i32,
    i64,
    load_8,
    load_16,
    load_32,
    load_64,
    store_8,
    store_16,
    store_32,
    store_64,
)
from neural_gpu_bus.stores.postgres.wire.types import EPOCH_DAYS, EPOCH_US

DAY_US = 86_400_000_000

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
#: Later than 294247-01-10 does not fit 64 bits of microseconds since 1970.
TIMESTAMP_US_MAX = INT64_MAX - EPOCH_US

NAN_32 = np.uint32(0x7FC00000)
NAN_64 = np.uint64(0x7FF8000000000000)


@njit
def _formatted_bytes(at, length, width, scratch):  # type: ignore[no-untyped-def]
    """Bytes of the text that the server would write; -1 where the value is malformed."""
    if width == NUMERIC_WIDTH:
        return text_bytes(at, length)
    if width == INET_WIDTH:
        return inet_bytes(at, length, scratch)
    if width == BITS_WIDTH:
        return bits_bytes(at, length)
    return mac_bytes(length)


@njit(forceinline=True)
def text_length(at, length, width, scratch):  # type: ignore[no-untyped-def]
    """Bytes of text in a field that is not NULL; -1 where its length or its bytes are wrong."""
    if width >= 0:
        return np.int64(0 if length == width else -1)
    if width == ANY_WIDTH or width == HASHED:
        return length
    if width == OPAQUE:
        return np.int64(0)
    if width == ONE_OR_MORE:
        return length - 1
    if width == ONE_CHARACTER:
        return np.int64(byte(at) != 0) if length == 1 else np.int64(-1)
    return _formatted_bytes(at, length, width, scratch)


@njit(forceinline=True)
def clear_bit(bitmap, row, shared_first, shared_last):  # type: ignore[no-untyped-def]
    """Clear the row's bit; other threads write the bytes that are shared."""
    place = row >> 3
    bits, mask = bitmap + np.uint64(place), ~(np.uint8(1) << np.uint8(row & 7))
    if place == shared_first or place == shared_last:
        atomic_and_8(bits, mask)
    else:
        store_8(bits, load_8(bits) & mask)


@njit(forceinline=True)
def set_bit(bitmap, row, value, shared_first, shared_last):  # type: ignore[no-untyped-def]
    """Or ``value`` into the row's bit."""
    place = row >> 3
    bits, mask = bitmap + np.uint64(place), value << np.uint8(row & 7)
    if place == shared_first or place == shared_last:
        atomic_or_8(bits, mask)
    else:
        store_8(bits, load_8(bits) | mask)


@njit(forceinline=True)
def write_null(layout, values, row, parameter):  # type: ignore[no-untyped-def]
    """NaN in floats, zero elsewhere."""
    if layout == FLOAT8 or layout == NUMERIC_FLOAT:
        store_64(values + np.uint64(row * 8), NAN_64)
    elif layout == INT8 or layout == TIMESTAMP or layout == TIME:
        store_64(values + np.uint64(row * 8), np.uint64(0))
    elif layout == FLOAT4:
        store_32(values + np.uint64(row * 4), NAN_32)
    elif layout == INT4 or layout == DATE or layout == UTC_OFFSET:
        store_32(values + np.uint64(row * 4), np.uint32(0))
    elif layout == INT2:
        store_16(values + np.uint64(row * 2), np.uint16(0))
    elif layout == UUID or layout == INTERVAL or layout == MONEY:
        store_64(values + np.uint64(row * 16), np.uint64(0))
        store_64(values + np.uint64(row * 16 + 8), np.uint64(0))
    elif layout == DECIMAL:
        words = np.int64(parameter & np.uint64(255))
        for word in range(words):
            store_64(values + np.uint64(8 * (row * words + word)), np.uint64(0))


@njit(forceinline=True)
def _write_date(at, values, row):  # type: ignore[no-untyped-def]
    days = i32(at)
    if days == INT32_MIN or days == INT32_MAX:
        return IS_INFINITE
    if days > INT32_MAX - EPOCH_DAYS:
        return OUT_OF_RANGE
    store_32(values + np.uint64(row * 4), np.uint32(days + EPOCH_DAYS))
    return NO_FAULT


@njit(forceinline=True)
def _write_timestamp(at, values, row):  # type: ignore[no-untyped-def]
    time_us = i64(at)
    if time_us == INT64_MIN or time_us == INT64_MAX:
        return IS_INFINITE
    if time_us > TIMESTAMP_US_MAX:
        return OUT_OF_RANGE
    store_64(values + np.uint64(row * 8), np.uint64(time_us + EPOCH_US))
    return NO_FAULT


@njit(forceinline=True)
def _write_time(at, values, row):  # type: ignore[no-untyped-def]
    time_us = i64(at)
    if time_us < 0 or time_us >= DAY_US:
        return OUT_OF_RANGE
    store_64(values + np.uint64(row * 8), np.uint64(time_us))
    return NO_FAULT


@njit(forceinline=True)
def _write_bool(at, values, row, shared_first, shared_last):  # type: ignore[no-untyped-def]
    value = byte(at)
    if value > 1:
        return BAD_BOOL
    set_bit(values, row, value, shared_first, shared_last)
    return NO_FAULT


@njit
def _write_interval(at, target):  # type: ignore[no-untyped-def]
    """Months, days and nanoseconds; infinite ones (PostgreSQL 17) have all at their ends."""
    time_us, days, months = i64(at), i32(at + 8), i32(at + 12)
    last = time_us == INT64_MAX and days == INT32_MAX and months == INT32_MAX
    first = time_us == INT64_MIN and days == INT32_MIN and months == INT32_MIN
    if last or first:
        return IS_INFINITE
    if time_us > INT64_MAX // 1000 or time_us < -(INT64_MAX // 1000):
        return OUT_OF_RANGE
    store_32(target, np.uint32(months))
    store_32(target + np.uint64(4), np.uint32(days))
    store_64(target + np.uint64(8), np.uint64(time_us * 1000))
    return NO_FAULT


@njit
def _write_rare(layout, at, length, values, row, parameter, scratch):  # type: ignore[no-untyped-def]
    """Layouts that take a loop or more than one word."""
    if layout == DECIMAL:
        words = np.int64(parameter & np.uint64(255))
        return write_decimal(at, length, values + np.uint64(8 * row * words), parameter)
    if layout == NUMERIC_FLOAT:
        return write_double(at, length, values + np.uint64(8 * row), scratch)
    if layout == UTC_OFFSET:
        store_32(values + np.uint64(4 * row), np.uint32(-i32(at)))
        return NO_FAULT
    target = values + np.uint64(16 * row)
    if layout == INTERVAL:
        return _write_interval(at, target)
    if layout == MONEY:
        cents = i64(at)
        store_64(target, np.uint64(cents))
        store_64(target + np.uint64(8), np.uint64(cents >> 63))
        return NO_FAULT
    copy_bytes(target, np.uint64(at), np.uint64(16))
    return NO_FAULT


@njit(forceinline=True)
def write_fixed(  # type: ignore[no-untyped-def]
    layout, at, length, values, row, parameter, scratch, shared_first, shared_last
):
    """One value of fixed width; returns its fault. The most frequent layouts first."""
    address = np.uint64(at)
    fault = NO_FAULT
    if layout == FLOAT8 or layout == INT8:
        store_64(values + np.uint64(row * 8), load_64(address))
    elif layout == TIMESTAMP:
        fault = _write_timestamp(at, values, row)
    elif layout == FLOAT4 or layout == INT4:
        store_32(values + np.uint64(row * 4), load_32(address))
    elif layout == DATE:
        fault = _write_date(at, values, row)
    elif layout == INT2:
        store_16(values + np.uint64(row * 2), load_16(address))
    elif layout == BOOL:
        fault = _write_bool(at, values, row, shared_first, shared_last)
    elif layout == TIME:
        fault = _write_time(at, values, row)
    else:
        fault = _write_rare(layout, at, length, values, row, parameter, scratch)
    return fault


@njit(forceinline=True)
def write_variable(layout, at, length, target):  # type: ignore[no-untyped-def]
    """One value's bytes to an address; how many, or -1 for a JSONB version nobody defined."""
    if layout > CHAR:
        if layout == NUMERIC_TEXT:
            return write_text(at, target)
        return write_formatted(layout, at, length, target)
    if layout == JSONB:
        if byte(at) != 1:
            return np.int64(-1)
        at += 1
        length -= 1
    elif layout == CHAR and byte(at) == 0:
        length = np.int64(0)
    copy_bytes(target, np.uint64(at), np.uint64(length))
    return length
