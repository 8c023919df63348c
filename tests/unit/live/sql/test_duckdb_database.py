"""DuckDB as ``plane.sql`` holds it: names by its parser, nothing else within reach."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, HostError, MissingDependencyError, QueryError
from neural_gpu_bus.live.sql.duckdb_database import DuckDbDatabase, TableNamed

BARS = TableNamed("", "", "bars")
ROWS = pa.table({"n": pa.array([1, None, 7], pa.int64()), "text": ["a", "b", None]})


@pytest.fixture(scope="module")
def database() -> DuckDbDatabase:
    return DuckDbDatabase(64 << 20)


def answer(database: DuckDbDatabase, statement: str) -> list[dict[str, object]]:
    return database.run(statement, None, {BARS: ROWS}, 30).to_pylist()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("SELECT * FROM bars", ["bars"]),
        ("FROM bars WHERE n = $n", ["bars"]),
        ("SELECT * FROM a JOIN b USING (n), lateral (SELECT * FROM c WHERE c.n = a.n)", "abc"),
        ("SELECT (SELECT max(n) FROM a) FROM b WHERE n IN (SELECT n FROM c)", "bac"),
        ("WITH a AS (SELECT * FROM bars) SELECT * FROM a", ["a", "bars"]),
        ('SELECT * FROM "Desk 1".bars, "a.b"', ["Desk 1.bars", "a.b"]),
        ("SUMMARIZE bars", ["bars"]),
        ("SELECT * FROM range(3)", []),
        ("SELECT 'FROM bars' -- FROM bars", []),
    ],
)
def test_tables_are_found_by_the_parser(
    database: DuckDbDatabase, statement: str, named: list[str]
) -> None:
    assert sorted(map(str, database.tables_of(statement))) == sorted(named)


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA database_list",
        "CALL enable_profiling()",
        "CREATE TABLE t (n int)",
        "EXPLAIN SELECT 1",
    ],
)
def test_only_a_select_is_answered(database: DuckDbDatabase, statement: str) -> None:
    with pytest.raises(BadParameterError, match="answers one SELECT"):
        database.tables_of(statement)


@pytest.mark.parametrize("function", ["read_text('/x')", "arrow_scan(0, 0, 0)", "glob('*')"])
def test_no_function_that_reads_elsewhere(database: DuckDbDatabase, function: str) -> None:
    with pytest.raises(BadParameterError, match="reads live tables, and not what"):
        database.tables_of(f"SELECT * FROM (SELECT * FROM {function})")


@pytest.mark.parametrize("statement", ["SELECT * FROM ROWS", "SELECT * FROM '/etc/passwd'"])
def test_neither_variables_nor_files_are_tables(database: DuckDbDatabase, statement: str) -> None:
    with pytest.raises(QueryError, match="does not exist"):
        answer(database, statement)


def test_it_stays_locked(database: DuckDbDatabase) -> None:
    with pytest.raises(QueryError, match="configuration has been locked"):
        answer(database, "SET enable_external_access = true")


def test_what_postgresql_and_duckdb_differ_in_is_as_in_postgresql(
    database: DuckDbDatabase,
) -> None:
    found = answer(database, "SELECT n, n / 2 AS half FROM bars ORDER BY n DESC")

    assert found == [{"n": None, "half": None}, {"n": 7, "half": 3}, {"n": 1, "half": 0}]


def test_a_statement_leaves_nothing_for_the_next(database: DuckDbDatabase) -> None:
    own = TableNamed("", "Desk 1", "bars")
    shown = database.run('SELECT count(*) AS n FROM "Desk 1".bars', None, {own: ROWS}, 30)

    assert shown.to_pylist() == [{"n": 3}]
    for name in ('"Desk 1".bars', "bars"):
        with pytest.raises(QueryError, match="does not exist"):
            database.run(f"SELECT * FROM {name}", None, {}, 30)


def test_a_result_has_a_limit() -> None:
    small = DuckDbDatabase(8 << 20)
    with pytest.raises(HostError, match="needs more memory than 8,388,608 bytes"):
        answer(small, "SELECT range AS n FROM range(2000000)")
    small.close()


def test_without_duckdb_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'neural-gpu-bus\[analysis\]'"):
        DuckDbDatabase(1 << 30)
