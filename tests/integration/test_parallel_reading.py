"""Tables read by several connections: every row once, in order, on one snapshot or said why not."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from fix_reader import open_reader
from fix_servers import wait_until
from fix_stores import Playground
from neural_gpu_bus.errors import BadParameterError, QueryError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedRange
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader
from neural_gpu_bus.stores.postgres.reading.table import shared_table_read, side_by_side

#: 60,000 rows x 3 in 16 MiB of pages, for the filler in each.
ROWS = 60_000
MAKE = (
    "CREATE TABLE bars AS SELECT i, i % 7 AS part, 'text ' || i AS t, repeat('x', 180) AS filler "
    f"FROM generate_series(0, {ROWS - 1}) AS i"
)


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def parallel(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    """Reads by up to four connections."""
    with open_reader(postgres_dsn, direct=request.param, connections_max=4) as made:
        yield made


@pytest.fixture
def bars(playground: Playground) -> str:
    """Name of the table, analysed."""
    playground.run(MAKE)
    playground.run("VACUUM ANALYZE bars")
    return playground.table("bars")


def read(reader: PostgresReader, table: str, **options: Any) -> Any:
    return reader.table(table, **options)


def test_all_rows_come_once_and_in_order(parallel: PostgresReader, bars: str) -> None:
    one = read(parallel, bars, connections=1)
    several = read(parallel, bars, connections=3)

    assert several["i"].to_pylist() == list(range(ROWS))
    assert several.equals(one)
    report = parallel.report(several)
    assert report is not None
    assert (report.rows, report.connections, report.why_one) == (ROWS, 3, "")
    assert report.ranges > 3
    assert report.snapshot
    alone = parallel.report(one)
    assert alone is not None
    assert (alone.connections, alone.why_one) == (1, "one connection was asked for")


class Batches:
    """Keeps the batches of a read that hands them on; of ``takes_received`` none as received."""

    def __init__(self, refused_after: int = 1_000_000, *, takes_received: bool = False) -> None:
        self.takes_received = takes_received
        self.prepared = 0
        self.tables: list[Any] = []
        self._refused_after = refused_after

    def prepare(self, batch: Any, rows_expected: int | None) -> Any:
        assert rows_expected is not None
        assert abs(rows_expected - ROWS) < ROWS / 10
        self.prepared += 1
        return batch

    def take(self, prepared: Any) -> None:
        if len(self.tables) == self._refused_after:
            raise BadParameterError("no more", hint="none", parameter="n")
        self.tables.append(prepared)

    def take_received(self, rows: ReceivedRange) -> int:
        return rows.start

    def learn(self, rows: ReceivedRange, taken: None) -> None:
        assert rows.rows > 0


@pytest.mark.parametrize("takes_received", [False, True])
def test_rows_are_handed_on_in_order_while_more_come(
    parallel: PostgresReader, bars: str, monkeypatch: pytest.MonkeyPatch, takes_received: bool
) -> None:
    monkeypatch.setattr(side_by_side, "BATCH_BYTES_MAX", 1 << 15)
    monkeypatch.setattr(side_by_side, "HELD_BYTES_MAX", 1 << 17)
    monkeypatch.setattr(shared_table_read, "HANDED_ON_PAGES_MAX", 300)
    taker = Batches(takes_received=takes_received)
    with parallel.snapshot() as moment:
        rows = parallel.hand_on(bars, taker, snapshot=moment, columns=["i", "t"])
        whole = read(parallel, bars, snapshot=moment, columns=["i", "t"])

    assert rows == ROWS
    assert len(taker.tables) > 20
    assert pa.concat_tables(taker.tables).equals(whole)


def test_a_taker_that_refuses_ends_the_read(parallel: PostgresReader, bars: str) -> None:
    taker = Batches(refused_after=1)
    with parallel.snapshot() as moment, pytest.raises(BadParameterError, match="no more"):
        parallel.hand_on(bars, taker, snapshot=moment)
    assert len(taker.tables) == 1
    assert read(parallel, bars).num_rows == ROWS


def test_rows_that_are_handed_on_wait_a_second_behind_a_change(
    postgres_dsn: str, bars: str
) -> None:
    """Of a table that the snapshot's own session holds: the change waits for that, we behind it."""
    change = f"LOCK TABLE {bars} IN ACCESS EXCLUSIVE MODE"
    with (
        open_reader(postgres_dsn, connections_max=4) as reader,
        psycopg.connect(postgres_dsn) as holder,
        psycopg.connect(postgres_dsn) as changer,
        reader.snapshot() as moment,
    ):
        holder.execute(f"LOCK TABLE {bars} IN ACCESS SHARE MODE".encode())
        waiting = threading.Thread(target=changer.execute, args=(change.encode(),))
        waiting.start()
        waits = b"SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)"
        pid = changer.info.backend_pid
        wait_until(lambda: holder.execute(waits, (pid,)).fetchone() == (True,), "the change")
        taker = Batches()
        with pytest.raises(QueryTimeoutError, match="lock"):
            reader.hand_on(bars, taker, snapshot=moment)
        assert waiting.is_alive()
        assert reader.expected_rows(bars) is None
        holder.rollback()
        waiting.join()
        changer.rollback()
        assert not taker.tables
        assert reader.hand_on(bars, taker, snapshot=moment) == ROWS


