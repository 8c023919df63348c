"""Where a statement ends."""

from __future__ import annotations

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from neural_gpu_bus.stores.postgres.reading.statement import may_write, only_reads, without_end

STATEMENTS = [
    "SELECT 1 AS a",
    "SELECT ';' AS a, '; -- x'",
    "SELECT 'it''s; ' AS \"a;\"\"b; -- \"",
    r"SELECT E'it\'s; -- ' AS a",
    r"SELECT date'2020-01-01', '\' AS a",
    "SELECT $$; -- it's$$ AS a, $tag$ $$; $tag$ || 'x'",
    "SELECT a$b$c, 1 FROM t -- ; it's\nWHERE x / 2 > -1",
    "SELECT /* ; /* nested's */ -- */ 1",
    "SELECT größe-1 FROM t WHERE a = $1 AND b = ';'",
]
ENDS = ["", ";", " ; ", ";;", "; -- hi", ";  ;", "\n;\n/* bye; /* it's */ */;\n", "\r\n;"]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("end", ENDS)
def test_what_follows_the_statement_is_left_out(statement: str, end: str) -> None:
    assert without_end(statement + end).rstrip() == statement


@pytest.mark.parametrize("sql", ["", ";", " ; ;", "; -- hi", "/* ; */"])
def test_nothing_stays_nothing(sql: str) -> None:
    assert without_end(sql) == ""


@pytest.mark.parametrize("sql", ["SELECT /* ; open", "SELECT '; -- open", "SELECT $a$; /* $$"])
def test_what_is_not_closed_has_no_end(sql: str) -> None:
    assert without_end(sql) == sql


@seed(20261122)
@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aE1 ;'\"$-/*\\\n", max_size=30))
def test_only_blanks_comments_and_semicolons_are_left_out(sql: str) -> None:
    kept = without_end(sql)
    rest = sql[len(kept) :]

    assert sql.startswith(kept)
    assert without_end(kept) == kept.rstrip()
    assert not rest.strip(" ;\n") or rest.lstrip(" ;\n").startswith(("--", "/*"))


def test_a_long_statement_is_read_at_once() -> None:
    sql = "SELECT * FROM (VALUES " + ", ".join(f"({i}, 'a;')" for i in range(50_000)) + ") v; -- x"

    assert without_end(sql) == sql[:-6]


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  (select 1)", True),
        ("-- said\nVALUES (1)", True),
        ("WITH a AS (SELECT 1) TABLE a", True),
        ("with a as (DELETE FROM b RETURNING *) SELECT * FROM a", False),
        ("SELECT * INTO b FROM a", False),
        ("SELECT * FROM a FOR UPDATE", False),
        ("SELECT 'no update'", False),
        ("SELECT updated FROM a", True),
        ("INSERT INTO a VALUES (1) RETURNING *", False),
        ("SHOW timezone", False),
        ("EXPLAIN SELECT 1", False),
        ("/* said */ SELECT 1", False),
        ("selection", False),
    ],
)
def test_only_a_plain_select_runs_before_it_is_described(sql: str, reads: bool) -> None:
    assert only_reads(sql) is reads


@pytest.mark.parametrize(
    ("sql", "may"),
    [
        ("SELECT * FROM bars WHERE (a > 1) AND b IN (1, 2)", False),
        ("SELECT COUNT(*), date_trunc ('day', ts) FROM (VALUES (1)) GROUP BY (2)", False),
        ("SELECT sum(a) OVER (PARTITION BY b ORDER BY c) FROM t", False),
        ("SELECT nextval('s')", True),
        ("SELECT market.count(1)", True),
        ('SELECT "Max"(1)', True),
        ("SELECT größe (1)", True),
    ],
)
def test_functions_that_only_compute_are_known(sql: str, may: bool) -> None:
    assert may_write(sql) is may


def test_a_long_text_in_a_statement_is_looked_through_once() -> None:
    """By word for word, and not from each letter of each word anew."""
    long = "x" * 2_000_000

    assert not may_write(f"SELECT '{long}', {long}, abs(1)")
    assert may_write(f"SELECT '{long}', {long}, own . f (1)")
