"""Random tables of every type that is written, with NULLs, as slices of larger arrays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
AWARE = st.integers(-8_520_336_000_000_000, 8_835_984_000_000_000).map(
    lambda us: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
)
NAIVE = AWARE.map(lambda time: time.replace(tzinfo=None))

SPANS = st.tuples(
    st.integers(-999, 999), st.integers(-9999, 9999), st.integers(-(10**15), 10**15)
).map(lambda parts: pa.MonthDayNano([parts[0], parts[1], parts[2] * 1000]))
DECADES = dt.timedelta(days=50_000)
RECTANGLES = st.tuples(st.integers(0, 2), st.integers(0, 3)).flatmap(
    lambda shape: st.lists(
        st.lists(st.none() | st.integers(-9, 9), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)
MAPS = st.dictionaries(TEXT, st.none() | TEXT, max_size=3).map(lambda pairs: list(pairs.items()))
PAIRS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2)


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    """All that a decimal of that many digits holds, small ones often."""
    limit = 10**digits - 1
    sizes = st.integers(-limit, limit) | st.integers(-99_999, 99_999).filter(
        lambda size: abs(size) <= limit
    )
    return sizes.map(lambda size: Decimal(size).scaleb(-scale, Context(prec=100)))


def _lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.none() | values, max_size=4)


#: Arrow type, type of the PostgreSQL column, values.
COLUMNS = [
    (pa.bool_(), "bool", st.booleans()),
    (pa.int8(), "int2", st.integers(-128, 127)),
    (pa.int16(), "int2", st.integers(-(2**15), 2**15 - 1)),
    (pa.int64(), "int4", st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), "int8", st.integers(-(2**63), 2**63 - 1)),
    (pa.uint32(), "int8", st.integers(0, 2**32 - 1)),
    (pa.uint64(), "int8", st.integers(0, 2**63 - 1)),
    (pa.int32(), "float8", st.integers(-(2**31), 2**31 - 1)),
    (pa.float32(), "float4", st.floats(width=32, allow_nan=False)),
    (pa.float32(), "float8", st.floats(width=32, allow_nan=False)),
    (pa.float64(), "float8", st.floats(allow_nan=False)),
    (pa.date32(), "date", st.dates()),
    (pa.date64(), "date", st.dates()),
    (pa.time64("us"), "time", st.times()),
    (pa.timestamp("us"), "timestamp", NAIVE),
    (pa.timestamp("us", "UTC"), "timestamptz", AWARE),
    (pa.timestamp("ms", "UTC"), "timestamptz", AWARE.map(lambda t: t.replace(microsecond=0))),
    (pa.timestamp("s"), "timestamp", NAIVE.map(lambda t: t.replace(microsecond=0))),
    (pa.string(), "text", TEXT),
    (pa.large_string(), "text", TEXT),
    (pa.string_view(), "text", TEXT),
    (pa.dictionary(pa.int8(), pa.string()), "text", st.sampled_from(["a", "", "zé"])),
    (pa.string(), "jsonb", st.just('{"a": 1}')),
    (pa.binary(), "bytea", st.binary(max_size=9)),
    (pa.large_binary(), "bytea", st.binary(max_size=9)),
    (pa.binary(16), "uuid", st.binary(min_size=16, max_size=16)),
    (pa.binary(5), "bytea", st.binary(min_size=5, max_size=5)),
    (pa.int8(), "numeric", st.integers(-128, 127)),
    (pa.int64(), "numeric", st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), "numeric", st.integers(0, 2**64 - 1)),
    (pa.decimal128(38, 0), "numeric", _decimals(38, 0)),
    (pa.decimal128(20, 3), "numeric", _decimals(20, 3)),
    (pa.decimal128(9, 9), "numeric", _decimals(9, 9)),
    (pa.decimal128(12, -5), "numeric", _decimals(12, -5)),
    (pa.decimal256(76, 30), "numeric", _decimals(76, 30)),
    (pa.decimal128(29, 5), "numeric(30,6)", _decimals(29, 5)),
    (pa.month_day_nano_interval(), "interval", SPANS),
    (pa.duration("us"), "interval", st.timedeltas(-DECADES, DECADES)),
    (pa.uint32(), "oid", st.integers(0, 2**32 - 1)),
    (pa.uint64(), "pg_lsn", st.integers(0, 2**64 - 1)),
    (pa.list_(pa.int32()), "int4[]", _lists(st.integers(-9, 9))),
    (pa.large_list(pa.float64()), "float8[]", _lists(st.floats(allow_nan=False))),
    (pa.list_(pa.list_(pa.int64())), "int8[]", RECTANGLES),
    (pa.list_(pa.string()), "text[]", _lists(TEXT)),
    (pa.list_(pa.decimal128(10, 2)), "numeric[]", _lists(_decimals(10, 2))),
    (pa.list_(pa.date32(), 3), "date[]", st.lists(st.dates(), min_size=3, max_size=3)),
]

#: What only the encoder is asked: these need an extension, or psycopg sends them as text.
ENCODED = [
    (pa.map_(pa.string(), pa.string()), "hstore", MAPS),
    (pa.list_(pa.float32(), 2), "vector(2)", PAIRS),
    (pa.string(), "char", st.sampled_from(["", "a", "~"])),
]


@st.composite
def tables(draw: st.DrawFn, columns: Sequence[Any] = COLUMNS) -> tuple[pa.RecordBatch, list[str]]:
    chosen = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=6))
    rows = draw(st.integers(0, 30))
    arrays = []
    for type_, _, values in chosen:
        drawn = draw(st.lists(st.none() | values, min_size=rows + 2, max_size=rows + 2))
        # A slice: buffers then start before the first row, and inside a byte of the bitmap.
        arrays.append(pa.array(drawn, type_).slice(1, rows))
    names = [f"c{position}" for position in range(len(chosen))]
    return pa.RecordBatch.from_arrays(arrays, names), [kind for _, kind, _ in chosen]