def test_rows_that_are_expected(postgres_dsn: str, bars: str, playground: Playground) -> None:
    playground.run("CREATE TABLE never_counted AS SELECT * FROM bars")
    playground.run("ALTER TABLE never_counted SET (autovacuum_enabled = off)")
    with open_reader(postgres_dsn, connections_max=4) as reader:
        assert reader.expected_rows(bars) == ROWS
        some = reader.expected_rows(bars, where="part = 3 -- of seven")
        unknown = reader.expected_rows(playground.table("never_counted"))
        assert reader.expected_rows("no_such_table") is None
    assert some is not None
    assert abs(some - ROWS / 7) < ROWS / 20
    assert unknown is not None
    assert unknown > ROWS / 4  # by its pages


def test_columns_and_conditions(parallel: PostgresReader, bars: str) -> None:
    found = read(
        parallel,
        bars,
        columns=["t", "i"],
        where="bars.part = %(part)s OR i < 3 -- and no more",
        params={"part": 5},
        connections=3,
    )

    expected = [i for i in range(ROWS) if i % 7 == 5 or i < 3]
    assert found.column_names == ["t", "i"]
    assert found["i"].to_pylist() == expected
    assert found["t"].to_pylist() == [f"text {i}" for i in expected]


def test_order_by_is_the_servers(parallel: PostgresReader, bars: str) -> None:
    found = read(
        parallel, bars, columns=["i"], order_by=["part", "i DESC"], where="i < 20", connections=3
    )

    assert found["i"].to_pylist() == sorted(range(20), key=lambda i: (i % 7, -i))
    report = parallel.report(found)
    assert report is not None
    assert "order_by" in report.why_one


def test_odd_names_are_quoted(parallel: PostgresReader, playground: Playground) -> None:
    playground.run('CREATE TABLE "Odd; name" AS SELECT 1 AS "a ""b"" DESC", 2 AS "select"')

    found = read(
        parallel,
        playground.table("Odd; name"),
        columns=["select", 'a "b" DESC'],
        where='"select" = 2',
    )

    assert found.to_pydict() == {"select": [2], 'a "b" DESC': [1]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "true) OR (true"}, "no condition by itself"),
        ({"where": "i < 3; DROP TABLE bars"}, "no condition by itself"),
        ({"where": "(i < 3"}, "no condition by itself"),
        ({"where": "  "}, "no condition by itself"),
        ({"columns": "i"}, "columns is 'i'"),
        ({"columns": []}, r"columns is \[\]"),
        ({"columns": ["a\0b"]}, "no column's name"),
        ({"connections": 0}, "connections is 0"),
        ({"snapshot": "'; DROP TABLE bars"}, "is no snapshot's id"),
        ({"query_class": "warm"}, "query_class is 'warm'"),
    ],
)
def test_what_is_no_name_and_no_condition_is_refused(
    parallel: PostgresReader, bars: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadParameterError, match=message):
        read(parallel, bars, **options)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("bras", {}, r'relation ".*bras" does not exist\nhint: there is: .*\.bars'),
        ("bars", {"columns": ["j"]}, 'column "j" does not exist'),
        ("bars", {"where": "i <"}, "syntax error"),
        ("bars", {"where": "1 / (i - 50000) > 0"}, "division by zero"),
    ],
)
def test_refusals_leave_a_reader_that_answers(
    parallel: PostgresReader, bars: str, table: str, options: dict[str, Any], message: str
) -> None:
    for connections in (3, 1):
        with pytest.raises(QueryError, match=message):
            read(parallel, bars.replace("bars", table), connections=connections, **options)
        assert read(parallel, bars, columns=["i"], connections=3).num_rows == ROWS


