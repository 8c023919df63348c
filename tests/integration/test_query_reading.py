"""Queries that go right: parameters, empty results, notices, threads, old servers."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fix_reader import open_reader
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.connections.connection import APPLICATION_NAME, connect
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart, write_columns
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_copy import LibpqCopy
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader
from plain_reservation import reserve


def rows(reader: PostgresReader, statement: str, params: Any = None) -> list[dict[str, Any]]:
    table: Any = reader.query(statement, params)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_no_rows_are_a_table_with_columns(reader: PostgresReader) -> None:
    table: Any = reader.query("SELECT 1 AS a, 'x' AS b, now() AS c WHERE false")

    assert table.num_rows == 0
    assert table.column_names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"a": "it's; DROP TABLE x --", "b": 7}, "it's; DROP TABLE x --"),
        ({"a": "back\\slash % and $$ €", "b": -7}, "back\\slash % and $$ €"),
        ({"a": None, "b": 0}, None),
    ],
)
def test_parameters_are_values_and_nothing_else(
    reader: PostgresReader, params: dict[str, Any], expected: str | None
) -> None:
    statement = "SELECT %(a)s::text AS a, 10 - %(b)s AS b, 7 %% 4 AS c"

    assert rows(reader, statement, params) == [{"a": expected, "b": 10 - params["b"], "c": 3}]


def test_parameters_of_many_types(reader: PostgresReader) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    statement = (
        "SELECT %s::timestamptz = '2026-01-02 03:04:05.000006+00' AS at, %s::float8 AS f, "
        "2 = ANY(%s) AS is_in, %s::bytea AS raw, %s::bool AS yes, %s::int AS number"
    )

    found = rows(reader, statement, [moment, 0.1, [1, 2], b"\0\xff", True, np.int64(5)])

    assert found == [
        {"at": True, "f": 0.1, "is_in": True, "raw": b"\0\xff", "yes": True, "number": 5}
    ]


def test_without_parameters_a_percent_sign_is_itself(reader: PostgresReader) -> None:
    assert rows(reader, "SELECT 'a' LIKE '%a%' AS yes") == [{"yes": True}]


@pytest.mark.parametrize(
    "statement",
    [
        *(
            "SELECT 1 AS x;",
            "SELECT 1 AS x -- said",
            "SELECT 1 AS x ;\n\n",
            "VALUES (1)",
            "TABLE one",
        ),
        *("SELECT 1 AS x; -- said", "SELECT 1 AS x;  ;", "SELECT 1 AS x; /* ; /* it's */ */ ;"),
    ],
)
def test_statements_may_end_as_people_write_them(reader: PostgresReader, statement: str) -> None:
    prefix = "WITH one AS (SELECT 1 AS x) " if statement == "TABLE one" else ""

    assert [list(row.values()) for row in rows(reader, prefix + statement)] == [[1]]


def test_notices_between_rows_are_not_data(reader: PostgresReader, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION ngb_test_loud(i int) RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE NOTICE 'row % %', i, repeat('n', i % 50); RETURN i; END $$"
        )
        try:
            table: Any = reader.query(
                "SELECT ngb_test_loud(i) AS i FROM generate_series(1, 3000) AS i"
            )
        finally:
            connection.execute("DROP FUNCTION ngb_test_loud(int)")

    assert table["i"].to_pylist() == list(range(1, 3001))


def test_what_a_statement_changes_in_its_session_ends_with_it(reader: PostgresReader) -> None:
    names = ["TimeZone", "extra_float_digits", "application_name", "search_path", "role"]
    statement = "SELECT pg_backend_pid() AS pid" + "".join(
        f", current_setting('{name}') AS {name}" for name in names
    )
    before = rows(reader, statement)

    rows(
        reader,
        "SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS a, "
        "set_config('extra_float_digits', '-10', false) AS b, "
        "set_config('search_path', 'nowhere', false) AS c, "
        "set_config('application_name', 'x', false) AS d, "
        "set_config('role', current_user, false) AS e",
    )

    assert rows(reader, statement) == before
    assert (before[0]["timezone"], before[0]["application_name"]) == ("UTC", APPLICATION_NAME)
    assert rows(reader, "SELECT (1 / 3.0)::float8::text AS x") == [{"x": "0.3333333333333333"}]


def test_settings_of_the_address_stay(postgres_dsn: str) -> None:
    dsn = make_conninfo(postgres_dsn, options="-c role=pg_monitor -c extra_float_digits=0")
    statement = "SELECT current_user::text AS u, current_setting('extra_float_digits') AS d"
    for direct in (True, False):
        with open_reader(dsn, direct=direct) as reader:
            for _ in range(2):
                assert rows(reader, statement) == [{"u": "pg_monitor", "d": "0"}]


def test_statement_timeout_does_not_outlive_its_statement(reader: PostgresReader) -> None:
    reader.query("SELECT 1 AS x", timeout_s=5)

    found = rows(reader, "SELECT current_setting('statement_timeout') AS t", None)

    assert found[0]["t"] != "5s"
    with reader._means.pool.lend() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_rows_returned_by_a_change_are_read_and_kept(
    reader: PostgresReader, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ngb_test_returning (x int)")
        try:
            assert rows(reader, "INSERT INTO ngb_test_returning VALUES (3) RETURNING x") == [
                {"x": 3}
            ]
            assert connection.execute("SELECT x FROM ngb_test_returning").fetchall() == [(3,)]
        finally:
            connection.execute("DROP TABLE ngb_test_returning")


def test_threads_share_a_pool_and_get_their_own_replies(postgres_dsn: str) -> None:
    wrong: list[object] = []
    with open_reader(postgres_dsn, connections_max=3) as reader:

        def read(number: int) -> None:
            for turn in range(10):
                count = 1000 + 7 * number + turn
                table: Any = reader.query(f"SELECT {number} AS n FROM generate_series(1, {count})")
                if table["n"].to_pylist() != [number] * count:
                    wrong.append((number, turn))

        threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert wrong == []


def test_an_existing_older_server_is_read_the_same(existing_postgres_dsn: str) -> None:
    statement = (
        "SELECT i, i * 0.5::float8 AS f, 'größer' || i AS t, i % 2 = 0 AS b, "
        "timestamptz '2024-01-01 00:00+00' + i * interval '1 s' AS ts "
        "FROM generate_series(1, 5000) AS i"
    )
    found: list[Any] = []
    for direct in (True, False):
        with open_reader(existing_postgres_dsn, direct=direct) as reader:
            found.append(reader.query(statement))

    assert found[0].equals(found[1])
    assert found[0].num_rows == 5000
    assert found[0]["t"][4].as_py() == "größer5"


@pytest.fixture
def altered(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection to alter ``ngb_test_altered (x int4)`` with, which waits for no lock."""
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        other.execute("DROP TABLE IF EXISTS ngb_test_altered")
        other.execute("CREATE TABLE ngb_test_altered AS SELECT 7::int4 AS x")
        other.execute("SET lock_timeout = '100ms'")
        yield other
        other.execute("RESET lock_timeout")
        other.execute("DROP TABLE ngb_test_altered")


