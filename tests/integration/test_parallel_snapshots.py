"""Snapshots that several reads share, and results in batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from fix_reader import open_reader
from fix_stores import Playground
from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres import PostgresStore
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

LONG = "SELECT generate_series(1, 100000000) AS i, repeat('x', 100) AS t"


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def several(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    with open_reader(postgres_dsn, direct=request.param, connections_max=3) as made:
        yield made


def values(result: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = result.to_pydict()
    return found


def test_tables_and_queries_see_the_moment_of_the_snapshot(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE a AS SELECT 1 AS x")
    playground.run("CREATE TABLE b AS SELECT 2 AS x")
    a, b = playground.table("a"), playground.table("b")
    with several.snapshot() as snapshot:
        playground.run("UPDATE a SET x = 10; DELETE FROM b")

        assert values(several.table(a, snapshot=snapshot)) == {"x": [1]}
        assert values(several.table(b, snapshot=snapshot.id, connections=2)) == {"x": [2]}
        statement = f"SELECT x FROM {a} UNION ALL SELECT x FROM {b}"
        assert values(several.query(statement, snapshot=snapshot)) == {"x": [1, 2]}
        with several.stream(statement, snapshot=snapshot, batch_rows=1) as batches:
            assert [values(batch)["x"] for batch in batches] == [[1], [2]]
        assert values(several.table(a)) == {"x": [10]}


def test_a_snapshot_exported_elsewhere_is_taken(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE a AS SELECT 1 AS x")
    with playground.connection.transaction():
        playground.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [(identity,)] = playground.rows("SELECT pg_export_snapshot()")
        playground.run("UPDATE a SET x = 2")
        assert isinstance(identity, str)
        assert values(several.table(playground.table("a"), snapshot=identity)) == {"x": [1]}


def test_a_snapshot_that_is_gone_is_said(several: PostgresReader, playground: Playground) -> None:
    playground.run("CREATE TABLE a AS SELECT 1 AS x")
    with several.snapshot() as snapshot:
        pass
    for read in (
        lambda: several.table(playground.table("a"), snapshot=snapshot),
        lambda: several.query("SELECT 1 AS x", snapshot=snapshot),
        lambda: several.stream("SELECT 1 AS x", snapshot=snapshot),
    ):
        with pytest.raises(QueryError, match=r"snapshot .* is gone: .*\nhint: read inside of"):
            read()
    with pytest.raises(BadParameterError, match="no snapshot's id"):
        several.query("SELECT 1 AS x", snapshot="1'; SELECT")
    assert values(several.query("SELECT 5 AS x")) == {"x": [5]}


def test_a_table_that_was_emptied_since_is_refused(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE a AS SELECT 1 AS x")
    with several.snapshot() as snapshot:
        playground.run("TRUNCATE a")
        with pytest.raises(QueryError, match=r"was rewritten .* after snapshot"):
            several.table(playground.table("a"), snapshot=snapshot)


def test_nothing_is_written_under_a_snapshot(
    several: PostgresReader, playground: Playground
) -> None:
    playground.run("CREATE TABLE a (x int)")
    statement = f"INSERT INTO {playground.table('a')} VALUES (1) RETURNING x"
    with several.snapshot() as snapshot, pytest.raises(QueryError, match="read-only"):
        several.query(statement, snapshot=snapshot)
    assert playground.rows("SELECT * FROM a") == []


def test_a_snapshot_needs_a_second_connection(postgres_dsn: str) -> None:
    with (
        open_reader(postgres_dsn) as reader,
        pytest.raises(BadParameterError, match="there is only one\nhint: raise NGB_POSTGRES"),
        reader.snapshot(),
    ):
        pass


def test_a_forgotten_snapshot_ends(several: PostgresReader, playground: Playground) -> None:
    with several.snapshot(hold_s=0.05) as snapshot:
        held = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' "
        held += "AND query LIKE '%pg_export_snapshot%'"
        while playground.rows(held) != [(0,)]:
            pass
        with pytest.raises(QueryError, match="is gone"):
            several.query("SELECT 1 AS x", snapshot=snapshot)
    assert values(several.query("SELECT 5 AS x")) == {"x": [5]}


# ---- batches


def test_batches_are_the_whole_result(several: PostgresReader) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    for rows in (0, 1, 999, 1000, 1001, chosen.randint(2, 5000)):
        statement = (
            f"SELECT i, nullif('t' || i % 9, 't3') AS t, repeat('w', i % 500) AS w "
            f"FROM generate_series(1, {rows}) i"
        )
        batch_rows = chosen.choice([1000, chosen.randint(1, 700)])
        expected = values(several.query(statement))
        with several.stream(statement, batch_rows=batch_rows) as batches:
            assert batches.columns == ("i", "t", "w")
            parts: list[Any] = [*batches]
            assert repr(batches) == f"FrameStream of 3 columns: {rows:,} rows read, ended"
        assert all(1 <= part.num_rows <= batch_rows for part in parts)
        assert sum(part.num_rows for part in parts) == rows
        for name, whole in expected.items():
            assert [value for part in parts for value in part[name].to_pylist()] == whole


def test_wide_rows_and_parameters(several: PostgresReader) -> None:
    statement = "SELECT i, repeat(%(letter)s, 3000000) AS w FROM generate_series(1, 5) i"
    with several.stream(statement, {"letter": "é"}, batch_rows=2) as batches:
        found: list[Any] = [*batches]

    assert [part["i"].to_pylist() for part in found] == [[1, 2], [3, 4], [5]]
    assert {text for part in found for text in part["w"].to_pylist()} == {"é" * 3_000_000}


def test_a_stream_that_is_closed_early_is_cancelled(
    several: PostgresReader, playground: Playground
) -> None:
    """Ten seconds' worth of rows; after the first few nothing runs on, three times over."""
    for leave in ("close", "error", "forget"):
        batches = several.stream(LONG.replace("AS t", f"AS t_{leave}"), batch_rows=500)
        first: Any = next(batches)
        assert first["i"].to_pylist() == list(range(1, 501))
        assert (batches.rows, repr(batches)[-4:]) == (500, "open")
        if leave == "close":
            batches.close()
            batches.close()
            assert repr(batches).endswith("500 rows read, closed")
        elif leave == "error":
            with pytest.raises(RuntimeError, match="enough"), batches:
                raise RuntimeError("enough")
        del batches
        running = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%t\\_{leave}%' "
        running += "AND state = 'active' AND pid <> pg_backend_pid()"
        while playground.rows(running) != [(0,)]:
            pass
        assert values(several.query("SELECT 5 AS x")) == {"x": [5]}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM no_such", "does not exist"),
        ("SELECT 1 AS x, 2 AS x", "more than once"),
        ("SELECT 1 / (i - 5000) AS x FROM generate_series(1, 9000) i", "division by zero"),
    ],
)
def test_refusals_while_streaming(several: PostgresReader, statement: str, message: str) -> None:
    with (
        pytest.raises(QueryError, match=message),
        several.stream(statement, batch_rows=100) as batches,
    ):
        for _ in batches:
            pass
    assert values(several.query("SELECT 5 AS x")) == {"x": [5]}