def test_partitions_and_children_in_a_fixed_order(
    parallel: PostgresReader, playground: Playground
) -> None:
    """Leaves with their columns in other places, one empty, one below another."""
    playground.run("CREATE TABLE days (d int, v text, f text) PARTITION BY RANGE (d)")
    playground.run("CREATE TABLE day_1 PARTITION OF days FOR VALUES FROM (0) TO (10000)")
    playground.run("CREATE TABLE day_2 (f text, gone int, v text, d int)")
    playground.run("ALTER TABLE day_2 DROP gone")
    playground.run("ALTER TABLE days ATTACH PARTITION day_2 FOR VALUES FROM (10000) TO (20000)")
    playground.run(
        "CREATE TABLE day_3 PARTITION OF days FOR VALUES FROM (20000) TO (40000) "
        "PARTITION BY RANGE (d)"
    )
    playground.run("CREATE TABLE day_3a PARTITION OF day_3 FOR VALUES FROM (20000) TO (30000)")
    playground.run("CREATE TABLE day_3b PARTITION OF day_3 FOR VALUES FROM (30000) TO (40000)")
    playground.run(
        "INSERT INTO days SELECT i, 'v' || i, repeat('y', 300) FROM generate_series(0, 29999) i"
    )
    days = playground.table("days")

    found = read(parallel, days, connections=3)

    assert found.column_names == ["d", "v", "f"]
    assert found["d"].to_pylist() == list(range(30000))
    assert found["v"].to_pylist() == [f"v{i}" for i in range(30000)]
    report = parallel.report(found)
    assert report is not None
    assert report.connections == 3


def test_inheritance_children_are_read_once(
    parallel: PostgresReader, playground: Playground
) -> None:
    rows = "SELECT i, repeat('z', 400) AS f FROM generate_series"
    playground.run(f"CREATE TABLE base AS {rows}(1, 9999) i")
    playground.run("CREATE TABLE child (more text) INHERITS (base)")
    playground.run("CREATE TABLE other () INHERITS (base)")
    playground.run("CREATE TABLE lowest () INHERITS (child, other)")
    playground.run(f"INSERT INTO child {rows}(10000, 19999) i")
    playground.run(f"INSERT INTO lowest {rows}(20000, 29999) i")

    found = read(parallel, playground.table("base"), connections=3)

    assert found.column_names == ["i", "f"]
    assert sorted(found["i"].to_pylist()) == list(range(1, 30000))
    report = parallel.report(found)
    assert report is not None
    assert report.connections == 3


def test_pages_that_came_after_they_were_counted(postgres_dsn: str, playground: Playground) -> None:
    """No statistics at all, and more rows than there were when it was last analysed."""
    playground.run(MAKE.replace(f"0, {ROWS - 1}", "0, 9"))
    playground.run("ANALYZE bars")
    playground.run(
        "INSERT INTO bars SELECT i, 0, 't', repeat('x', 180) "
        f"FROM generate_series(10, {ROWS - 1}) i"
    )
    playground.run("ALTER TABLE bars SET (autovacuum_enabled = off)")
    with open_reader(postgres_dsn, connections_max=4) as reader:
        found = read(reader, playground.table("bars"), connections=3)

    assert found["i"].to_pylist() == list(range(ROWS))


WHOLE = [
    ("CREATE VIEW seen AS SELECT * FROM bars", "is a view"),
    ("CREATE MATERIALIZED VIEW seen AS SELECT * FROM bars", "is a materialized view"),
    (
        "CREATE TABLE seen AS SELECT * FROM bars; ALTER TABLE seen ENABLE ROW LEVEL SECURITY; "
        "ALTER TABLE seen FORCE ROW LEVEL SECURITY; CREATE POLICY p ON seen USING (true)",
        "",
    ),
]


