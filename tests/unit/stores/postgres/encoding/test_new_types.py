"""The type that a new column gets for each Arrow type."""

from __future__ import annotations

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.stores.postgres.encoding.new_types import postgres_type


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (pa.timestamp("ns", "UTC"), "bigint"),
        (pa.timestamp("us", "UTC"), "timestamptz"),
        (pa.timestamp("ms"), "timestamp"),
        (pa.dictionary(pa.int32(), pa.string()), "text"),
        (pa.binary(16), "uuid"),
        (pa.binary(15), "bytea"),
        (pa.uint32(), "bigint"),
        (pa.uuid(), "uuid"),
        (pa.decimal128(12, 4), "numeric(12,4)"),
        (pa.decimal256(60, 0), "numeric(60,0)"),
        (pa.decimal128(5, -3), "numeric(8,0)"),
        (pa.decimal128(3, 5), "numeric(5,5)"),
        (pa.list_(pa.float64()), "double precision[]"),
        (pa.large_list(pa.list_(pa.string())), "text[]"),
        (pa.list_(pa.float32(), 3), "real[]"),
        (pa.month_day_nano_interval(), "interval"),
        (pa.duration("us"), "interval"),
        (pa.duration("ns"), "bigint"),
        (pa.map_(pa.string(), pa.string()), "hstore"),
    ],
)
def test_types_follow_from_the_schema(type_: pa.DataType, expected: str) -> None:
    assert expected == postgres_type(pa.field("c", type_))


@pytest.mark.parametrize(
    "type_", [pa.struct([("x", pa.int64())]), pa.map_(pa.string(), pa.int64())], ids=str
)
def test_types_without_a_column_are_refused_by_name(type_: pa.DataType) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"column 'c': no PostgreSQL column is made"):
        postgres_type(pa.field("c", type_))
