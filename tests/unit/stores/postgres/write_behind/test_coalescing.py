"""Several upserts as one: what one after another would leave."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.stores.postgres.write_behind.coalescing import last_of_each_key

KEYS = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
ROWS = st.lists(st.tuples(KEYS, st.integers(0, 2), st.integers(0, 9)), max_size=4)


def table(rows: list[tuple[Any, Any, Any]], *, dictionary: bool = False) -> pa.Table:
    text: Any = pa.array([row[0] for row in rows], pa.string())
    return pa.table(
        {
            "name": text.dictionary_encode() if dictionary else text,
            "day": pa.array([row[1] for row in rows], pa.int32()),
            "value": pa.array([row[2] for row in rows], pa.int64()),
        }
    )


def has_repeated_key(rows: list[tuple[Any, Any, Any]]) -> bool:
    keys = [row[:2] for row in rows if row[0] is not None]
    return len(set(keys)) < len(keys)


def plainly(tables: list[list[tuple[Any, Any, Any]]]) -> list[tuple[Any, Any, Any]]:
    """Row by row. A key with NULL is equal to none."""
    if any(map(has_repeated_key, tables)):
        return [row for rows in tables for row in rows]
    newest = {row[:2]: n for n, rows in enumerate(tables) for row in rows}
    return [
        row
        for n, rows in enumerate(tables)
        for row in rows
        if row[0] is None or newest[row[:2]] == n
    ]


@settings(deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=5), st.booleans())
def test_the_last_of_each_key_stays(
    tables: list[list[tuple[Any, Any, Any]]], dictionary: bool
) -> None:
    given_tables = [table(rows, dictionary=dictionary) for rows in tables]

    found = last_of_each_key(given_tables, ["name", "day"])

    columns = [found.column(name).to_pylist() for name in ("name", "day", "value")]
    assert list(zip(*columns, strict=True)) == plainly(tables)


def test_without_a_key_all_rows_stay() -> None:
    two = [table([("a", 1, 1)]), table([("a", 1, 2)])]

    assert last_of_each_key(two, []).num_rows == 2


def test_keys_that_arrow_cannot_compare_are_left_to_the_server() -> None:
    nested = pa.table({"k": pa.array([[1], [2]], pa.list_(pa.int64()))})

    assert last_of_each_key([nested, nested], ["k"]).num_rows == 4
