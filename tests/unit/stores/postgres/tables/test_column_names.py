"""Names that no table's columns can have are told before anything is sent."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name

LONG = "é" * 31


@pytest.mark.parametrize(
    ("names", "column", "why"),
    [
        ([], "", "there are no columns"),
        (["a", ""], "", "column 2 has no name"),
        (["a", "b", "a"], "a", "two columns are named 'a'"),
        (["a", "ctid"], "ctid", "column 'ctid' has the name of a column that PostgreSQL keeps for"),
        (["xmin"], "xmin", "column 'xmin' has the name"),
        (["a\x00b"], "a\x00b", "has a NUL character in its name"),
        ([f"{LONG}ab"], f"{LONG}ab", "has 64 bytes, more than the 63 that PostgreSQL keeps"),
        (["\ud800" * 22], "\ud800" * 22, "has 66 bytes"),
        ([f"c{n}" for n in range(1601)], "", "1,601 columns are more than the 1,600 that a table"),
    ],
)
def test_what_no_table_can_have_is_told(names: list[str], column: str, why: str) -> None:
    bad = first_bad_name(names)

    assert bad is not None
    assert bad.column == column
    assert why in bad.why


@pytest.mark.parametrize("names", [["a", "A", " ", 'odd "x"; --', f"{LONG}a"], ["oid", "select"]])
def test_all_other_names_are_fine(names: list[str]) -> None:
    assert first_bad_name(names) is None
