"""Columns of a series and where extents hold them; the compiled loops agree."""

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.series import kernels
from neural_gpu_bus.memory.series.batches import column_matrix
from neural_gpu_bus.memory.series.shape import Shape

SCHEMA = pa.schema(
    [
        ("k", pa.string()),
        ("ts", pa.timestamp("ms")),
        pa.field("flag", pa.bool_(), nullable=False),
        ("text", pa.string()),
        ("small", pa.int8()),
        ("exact", pa.decimal128(12, 3)),
        ("raw", pa.binary()),
        ("id", pa.binary(3)),
    ]
)


@pytest.mark.parametrize("capacity", [1, 7, 8, 63, 64, 65, 513, 100_000])
def test_compiled_loops_place_columns_where_the_shape_does(capacity: int) -> None:
    shape = Shape(SCHEMA, ["k"], "ts")
    matrix = column_matrix(shape)
    places = np.empty((len(matrix), 2), np.int64)
    end = kernels._place(matrix, capacity, places)

    assert (places.tolist(), end) == ([list(place) for place in shape.places(capacity)[0]], end)
    assert end == shape.places(capacity)[1]
    assert (places[:, 1] % 64 == 0).all()
    for column, following in zip(shape.stored, [*places[1:, 1], end], strict=False):
        assert places[column.place, 1] + column.value_bytes(capacity) <= following


def test_texts_are_long_and_the_order_has_no_nulls() -> None:
    shape = Shape(SCHEMA, ["k"], "ts")

    assert [column.name for column in shape.stored] == SCHEMA.names[1:]
    assert dict(shape.columns)["text"] == "large_string"
    assert dict(shape.columns)["k"].startswith("dictionary<values=large_string")
    assert [column.nullable for column in shape.stored][:3] == [False, False, True]
    assert shape.texts == 2


@pytest.mark.parametrize(
    ("key", "order_by", "message"),
    [
        (["nowhere"], None, "do not fit columns"),
        (["k", "k"], None, "do not fit columns"),
        (["k"], "k", "do not fit columns"),
        (SCHEMA.names, None, "do not fit columns|cannot be part|all columns"),
    ],
)
def test_keys_and_orders_that_cannot_be(key: list[str], order_by: str, message: str) -> None:
    with pytest.raises((BadParameterError, UnsupportedTypeError), match=message):
        Shape(SCHEMA, key, order_by)


@pytest.mark.parametrize("name", ["text", "flag", "exact", "id"])
def test_only_whole_numbers_and_moments_order_rows(name: str) -> None:
    with pytest.raises(UnsupportedTypeError, match="cannot be ordered by"):
        Shape(SCHEMA, ["k"], name)


def test_what_cannot_be_held_is_named() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"'l\.item\.n' has type null"):
        Shape(pa.schema([("l", pa.list_(pa.struct([("n", pa.null())])))]), [], None)
    with pytest.raises(UnsupportedTypeError, match=r"'k' .large_list.+ cannot be part of a key"):
        Shape(pa.schema([("k", pa.list_(pa.int8())), ("x", pa.int8())]), ["k"], None)
    with pytest.raises(UnsupportedTypeError, match=r"'f' .double. cannot be part of a key"):
        Shape(pa.schema([("f", pa.float64()), ("x", pa.int8())]), ["f"], None)
