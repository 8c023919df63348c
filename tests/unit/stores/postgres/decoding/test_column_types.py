"""Types: what is read becomes which Arrow type, and what is not read says how it could be."""

from __future__ import annotations

import pyarrow as pa
import pytest

from neural_gpu_bus.stores.postgres.decoding.column_types import (
    is_built_in,
    source_column,
    unsupported,
)


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
        (2950, pa.binary(16)),
        (3802, pa.large_string()),
        (17, pa.large_binary()),
    ],
)
def test_a_type_becomes_its_arrow_type(oid: int, expected: pa.DataType) -> None:
    assert source_column("x", oid, {}).arrow_type() == expected


def test_a_type_of_the_database_that_is_text_is_read_as_text() -> None:
    column = source_column("mood", 99_999, {99_999: "mood"})

    assert not is_built_in(99_999)
    assert (column.arrow_type(), column.type_name) == (pa.large_string(), "mood")


@pytest.mark.parametrize(
    ("column", "type_name", "way"),
    [
        ("price", "numeric", "price::float8 (nearest double) or price::text (exact)"),
        ("tags", "text[]", "unnest(tags) for one row an element, or tags::text"),
        ("wait", "interval", "extract(epoch FROM wait)::float8"),
        ("where", "inet", "where::text"),
        ('My "x"', "point", '"My ""x"""::text'),
    ],
)
def test_an_unread_type_names_its_cast(column: str, type_name: str, way: str) -> None:
    error = unsupported(column, type_name)

    assert way in error.hint
    assert (error.column, error.type) == (column, type_name)
    assert f"column {column!r} is of type {type_name}" in error.what