def test_an_altered_column_is_read_by_its_new_type(
    reader: PostgresReader, altered: psycopg.Connection
) -> None:
    statement = "SELECT x FROM ngb_test_altered"
    assert rows(reader, statement) == [{"x": 7}]
    altered.execute("ALTER TABLE ngb_test_altered ALTER x TYPE float8 USING x + 0.5")
    assert rows(reader, statement) == [{"x": 7.5}]
    altered.execute("ALTER TABLE ngb_test_altered ALTER x TYPE text USING 'x' || x")
    assert rows(reader, statement) == [{"x": "x7.5"}]


def test_a_column_cannot_change_its_type_between_describing_and_copying(
    postgres_dsn: str, altered: psycopg.Connection
) -> None:
    """COPY's bytes carry no types, so the description has to hold until they are read."""
    buffer, statement = ReceiveBuffer(1 << 20), b"SELECT x FROM ngb_test_altered"
    with connect(postgres_dsn, timeout_s=5) as connection:
        exchange = LibpqCopy(connection, buffer, "here", Deadline(20, "here"))
        fields = exchange.open(b"BEGIN", statement, b"COMMIT")
        assert fields == [("x", 23, -1)]
        with pytest.raises(psycopg.errors.LockNotAvailable, match="lock timeout"):
            altered.execute("ALTER TABLE ngb_test_altered ALTER x TYPE float4")
        scan = exchange.receive([source_column("x", 23)])

        table: Any = write_columns([ReceivedPart(buffer.bytes, scan)], reserve).seal()
        assert table.to_pydict() == {"x": [7]}
        altered.execute("ALTER TABLE ngb_test_altered ALTER x TYPE float4")


def test_rows_wait_while_their_types_are_asked_for(
    reader: PostgresReader, postgres_dsn: str
) -> None:
    """The statement runs once: what it counts goes up by one, whatever was learned in between."""
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        for once in ("DROP TYPE IF EXISTS ngb_test_mood", "DROP SEQUENCE IF EXISTS ngb_test_runs"):
            other.execute(once.encode())
        other.execute("CREATE TYPE ngb_test_mood AS ENUM ('calm', 'wild')")
        other.execute("CREATE SEQUENCE ngb_test_runs")
        try:
            found = rows(
                reader,
                "SELECT nextval('ngb_test_runs') AS run, 'wild'::ngb_test_mood AS mood, "
                "repeat('x', 70000) AS t FROM generate_series(1, 3)",
            )
        finally:
            other.execute("DROP TYPE ngb_test_mood")
            other.execute("DROP SEQUENCE ngb_test_runs")

    assert [row["run"] for row in found] == [1, 2, 3]
    assert {row["mood"] for row in found} == {"wild"}
    assert {len(row["t"]) for row in found} == {70000}


def test_a_query_lands_in_shared_memory(postgres_dsn: str, memory: UnifiedMemory) -> None:
    """The real reservation: same values, NULLs as NaN and NaT, found by name afterwards."""
    pool = Pool(lambda: connect(postgres_dsn, timeout_s=5), connections_max=1, wait_timeout_s=5)
    reader = PostgresReader(
        pool, memory.reserve, address="here", timeout_s=20, received_bytes_max=1 << 26
    )
    statement = (
        "SELECT i, CASE WHEN i <> 2 THEN i * 0.5::float8 END AS half, i % 2 = 0 AS even, "
        "CASE WHEN i <> 3 THEN timestamptz 'epoch' + i * interval '1 s' END AS ts, "
        "CASE WHEN i <> 1 THEN 't' || i END AS t, md5(i::text)::uuid AS u "
        "FROM generate_series(1, 3) AS i"
    )

    before_ns = time.time_ns()
    frame = reader.query(statement, name="numbers")
    after_ns = time.time_ns()
    again = memory.get("numbers")
    pool.close()

    assert frame.descriptor == again.descriptor
    assert again.as_of.source_ns is not None
    assert before_ns <= again.as_of.source_ns <= again.as_of.published_ns <= after_ns
    assert again["i"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(again["half"], [0.5, np.nan, 1.5])
    assert again["even"].tolist() == [False, True, False]
    assert again["ts"].astype("i8").tolist()[:2] == [1_000_000, 2_000_000]
    assert np.isnat(again["ts"][2])
    assert again["t"].tolist() == [None, "t2", "t3"]
    assert again.arrow()["u"].null_count == 0