@pytest.mark.parametrize(("make", "why"), WHOLE)
def test_what_cannot_be_cut_is_read_by_one_and_says_so(
    parallel: PostgresReader, playground: Playground, bars: str, make: str, why: str
) -> None:
    playground.run(make)

    with capture_logs() as logs:
        found = read(parallel, playground.table("seen"), connections=3)

    assert found["i"].to_pylist() == list(range(ROWS))
    report = parallel.report(found)
    assert report is not None
    if why:
        assert report.connections == 1
        assert why in report.why_one
        assert [log["event"] for log in logs] == ["a table is read by one connection"]


def test_an_index_reads_what_the_planner_would_not_scan(
    parallel: PostgresReader, playground: Playground, bars: str
) -> None:
    playground.run("CREATE INDEX ON bars (i)")
    playground.run("ANALYZE bars")

    found = read(parallel, bars, columns=["i"], where="i BETWEEN 500 AND 520")

    assert found["i"].to_pylist() == list(range(500, 521))
    report = parallel.report(found)
    assert report is not None
    assert report.why_one == "the planner reads it by an index"


def test_a_busy_pool_leaves_one(postgres_dsn: str, bars: str) -> None:
    with open_reader(postgres_dsn, connections_max=3) as reader:
        with reader.snapshot(), reader.snapshot(), capture_logs() as logs:
            found = read(reader, bars, connections=3)

        assert found["i"].to_pylist() == list(range(ROWS))
        report = reader.report(found)
        assert report is not None
        assert (report.connections, report.why_one) == (1, "no other connection was free")
        assert [log["why"] for log in logs] == ["no other connection was free"]


def test_random_tables_are_read_alike_by_any_number(
    postgres_dsn: str, playground: Playground
) -> None:
    """Holes by DELETE, rows that moved by UPDATE, wide values stored apart."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    with open_reader(postgres_dsn, connections_max=4) as reader:
        for number in range(4):
            name = f"random_{number}"
            rows = chosen.randint(0, 40_000)
            playground.run(
                f"CREATE TABLE {name} AS SELECT i, nullif(i % 5, 0) AS n, "
                f"repeat(md5(i::text), {chosen.randint(1, 12)}) AS t "
                f"FROM generate_series(1, {rows}) i"
            )
            playground.run(f"DELETE FROM {name} WHERE i % {chosen.randint(2, 9)} = 0")
            playground.run(f"UPDATE {name} SET t = t || 'y' WHERE i % {chosen.randint(2, 9)} = 1")
            expected = playground.rows(f"SELECT i, n, t FROM {name} ORDER BY ctid")
            for connections in (1, 2, 4):
                found = read(reader, playground.table(name), connections=connections)
                assert [tuple(row.values()) for row in found.to_pylist()] == expected


def test_a_change_of_the_table_waits_for_the_read(
    postgres_dsn: str, playground: Playground, bars: str
) -> None:
    """It is dropped while it is read: all rows come, and then it goes. Who joins later does not
    wait behind the one that drops it.
    """
    started = threading.Event()

    def drop() -> None:
        started.wait(20)
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(f"DROP TABLE {bars}".encode())

    dropper = threading.Thread(target=drop)
    dropper.start()
    with open_reader(postgres_dsn, connections_max=4) as reader:
        found = read(
            reader,
            bars,
            where="i % 100 <> 0 OR pg_sleep(0.001) IS NOT NULL",
            connections=3,
            progress=lambda *_: started.set(),
        )
        started.set()
        dropper.join()
        assert found.num_rows == ROWS
        with pytest.raises(QueryError, match="does not exist"):
            read(reader, bars, connections=3)


def test_progress_rises_to_all(parallel: PostgresReader, bars: str) -> None:
    told: list[tuple[int, int | None]] = []
    read(
        parallel,
        bars,
        where="i % 100 <> 0 OR pg_sleep(0.001) IS NOT NULL",
        connections=2,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told[-1] == (ROWS, ROWS)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 2
    assert all(total for _, total in told)


def test_the_leader_outlives_the_servers_limit_on_idle_transactions(
    postgres_dsn: str, bars: str
) -> None:
    """It has read its ranges long before the last one ends."""
    dsn = make_conninfo(postgres_dsn, options="-c idle_in_transaction_session_timeout=30ms")
    with open_reader(dsn, connections_max=4) as reader:
        found = read(reader, bars, where="i <> 50000 OR pg_sleep(0.4) IS NOT NULL", connections=3)

        report = reader.report(found)
        assert report is not None
        assert (found.num_rows, report.connections) == (ROWS, 3)
