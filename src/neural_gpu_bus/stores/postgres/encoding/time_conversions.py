"""Dates, times, moments and spans of time to PostgreSQL's, a column at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.encoding.scalar_conversions import known, wire
from neural_gpu_bus.stores.postgres.encoding.wire_source import Array, Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import EPOCH_DAYS, EPOCH_US

#: From 4713-01-01 BC, in days and microseconds since 1970 (datatype/timestamp.h, MIN_TIMESTAMP).
DATE_MIN_DAYS = -2_451_545 + EPOCH_DAYS
DATE_END_DAYS = 2_145_031_949 + EPOCH_DAYS
TIMESTAMP_MIN_US = -211_813_488_000_000_000 + EPOCH_US
#: An int64 of microseconds since 1970 ends before END_TIMESTAMP does.
TIMESTAMP_MAX_US = np.iinfo(np.int64).max

#: Digits of a second that PostgreSQL holds; a type's modifier may say fewer.
_DIGITS_MAX = 6

#: timestamp.c, ``interval_send``, date.c; and Arrow's columnar format, "Interval".
_TIME_WITH_ZONE = np.dtype([("time_us", ">i8"), ("west_s", ">i4")])
_INTERVAL = np.dtype([("time_us", ">i8"), ("days", ">i4"), ("months", ">i4")])
_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("time_ns", "<i8")])
assert _INTERVAL.itemsize == _MONTH_DAY_NANO.itemsize == 16  # noqa: S101

_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def date(source: Source) -> WireColumn:
    """Days."""
    if pa.types.is_date32(source.array.type):
        days = known(source, source.fixed("i4").astype(np.int64))
    else:
        milliseconds = known(source, source.fixed("i8"))
        days, rest = np.divmod(milliseconds, 86_400_000)
        source.refuse_where(rest != 0, "is no whole day", "store it in a timestamp column")
    source.refuse_where(
        (days < DATE_MIN_DAYS) | (days >= DATE_END_DAYS),
        "is beyond PostgreSQL's dates (4713 BC to 5874897)",
        "mend the value or make it NULL",
    )
    return wire((days - EPOCH_DAYS).astype(np.int32), source.valid)


def timestamp(source: Source) -> WireColumn:
    """Moments, with a zone or without."""
    values, unit = known(source, source.fixed("i8")), source.array.type.unit
    if unit == "ns":
        values, rest = np.divmod(values, 1_000)
        source.refuse_where(
            rest != 0,
            f"is no whole microsecond, and {source.target.type.text} holds no more",
            "let the column be bigint (nanoseconds since 1970), or round the values first",
        )
    else:
        scale = _UNITS_US[unit]
        source.refuse_where(
            (values < TIMESTAMP_MIN_US // scale) | (values > TIMESTAMP_MAX_US // scale),
            "is beyond PostgreSQL's timestamps (4713 BC to 294276)",
            "mend the value or make it NULL",
        )
        values = values * scale
    _refuse_finer(source, values)
    return wire(values - EPOCH_US, source.valid)


def time(source: Source) -> WireColumn:
    """Times of a day."""
    unit = source.array.type.unit
    width = source.array.type.bit_width // 8
    values = known(source, source.fixed(f"i{width}").astype(np.int64))
    if unit == "ns":
        values, rest = np.divmod(values, 1_000)
        source.refuse_where(rest != 0, "is no whole microsecond", "round the values first")
    else:
        values = values * _UNITS_US[unit]
    source.refuse_where(
        (values < 0) | (values > 86_400_000_000), "is no time of a day", "mend the value"
    )
    _refuse_finer(source, values)
    return wire(values, source.valid)


def time_with_zone(source: Source) -> WireColumn:
    """Structs of a time of a day and its offset to the east in seconds; PostgreSQL counts to the
    west (date.c, ``timetz_send``).
    """
    rows = len(source.array)
    of_day, offset = source.array.flatten()
    times, offsets = source.of(of_day), source.of(offset)
    valid = source.valid
    for part in (times, offsets):
        bad = booleans(part.array.is_null())
        source.refuse_where(bad, "has a NULL in it", "give both the time and its offset")
    parts = np.zeros(rows, _TIME_WITH_ZONE)
    parts["time_us"] = known(source, times.fixed("i8"))
    parts["west_s"] = -known(source, offsets.fixed("i4"))
    _refuse_finer(source, parts["time_us"])
    return WireColumn(12, parts.view(np.uint8).reshape(rows, 12), valid)


def interval(source: Source) -> WireColumn:
    """Months, days and nanoseconds; or a duration, which has no days for PostgreSQL either."""
    rows = len(source.array)
    parts = np.zeros(rows, _INTERVAL)
    valid = source.valid
    if pa.types.is_duration(source.array.type):
        times, unit = known(source, source.fixed("i8")), source.array.type.unit
    else:
        held = source.fixed(_MONTH_DAY_NANO)
        filled = held if valid is None else np.where(valid, held, np.zeros(1, _MONTH_DAY_NANO))
        parts["months"], parts["days"] = filled["months"], filled["days"]
        times, unit = filled["time_ns"], "ns"
    if unit == "ns":
        times, rest = np.divmod(times, 1_000)
        source.refuse_where(rest != 0, "is no whole microsecond", "round the values first")
    else:
        limit = TIMESTAMP_MAX_US // _UNITS_US[unit]
        source.refuse_where(
            # Not by abs(): the smallest int64 is its own.
            (times < -limit) | (times > limit),
            "is longer than 64 bits of us",
            "mend the value",
        )
        times = times * _UNITS_US[unit]
    _refuse_finer(source, times)
    parts["time_us"] = times
    return WireColumn(16, parts.view(np.uint8).reshape(rows, 16), valid)


def _refuse_finer(source: Source, values_us: Array) -> None:
    """``timestamp(3)`` holds milliseconds: the server would round the rest away."""
    digits = source.target.type.modifier & 0xFFFF
    if digits < _DIGITS_MAX:
        source.refuse_where(
            values_us % 10 ** (_DIGITS_MAX - digits) != 0,
            f"has more digits of a second than {source.target.type.text} holds",
            "round the values first, or let the column have no precision",
        )
