"""Names of tables."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import BadParameterError
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
