"""Types: what is read becomes which Arrow type, and what is not read says how it could be."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column, unsupported
from neural_gpu_bus.stores.postgres.decoding.known_types import (
    DescribedType,
    KnownTypes,
    numeric_digits,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions

TEXT = pa.large_string()


def numeric(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


@pytest.mark.parametrize(
    ("oid", "expected"),
    [
        (16, pa.bool_()),
        (20, pa.int64()),
        (26, pa.uint32()),
        (701, pa.float64()),
        (1082, pa.date32()),
        (1083, pa.time64("us")),
        (1114, pa.timestamp("us")),
        (1184, pa.timestamp("us", tz="UTC")),
        (1186, pa.month_day_nano_interval()),
        (2950, pa.binary(16)),
        (3802, TEXT),
        (17, pa.large_binary()),
        (869, TEXT),
        (3220, pa.uint64()),
        (1007, pa.list_(pa.int32())),
        (1266, pa.struct([("time", pa.time64("us")), ("utc_offset_s", pa.int32())])),
        (600, pa.struct([("x", pa.float64()), ("y", pa.float64())])),
    ],
)
def test_a_type_becomes_its_arrow_type(oid: int, expected: pa.DataType) -> None:
    assert source_column("x", oid).arrow_type() == expected


@pytest.mark.parametrize(
    ("modifier", "choice", "expected"),
    [
        (numeric(10, 2), "exact", pa.decimal128(10, 2)),
        (numeric(38, 38), "exact", pa.decimal128(38, 38)),
        (numeric(3, 5), "exact", pa.decimal128(3, 5)),
        (numeric(5, -3), "exact", pa.decimal128(5, -3)),
        (numeric(39, 0), "exact", pa.decimal256(39, 0)),
        (numeric(77, 0), "exact", TEXT),
        (-1, "exact", TEXT),
        (numeric(10, 2), "text", TEXT),
        (numeric(10, 2), "float64", pa.float64()),
        (-1, "decimal128(20, 4)", pa.decimal128(20, 4)),
        (numeric(10, 2), "decimal256(50, 4)", pa.decimal256(50, 4)),
    ],
)
def test_numeric_follows_its_type_and_the_choice_alone(
    modifier: int, choice: str, expected: pa.DataType
) -> None:
    for options in (ReadOptions(numeric=choice), ReadOptions(numeric={"x": choice})):
        assert source_column("x", 1700, modifier, options=options).arrow_type() == expected


def test_the_scale_of_a_numeric_may_be_below_zero() -> None:
    assert numeric_digits(numeric(5, -1000)) == (5, -1000)
    assert numeric_digits(numeric(1000, 1000)) == (1000, 1000)


def test_types_of_the_database_are_what_they_are_made_of() -> None:
    types = [
        DescribedType(1, "mood", "enum", labels=("calm", "wild")),
        DescribedType(2, "price", "domain", of=1700, modifier=numeric(8, 2)),
        DescribedType(3, "price[]", "array", of=2),
        DescribedType(4, "bar", "composite", fields=(("mood", 1, -1), ("prices", 3, -1))),
        DescribedType(5, "citext", "base", "citextsend"),
        DescribedType(6, "vector", "base", "vector_send"),
        DescribedType(7, "hstore", "base", "hstore_send"),
        DescribedType(8, "pricerange", "range", of=2),
    ]
    known = KnownTypes({found.oid: found for found in types})
    price, mood = pa.decimal128(8, 2), pa.dictionary(pa.int32(), TEXT)
    flags = [(name, pa.bool_()) for name in ("lower_inclusive", "upper_inclusive", "empty")]

    def arrow(oid: int, modifier: int = -1) -> Any:
        return source_column("x", oid, modifier, known=known).arrow_type()

    assert arrow(1) == mood
    assert arrow(3) == pa.list_(price)
    assert arrow(4) == pa.struct([("mood", mood), ("prices", pa.list_(price))])
    assert arrow(5) == TEXT
    assert arrow(6, 3) == pa.list_(pa.float32(), 3)
    assert arrow(6) == pa.list_(pa.float32())
    assert arrow(7) == pa.map_(TEXT, TEXT)
    assert arrow(8) == pa.struct([("lower", price), ("upper", price), *flags])


def test_what_has_to_be_asked_is_found_through_all_parts() -> None:
    known = KnownTypes({4: DescribedType(4, "bar", "composite", fields=(("a", 9, -1),))})

    assert known.missing([20, 1007, 1700, 4, 790]) == {9, 790}
    assert KnownTypes(money_scale=2).missing([790, 791]) == set()


@pytest.mark.parametrize(
    ("column", "type_name", "way"),
    [
        ("v", "tsvector", "v::text"),
        ("r", "record", "r::my_type"),
        ("m", "money", "m::numeric"),
        ('My "x"', "tsquery", '"My ""x"""::text'),
    ],
)
def test_an_unread_type_names_its_cast(column: str, type_name: str, way: str) -> None:
    error = unsupported(column, type_name)

    assert way in error.hint
    assert (error.column, error.type) == (column, type_name)
    assert f"column {column!r} is of type {type_name}" in error.what


@pytest.mark.parametrize("oid", [3614, 2249, 790, 99_999])
def test_a_type_that_is_not_known_is_refused_by_name(oid: int) -> None:
    known = KnownTypes({3614: DescribedType(3614, "tsvector", "base", "tsvectorsend")})

    with pytest.raises(UnsupportedTypeError, match="column 'x' is of type"):
        source_column("x", oid, known=known)
