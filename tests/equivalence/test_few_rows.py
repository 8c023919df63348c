"""One message of few rows holds the same bytes as the general way's, or is left to that."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.stores.postgres.encoding.copy_encode import FRAME_BYTES, copy_data, encode
from neural_gpu_bus.stores.postgres.encoding.few_rows import FewRows, fixed_column
from neural_gpu_bus.stores.postgres.encoding.type_names import named_type
from neural_gpu_bus.stores.postgres.encoding.wire_columns import plan_column
from neural_gpu_bus.stores.postgres.wire.types import TargetColumn

SEED = 11
ROWS = 1_000
#: Arrow's type, numpy's of its buffer, and the column's.
TYPES = [
    (pa.int16(), "i2", "smallint"),
    (pa.int32(), "i4", "integer"),
    (pa.int64(), "i8", "bigint"),
    (pa.float32(), "f4", "real"),
    (pa.float64(), "f8", "double precision"),
    (pa.timestamp("us", "UTC"), "i8", "timestamptz"),
    (pa.timestamp("us"), "i8", "timestamp"),
    (pa.timestamp("us"), "i8", "timestamptz"),
    (pa.timestamp("ns", "UTC"), "i8", "timestamptz"),
]

YEAR_US = 31_557_600_000_000


def _column(type_: pa.DataType, dtype: str, random: np.random.Generator) -> pa.Array:
    values = np.frombuffer(random.bytes(ROWS * np.dtype(dtype).itemsize), dtype)
    if pa.types.is_timestamp(type_):
        values = values % (200 * YEAR_US) - 100 * YEAR_US
        values = values * 1_000 if type_.unit == "ns" else values
    return pa.Array.from_buffers(type_, ROWS, [None, pa.py_buffer(values.tobytes())])


def _few(batch: pa.RecordBatch, names: list[str]) -> FewRows:
    columns = [
        fixed_column(type_, named_type(name))
        for type_, name in zip(batch.schema.types, names, strict=True)
    ]
    assert None not in columns
    return FewRows([column for column in columns if column is not None])


def test_the_message_is_the_general_ways() -> None:
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    batch = pa.record_batch(
        [_column(type_, dtype, random) for type_, dtype, _ in TYPES], [f"c{at}" for at in range(9)]
    )
    names = [name for _, _, name in TYPES]
    plans = [
        plan_column(field.type, TargetColumn(field.name, named_type(name)))
        for field, name in zip(batch.schema, names, strict=True)
    ]
    few = _few(batch, names)

    for start, rows in ((0, 100), (7, 100), (7, 1), (500, 3), (900, 100), (0, 100)):
        part = batch.slice(start, rows)
        expected = copy_data(b"".join(bytes(piece) for piece in encode([part], plans)))

        message = few.message(part)

        assert message is not None
        assert expected == bytes(message)
        assert len(message) > FRAME_BYTES


def test_a_message_that_was_made_stays_as_it_is() -> None:
    few = FewRows([column for column in [fixed_column(pa.int64(), named_type("bigint"))] if column])
    first = few.message(pa.record_batch({"a": [1]}))
    assert first is not None
    before = bytes(first)

    few.message(pa.record_batch({"a": [2]}))

    assert before == bytes(first)


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (pa.array([1, None]), "bigint"),
        (pa.array([], pa.int64()), "bigint"),
        (pa.array(range(100_000)), "bigint"),
        (pa.array([1], pa.timestamp("ns", "UTC")), "timestamptz"),
        (pa.array([-(1 << 62)], pa.timestamp("us", "UTC")), "timestamptz"),
    ],
    ids=["NULL", "no row", "many", "finer than the column", "before the first moment"],
)
def test_what_may_be_refused_or_is_large_is_left_to_the_general_way(
    array: pa.Array, name: str
) -> None:
    batch = pa.record_batch([array], ["a"])

    assert _few(batch, [name]).message(batch) is None


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (pa.int32(), "bigint"),
        (pa.uint64(), "bigint"),
        (pa.float64(), "real"),
        (pa.string(), "text"),
        (pa.timestamp("us"), "timestamp(3)"),
        (pa.timestamp("us", "UTC"), "timestamp"),
        (pa.dictionary(pa.int8(), pa.int64()), "bigint"),
    ],
)
def test_columns_that_need_more_have_no_quick_way(type_: pa.DataType, name: str) -> None:
    assert fixed_column(type_, named_type(name)) is None
