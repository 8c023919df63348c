"""Random tables of every type that is written, with NULLs, as slices of larger arrays."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
AWARE = st.integers(-8_520_336_000_000_000, 8_835_984_000_000_000).map(
    lambda us: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
)
NAIVE = AWARE.map(lambda time: time.replace(tzinfo=None))

#: Arrow type, kind of the PostgreSQL column, values.
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
]


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.RecordBatch, list[str]]:
    chosen = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=6))
    rows = draw(st.integers(0, 30))
    arrays = []
    for type_, _, values in chosen:
        drawn = draw(st.lists(st.none() | values, min_size=rows + 2, max_size=rows + 2))
        # A slice: buffers then start before the first row, and inside a byte of the bitmap.
        arrays.append(pa.array(drawn, type_).slice(1, rows))
    names = [f"c{position}" for position in range(len(chosen))]
    return pa.RecordBatch.from_arrays(arrays, names), [kind for _, kind, _ in chosen]