def test_memory_stays_bounded(postgres_dsn: str, memory: UnifiedMemory) -> None:
    """A result of 120 MB through a limit of 8 MiB, one block at a time."""
    store = PostgresStore(
        postgres_dsn,
        memory.reserve,
        connections_max=2,
        connect_timeout_s=5,
        query_timeout_s=60,
        result_bytes_max=8 << 20,
    )
    rows = biggest = 0
    statement = "SELECT i, repeat('x', 100) AS t FROM generate_series(1, 1000000) i"
    try:
        with store.reader.stream(statement, batch_rows=20_000) as batches:
            for batch in batches:
                rows += batch.rows
                assert batch.descriptor.source_ns > 0
                biggest = max(biggest, memory.statistics().bytes_used)
        with pytest.raises(QueryError, match=r"is larger than 8 MiB|is expected to have"):
            store.query(statement)
    finally:
        store.close()
    assert rows == 1_000_000
    assert biggest < 12 << 20


def test_a_result_that_cannot_fit_is_refused_early(
    postgres_dsn: str, playground: Playground
) -> None:
    """By what the planner knows of the table, when a small part of the limit has come."""
    playground.run(
        "CREATE TABLE a AS SELECT i, repeat('x', 100) AS t FROM generate_series(1, 90000) i"
    )
    playground.run("VACUUM ANALYZE a")
    table = playground.table("a")
    with open_reader(postgres_dsn, received_bytes_max=4 << 20, connections_max=2) as reader:
        for read in (
            lambda: reader.table(table),
            lambda: reader.query(f"SELECT * FROM {table}"),
        ):
            with pytest.raises(
                QueryError, match=r"expected to have 90,000 rows and 1\d MiB, and 4 MiB may be"
            ) as caught:
                read()
            assert caught.value.facts["expected_bytes"] > 4 << 20
        assert values(reader.table(table, columns=["i"], where="i <= 3")) == {"i": [1, 2, 3]}


def test_the_frame_tells_the_moment_before_its_snapshot(
    postgres_dsn: str, playground: Playground, memory: UnifiedMemory
) -> None:
    playground.run("CREATE TABLE a AS SELECT 1 AS x")
    store = PostgresStore(
        postgres_dsn,
        memory.reserve,
        connections_max=2,
        connect_timeout_s=5,
        query_timeout_s=60,
        result_bytes_max=8 << 20,
    )
    try:
        with store.reader.snapshot() as snapshot:
            found = store.reader.table(playground.table("a"), snapshot=snapshot)
            assert found.descriptor.source_ns == snapshot.taken_ns
        alone = store.reader.table(playground.table("a"))
        assert snapshot.taken_ns < alone.descriptor.source_ns < alone.descriptor.created_ns
        report = store.reader.report(alone)
        assert report is not None
        assert report.rows == 1
        with psycopg.connect(postgres_dsn):
            del alone
    finally:
        store.close()
