"""Statements taken apart as PostgreSQL's lexer does it."""

from __future__ import annotations

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from neural_gpu_bus.sql_text import quoted_name, tokens

#: One pass takes 0.2 s; to try each letter anew takes longer than a test may.
LETTERS = 400_000


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("a1 -- b\n", [("word", "a1"), ("blank", " "), ("comment", "-- b"), ("blank", "\n")]),
        ("/*/* x */*/;", [("comment", "/*/* x */*/"), ("other", ";")]),
        ("a /* b", [("word", "a"), ("blank", " "), ("quoted", "/* b")]),
        ("'a''b'", [("quoted", "'a'"), ("quoted", "'b'")]),
        (r"E'a\'''b'", [("quoted", r"E'a\'''b'")]),
        (r"te'a\'", [("word", "te"), ("quoted", r"'a\'")]),
        ("\u20ace'a\\'", [("word", "\u20ace"), ("quoted", "'a\\'")]),
        ('"a""b', [("quoted", '"a"'), ("quoted", '"b')]),
        ("$1$a$ $$ $a$", [("other", "$"), ("word", "1"), ("quoted", "$a$ $$ $a$")]),
        ("a$a$b", [("word", "a$a$b")]),
        ("$ä$ ' $$ $ä$1.5", [("quoted", "$ä$ ' $$ $ä$"), ("word", "1.5")]),
        ("%'A'", [("other", "%"), ("quoted", "'A'")]),
    ],
)
def test_tokens_are_the_servers(sql: str, found: list[tuple[str, str]]) -> None:
    assert list(tokens(sql)) == found


def test_placeholders_are_tokens_where_values_are_bound() -> None:
    found = [text for kind, text in tokens("%(a b)s+%s+%%", placeholders=True) if kind != "other"]

    assert found == ["%(a b)s", "%s", "%%"]
    assert "placeholder" not in {kind for kind, _ in tokens("%(a b)s+%s+%%")}


@seed(20261122)
@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aE1 ;'\"$-/*\\\n%(ä)\v", max_size=30), st.booleans())
def test_tokens_are_the_statement(sql: str, placeholders: bool) -> None:
    found = list(tokens(sql, placeholders=placeholders))

    assert "".join(text for _, text in found) == sql
    assert all(len(text) == 1 for kind, text in found if kind == "other")


@pytest.mark.parametrize(
    "unit", ["x", "1", "$", "$a", "'", "''", "E'", "e'\\", "/*", "-", "%(", " "]
)
def test_a_long_statement_is_read_in_one_pass(unit: str) -> None:
    sql = unit * (LETTERS // len(unit))

    assert sum(len(text) for _, text in tokens(sql)) == len(sql)


def test_a_name_is_quoted_letter_by_letter() -> None:
    assert quoted_name("Close") == '"Close"'
    assert quoted_name('a"b; --%') == '"a""b; --%"'
