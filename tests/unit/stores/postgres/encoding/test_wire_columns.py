"""What is refused on the way to the wire, and how it is said."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.encoding.wire_columns import plan_column, wire_columns
from neural_gpu_bus.stores.postgres.encoding.wire_source import WireColumn
from neural_gpu_bus.stores.postgres.wire.types import PostgresType, TargetColumn


def convert(array: pa.Array, kind: str, *, not_null: bool = False) -> WireColumn:
    target = TargetColumn("price", PostgresType(kind, kind), not_null)
    plan = plan_column(array.type, target)
    (column,) = wire_columns(pa.RecordBatch.from_arrays([array], ["price"]), [plan], 1)
    return column


BAD_VALUES = [
    (pa.array([1, 70_000]), "int2", "row 2, column 'price': 70000 does not fit into int2"),
    (pa.array([1, -(2**40)]), "int4", "row 2, column 'price': -1099511627776 does not fit"),
    (pa.array([2**63], pa.uint64()), "int8", "row 1, .*: 9223372036854775808 does not fit"),
    (pa.array([0, 2**53 + 1]), "float8", "row 2, .*: 9007199254740993 cannot be held exactly"),
    (pa.array([1500], pa.timestamp("ns")), "timestamp", "row 1, .* is no whole microsecond"),
    (pa.array([1, -(2**62)], pa.timestamp("us")), "timestamp", "row 2, .* is beyond PostgreSQL's"),
    (pa.array([2**60], pa.timestamp("s")), "timestamptz", "row 1, .* is beyond PostgreSQL's"),
    (pa.array([-3_000_000], pa.date32()), "date", "row 1, .* is beyond PostgreSQL's dates"),
    (pa.array([86_400_001], pa.date64()), "date", "row 1, .* is no whole day"),
    (pa.array([1], pa.time64("ns")), "time", "row 1, .* is no whole microsecond"),
    (pa.array(["a", "b\x00c"]), "text", r"row 2, .*: 'b\\x00c' holds a NUL character"),
    (
        pa.array([b"ok", b"na\xff"]).view(pa.string()),
        "text",
        r"row 2, .*: 'na\\xff' is no UTF-8 \(byte 3\)",
    ),
]


@pytest.mark.parametrize(("array", "kind", "message"), BAD_VALUES)
def test_first_bad_value_is_named(array: pa.Array, kind: str, message: str) -> None:
    with pytest.raises(BadValueError, match=message) as caught:
        convert(array, kind)

    assert caught.value.column == "price"
    assert caught.value.hint


def test_what_lies_under_null_is_no_bad_value() -> None:
    array = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 2**40]).tobytes())]
    )

    assert convert(array, "int2").valid.tolist() == [True, False]


def test_null_is_refused_where_the_column_forbids_it() -> None:
    message = "row 2, column 'price': NULL cannot go into a NOT NULL column"
    with pytest.raises(BadValueError, match=message):
        convert(pa.array([1, None]), "int8", not_null=True)


def test_null_inside_a_dictionary_is_refused_too() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    with pytest.raises(BadValueError, match=r"row 2, .* NULL cannot go"):
        convert(array, "text", not_null=True)


def test_first_bad_row_counts_before_first_bad_column() -> None:
    batch = pa.record_batch({"a": [1, 2, 2**40], "b": [1, 2**40, 3]})
    plans = [
        plan_column(pa.int64(), TargetColumn(name, PostgresType("int4", "integer")))
        for name in ("a", "b")
    ]

    with pytest.raises(BadValueError, match="row 11, column 'b'"):
        wire_columns(batch, plans, first_row=10)


NO_WAY = [
    (pa.float64(), "numeric", "float8"),
    (pa.float64(), "float4", "cast the values to float32 first"),
    (pa.float64(), "int8", "cast the values"),
    (pa.string(), "int8", "cast the values"),
    (pa.timestamp("us"), "int8", "cast the values"),
    (pa.timestamp("us", "UTC"), "timestamp", "timestamptz"),
    (pa.list_(pa.int64()), "text", "cast the values"),
    (pa.binary(8), "uuid", "cast the values"),
]


@pytest.mark.parametrize(("type_", "kind", "way_out"), NO_WAY)
def test_types_that_cannot_meet_are_refused_with_a_way_out(
    type_: pa.DataType, kind: str, way_out: str
) -> None:
    with pytest.raises(UnsupportedTypeError, match="column 'price'") as caught:
        plan_column(type_, TargetColumn("price", PostgresType(kind, kind)))

    assert way_out in caught.value.hint
