"""Words that could name something: too many rather than too few."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.dependencies.possible_names import possible_names


def test_every_word_counts_in_both_cases() -> None:
    names, why = possible_names("SELECT a.Close, 'x y' FROM \"Bars\" -- said\nWHERE größe = 1e5")

    assert why == ""
    assert {"close", "Close", "Bars", "bars", "x", "y", "said", "größe"} <= set(names)


@pytest.mark.parametrize("statement", ["(SELECT 1)", "with a as (select 1) table a", "VALUES (1)"])
def test_what_reads_may_be_kept(statement: str) -> None:
    assert possible_names(statement)[1] == ""


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SHOW work_mem", "only the rows of a SELECT"),
        ("", "only the rows of a SELECT"),
        ("-- select\nDELETE FROM a", "only the rows of a SELECT"),
        ("SELECT 1 FROM a FOR NO KEY UPDATE", "the word 'update'"),
        ('SELECT U&"\\0061"', "spells a name by numbers"),
    ],
)
def test_what_must_not_be_kept(statement: str, why: str) -> None:
    found = possible_names(statement)[1]

    assert why in found or "the word 'delete'" in found
