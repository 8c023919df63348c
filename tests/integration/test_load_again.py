"""The same file again, after changes that leave row counts, or even transaction numbers, alike."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fix_stores import Playground

CHANGES = {
    "a column was dropped and added anew": (
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ADD COLUMN v float8",
    ),
    "a row was changed": ("UPDATE t SET v = 9 WHERE k = 1",),
    "a row was replaced": ("DELETE FROM t WHERE k = 2", "INSERT INTO t VALUES (2, 7)"),
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_the_same_file_brings_its_values_back(
    playground: Playground, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    file = tmp_path / "data.csv"
    file.write_text("k,v\n1,1.5\n2,2.5\n")
    table = playground.table("t")
    playground.loader.load([file], table, key=["k"])
    for change in changes:
        playground.run(change)

    (report,) = playground.loader.load([file], table, key=["k"])

    assert not report.repeated
    assert playground.rows("SELECT k, v FROM t ORDER BY k") == [(1, 1.5), (2, 2.5)]


def test_an_older_transaction_that_ended_later_is_seen(
    playground: Playground, postgres_dsn: str, tmp_path: Path
) -> None:
    """Its number is lower than the load's: sums of numbers could come out alike."""
    file = tmp_path / "data.csv"
    file.write_text("k,v\n1,1.5\n2,2.5\n")
    table = playground.table("t")
    with psycopg.connect(postgres_dsn) as early:
        early.execute("SELECT pg_current_xact_id()")
        playground.loader.load([file], table, key=["k"])
        early.execute(f"UPDATE {table} SET v = 100 WHERE k = 1".encode())
    playground.run("UPDATE t SET v = 200 WHERE k = 2")

    (report,) = playground.loader.load([file], table, key=["k"])

    assert report.rows == 2
    assert playground.rows("SELECT k, v FROM t ORDER BY k") == [(1, 1.5), (2, 2.5)]
