"""Statements on tables: names quoted, conditions whole."""

from __future__ import annotations

from typing import Any

import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import PageRange
from neural_gpu_bus.stores.postgres.reading.table.table_statement import (
    TableQuestion,
    table_question,
)


def question(table: str = "market.bars", **options: Any) -> TableQuestion:
    given: dict[str, Any] = {"columns": None, "where": None, "params": None, "order_by": None}
    return table_question(table, **given | options)


def test_whole_tables_and_parts() -> None:
    asked = question(columns=['a "b"', "select"], order_by=["ts desc", "id"])

    assert asked.whole("x = 1 -- one") == (
        b'SELECT "a ""b""", "select" FROM "market"."bars" WHERE (x = 1 -- one\n) '
        b'ORDER BY "ts" DESC, "id"'
    )
    assert question().part("m.leaf", ["a"], PageRange(0, 5, None), "x = 1", only=True) == (
        b'SELECT "a" FROM ONLY m.leaf AS "bars" WHERE (ctid >= \'(5,0)\'::tid\n) AND (x = 1\n)'
    )
    assert question("bars").whole("") == b'SELECT * FROM "bars"'


@pytest.mark.parametrize(
    "where",
    ["a = ')'", "a = 1 AND (b = 2) -- )", "a = $q$ ) ; $q$", "E'\\')' = a", '")" > 1 /* ) */'],
)
def test_conditions_that_stand_by_themselves(where: str) -> None:
    assert question(where=where).where == where


@pytest.mark.parametrize("where", ["a) OR (b", "a;", "(a", "", ")", "a -- (\n)"])
def test_conditions_that_reach_further_are_refused(where: str) -> None:
    with pytest.raises(BadParameterError, match="no condition by itself"):
        question(where=where)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "ts"}, "columns is 'ts'"),
        ({"columns": [""]}, "'' is no column's name"),
        ({"columns": [3]}, "3 is no column's name"),
        ({"order_by": ["\0"]}, "no column's name"),
        ({"table": "a.b.c"}, "more than one dot"),
    ],
)
def test_what_is_no_name_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameterError, match=message):
        question(**options)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("bars.a = 1 AND Bars . b > 2", False),
        ("barsch = 1 OR mybars = 2", False),
        ("bars IS NOT NULL", True),
        ('"bars"::text = 1::text', True),
        ("f(BARS.*)", True),
        ("market.bars.a = 1", True),
        ('"market"."bars"."a" = 1', True),
        ('U&"b\\0061rs" IS NULL', True),
    ],
)
def test_a_condition_that_may_mean_the_row_as_a_whole(where: str, names: bool) -> None:
    assert question(where=where).names_row() is names


def test_a_condition_that_is_no_text_has_a_hint() -> None:
    with pytest.raises(BadParameterError, match=r"where is a dict: .*\nhint: give SQL with"):
        question(where={"symbol": "SPY"})
