"""Statements in one spelling: what PostgreSQL's lexer throws away, and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.query_cache.normalised import normalised


def plain(sql: str) -> str:
    return normalised(sql, bound=False)


@pytest.mark.parametrize(
    "same",
    [
        "select a from t",
        "SELECT a FROM t",
        "  select\n\ta  from\r\n t ; ;\n",
        "select a -- the column\nfrom t",
        "select/* one /* two */ */a from t",
        "/* first */ select a from t -- last",
        "select a from t;--",
    ],
)
def test_blanks_comments_and_case_do_not_count(same: str) -> None:
    assert plain(same) == "select a from t"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 'A'", "select 'a'"),
        ("select 'a  b'", "select 'a b'"),
        ('select "A"', 'select "a"'),
        ("select E'\\' A'", "select E'\\' a'"),
        ("select $q$ A $q$", "select $q$ a $q$"),
        ("select $$ '$$ , A", "select $$ '$$ , 'A"),
        ("select 'a'\n'b'", "select 'a' 'b'"),
        ("select 'a' -- x\n'b'", "select 'a' 'b'"),
        ("select 'it''s A'", "select 'it''s a'"),
        ("select te'X'", "select te'x'"),
        ("select a -b", "select a --b"),
        ("select 1 a", "select 1a"),
        ("select a\u00a0b", "select a b"),
        ("select \u00c4", "select \u00e4"),
        ("select '--' , A", "select '--' , 'A'"),
        ("select a /* x", "select a"),
        ("select a %'B'", "select a %'b'"),
        ('select a%"B" from t', 'select a%"b" from t'),
        ("select a %('x)', 'B C')", "select a %('x)', 'B c')"),
        ("select 'a' %-- x\n'B'", "select 'a' %-- x\n'b'"),
    ],
)
def test_what_counts_is_kept_apart(one: str, other: str) -> None:
    assert plain(one) != plain(other)


def test_names_of_values_keep_their_case() -> None:
    assert normalised("SELECT %(Id)s, %s, A %% 2", bound=True) == "select %(Id)s, %s, a %% 2"


@pytest.mark.parametrize(
    "sql",
    ["SELECT '%(a)s'", 'SELECT "%s"', "SELECT 1 -- %(a)s\n", "SELECT /* %s */ A", "SELECT $$%s$$"],
)
def test_a_value_within_quotes_or_a_comment_leaves_the_statement_alone(sql: str) -> None:
    assert normalised(sql, bound=True) == sql
    assert normalised(sql, bound=False) != "" != sql


def test_a_name_without_an_end_is_looked_for_once() -> None:
    sql = "SELECT " + "%(" * 1_000_000

    assert normalised(sql, bound=True) == sql


def test_blanks_between_texts_and_values_stay() -> None:
    """A value may be a text, and two texts in two lines are one."""
    assert normalised("SELECT 'a'\n %s", bound=True) == "select 'a'\n %s"
    assert normalised("SELECT %s\n %s", bound=True) == "select %s\n %s"


TOKENS = st.sampled_from(
    ["SELECT", "a", "B", "'x Y'", '"Q q"', "$t$ z $t$", ",", "(", ")", "+", "1.5E3", "::", "E'\\''"]
)
GAPS = st.sampled_from([" ", "\n", "\t ", " /* c /* d */ */ ", " -- e\n", "\r\n"])


@given(st.lists(st.tuples(TOKENS, GAPS, GAPS), min_size=1, max_size=12))
def test_gaps_may_be_any(parts: list[tuple[str, str, str]]) -> None:
    """But between two texts, where a line's end has a meaning."""
    kept = [parts[0]]
    for part in parts[1:]:
        if not (kept[-1][0].endswith("'") and part[0].endswith("'")):
            kept.append(part)

    one = "".join(token + gap for token, gap, _ in kept)
    other = "".join(token + gap for token, _, gap in kept)

    assert plain(one) == plain(other)


QUOTED = re.compile(r"(?s)'[^']*'|\"[^\"]*\"")


@given(st.text(st.sampled_from("aA'\" \n-*/;$1%(),EeÄ\\"), max_size=40))
def test_it_is_stable_and_keeps_what_is_quoted(sql: str) -> None:
    once = plain(sql)

    assert plain(once) == once
    if "--" not in sql and "/*" not in sql and "$" not in sql and "\\" not in sql:
        assert QUOTED.findall(once) == QUOTED.findall(sql)
