"""A result's first rows in a terminal of some width."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from rich.console import Console
from rich.table import Table

from neural_gpu_bus.cli.shown_rows import first_rows, shown_columns

WIDE = pa.table({f"column_{index}": ["some text"] * 2 for index in range(30)})


def printed(rows: pa.Table, width: int = 80) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=width, no_color=True, highlight=False)
    for part in first_rows(shown_columns(rows), width):
        console.print(part)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_all_columns_are_shown_where_they_fit() -> None:
    lines = printed(pa.table({"n": [1, 22], "who": ["a", None]}))

    assert lines == [" n who", " 1 a", "22 NULL"]


def test_columns_that_do_not_fit_are_named_and_none_is_torn() -> None:
    lines = printed(WIDE)

    assert lines[0].split() == [f"column_{index}" for index in range(8)]
    assert lines[1].count("some text") == 8
    assert lines[3].startswith("22 more columns: column_8, column_9, column_10")
    assert " ".join(lines[3:]).endswith("--rows 1 shows one a line")
    assert max(map(len, lines)) <= 80


def test_a_single_row_is_shown_one_column_a_line() -> None:
    lines = printed(WIDE.slice(0, 1))

    assert len(lines) == 30
    assert lines[0].split(maxsplit=1) == ["column_0", "some text"]


def test_a_long_text_leaves_room_for_others() -> None:
    lines = printed(pa.table({"note": ["x" * 150] * 2, "n": [1, 2], "m": [3, 4]}))

    assert lines[0].split() == ["note", "n", "m"]
    assert len(lines) == 1 + 2 * 6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-02T03:04:05", "2026-01-02 03:04:05Z"),
        ("2026-01-02T03:04:05.25", "2026-01-02 03:04:05.250Z"),
        ("2026-01-02T03:04:05.250001", "2026-01-02 03:04:05.250001Z"),
    ],
)
def test_zeros_behind_a_time_are_left_out(text: str, shown: str) -> None:
    times = pa.array([text], pa.string()).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))

    assert shown_columns(pa.table({"ts": times}))[0].texts == (shown,)


def test_no_rows_are_their_names() -> None:
    found = list(first_rows(shown_columns(pa.table({"a": pa.array([], pa.int64())})), 80))

    assert isinstance(found[0], Table)
    assert printed(pa.table({"a": pa.array([], pa.int64())})) == ["a"]
