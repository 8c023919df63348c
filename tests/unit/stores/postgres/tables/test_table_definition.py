"""Names of tables, and the type that is made for each Arrow type."""

from __future__ import annotations

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.tables.table_definition import postgres_type
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bars", TableName(None, "bars")),
        ("market.bars", TableName("market", "bars")),
        ('Odd "name; DROP', TableName(None, 'Odd "name; DROP')),
    ],
)
def test_table_names_are_taken_letter_by_letter(text: str, expected: TableName) -> None:
    assert expected == parse_table_name(text)


@pytest.mark.parametrize("text", ["", "a.b.c", "a.", ".b", "x" * 64, "nul\x00"])
def test_what_cannot_be_a_table_name_is_refused(text: str) -> None:
    with pytest.raises(BadParameterError, match="table name"):
        parse_table_name(text)


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
    ],
)
def test_types_follow_from_the_schema(type_: pa.DataType, expected: str) -> None:
    assert expected == postgres_type(pa.field("c", type_))


def test_types_without_a_column_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"column 'c': .* list<item: int64>"):
        postgres_type(pa.field("c", pa.list_(pa.int64())))
