"""Queries that go wrong: a sentence with a way out, and the next query is answered rightly."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from fix_reader import open_reader
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    NeuralGpuBusError,
    QueryError,
    QueryTimeoutError,
    ServerUnreachableError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

#: Rows come at once and for minutes: a series in the select list is not stored first.
LONG = "SELECT generate_series(1, 100000000) AS i, repeat('x', 100) AS t"


def assert_answers(reader: PostgresReader) -> None:
    """The one connection of the pool gives the next caller its own reply."""
    table: Any = reader.query("SELECT 'mine' AS whose")
    assert table.to_pydict() == {"whose": ["mine"]}


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("SELECT nope FROM pg_class", QueryError, r'column "nope" does not exist.*character 8'),
        (
            "SELECT $1::int AS a",
            QueryError,
            r"no parameter \$1.*\nhint: write",
        ),
        ("SELECT ('y' || repeat('x', 3000000))::int AS a", QueryError, r"x \.\.\. \(3000"),
        ("SELECT * FROM no_such_table", QueryError, r'relation "no_such_table" does not exist'),
        ("SELEC 1", QueryError, r'syntax error at or near "SELEC"'),
        ("SELECT 1 AS a; SELECT 2 AS b", QueryError, r"cannot insert multiple commands"),
        ("SELECT 1/(i - 5000) FROM generate_series(1, 9000) i", QueryError, r"division by zero"),
        ("CREATE TEMP TABLE t (x int)", QueryError, r"returns no columns to read"),
        ("SELECT", QueryError, r"returns no columns to read"),
        ("SHOW timezone", QueryError, r"cannot be read in bulk"),
        ("SELECT 1 AS a, 2 AS b, 3 AS a", QueryError, r"more than once: 'a'"),
        ("SELECT 'a'::tsvector AS v", UnsupportedTypeError, r"'v' is of type tsvector"),
        ("SELECT row(1, 2) AS r", UnsupportedTypeError, r"'r' is of type record"),
        ("SELECT 'infinity'::date AS d", BadValueError, r"column 'd', row 1 is an infinite date"),
        (
            "SELECT '294270-01-01'::timestamp AS ts FROM generate_series(1, 2)",
            BadValueError,
            r"column 'ts', row 1 is a timestamp later than Arrow can hold",
        ),
        ("SELECT '24:00'::time AS t", BadValueError, r"column 't', row 1 is 24:00:00"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ServerUnreachableError, r"terminating"),
        ("SELECT 'a\0b' AS t", QueryError, r"NUL character"),
    ],
)
def test_a_refusal_says_what_and_leaves_nothing_behind(
    reader: PostgresReader, statement: str, kind: type[NeuralGpuBusError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        reader.query(statement)

    assert type(caught.value) is kind
    assert caught.value.hint
    assert_answers(reader)


def test_a_misspelt_table_is_told_the_near_one(reader: PostgresReader, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ngb_test_near")
        try:
            connection.execute("CREATE TABLE ngb_test_near.daily_prices (x int)")
            with pytest.raises(QueryError, match=r"there is: ngb_test_near\.daily_prices"):
                reader.query("SELECT * FROM ngb_test_near.daily_price")
        finally:
            connection.execute("DROP SCHEMA ngb_test_near CASCADE")


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("SELECT %(a)s AS a", {"b": 1}),
        ("SELECT %s AS a", [1, 2]),
        ("SELECT 50 % 7 AS a", [1]),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    reader: PostgresReader, statement: str, params: Any
) -> None:
    with pytest.raises(BadParameterError, match="parameters do not fit"):
        reader.query(statement, params)
    assert_answers(reader)


@pytest.mark.parametrize(
    ("statement", "params", "place"),
    [
        ("SELECT %(a)s AS a", {"a": "x\udc80"}, "parameter 'a' has"),
        ("SELECT %s AS a, %s AS b", ["x", "\ud83d"], "parameter 2 has"),
        ("SELECT %s AS a", [["\ud83d"]], "a parameter has"),
        ("SELECT '\udc80' AS t, %s AS a", [1], "the statement has"),
    ],
)
def test_half_a_character_is_refused_where_it_stands(
    reader: PostgresReader, statement: str, params: Any, place: str
) -> None:
    with pytest.raises(BadParameterError, match=f"{place} .* and none in UTF-8"):
        reader.query(statement, params)
    assert_answers(reader)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(reader: PostgresReader, timeout_s: float) -> None:
    with pytest.raises(BadParameterError, match="timeout_s is"):
        reader.query("SELECT 1 AS x", timeout_s=timeout_s)


def test_a_statement_that_is_no_unicode_is_refused(reader: PostgresReader) -> None:
    with pytest.raises(QueryError, match="invalid byte sequence"):
        reader.query("SELECT '\udc80' AS t")
    assert_answers(reader)


@pytest.mark.parametrize("rest", ["", ", 1 / (random() * 0)::int AS b"])
def test_a_lock_is_not_kept(reader: PostgresReader, postgres_dsn: str, rest: str) -> None:
    number = os.getpid() << 32 | id(reader) & 0xFFFF_FFFF
    with suppress(QueryError):
        reader.query(f"SELECT pg_try_advisory_lock({number}) AS a{rest}")

    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        assert other.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone() == (True,)


def test_a_slow_statement_is_cancelled_in_time(reader: PostgresReader) -> None:
    started = time.monotonic()

    with pytest.raises(QueryTimeoutError, match=r"0\.2 s"):
        reader.query("SELECT pg_sleep(20)::text AS t", timeout_s=0.2)

    assert time.monotonic() - started < 15
    assert_answers(reader)


def test_a_long_reply_is_cancelled_in_time(reader: PostgresReader) -> None:
    with pytest.raises(QueryTimeoutError, match=r"0\.3 s"):
        reader.query(LONG, timeout_s=0.3)
    assert_answers(reader)


def test_a_cancelled_statement_stops_on_the_server_too(
    reader: PostgresReader, postgres_dsn: str
) -> None:
    mark = f"mark_{os.getpid()}_{id(reader)}"
    with pytest.raises(QueryTimeoutError, match=r"0\.2 s"):
        reader.query(f"SELECT pg_sleep(20)::text AS {mark}", timeout_s=0.2)
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND state = 'active' AND query LIKE %s"
    )
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        deadline_s = time.monotonic() + 5
        while connection.execute(running, [f"%{mark}%"]).fetchone() != (0,):
            assert time.monotonic() < deadline_s, "the statement still runs"


def test_a_reply_above_the_limit_names_it(postgres_dsn: str) -> None:
    for direct in (True, False):
        with open_reader(postgres_dsn, direct=direct, received_bytes_max=1 << 20) as reader:
            with pytest.raises(QueryError, match=r"larger than 1 MiB\nhint: read fewer columns"):
                reader.query(LONG)
            assert_answers(reader)


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(20)::text AS t", LONG])
def test_ctrl_c_in_the_middle_stops_at_once(reader: PostgresReader, statement: str) -> None:
    reader.query("SELECT 1 AS x")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            reader.query(statement, timeout_s=20)
    finally:
        timer.join()

    assert time.monotonic() - started < 5
    assert_answers(reader)


@contextmanager
def ended_again_and_again(postgres_dsn: str, mark: str, times: int) -> Iterator[None]:
    """Another session ends ours, as often as it finds it at work."""
    over = threading.Event()

    def end_them() -> None:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            ended = 0
            while ended < times and not over.wait(0.02):
                ended += len(
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'neural_gpu_compute' AND state = 'active' "
                        "AND query LIKE %s AND pid <> pg_backend_pid()",
                        [f"%{mark}%"],
                    ).fetchall()
                )

    thread = threading.Thread(target=end_them)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_server_process_that_is_lost_again_and_again_is_said(
    reader: PostgresReader, postgres_dsn: str
) -> None:
    with (
        ended_again_and_again(postgres_dsn, "end_of_me", 100),
        pytest.raises(ServerUnreachableError, match=r"cannot talk to PostgreSQL at .* 4 times"),
    ):
        reader.query("SELECT pg_sleep(5)::text AS end_of_me", timeout_s=20)
    assert_answers(reader)


def test_a_read_whose_server_process_was_lost_is_run_again(
    reader: PostgresReader, postgres_dsn: str
) -> None:
    with ended_again_and_again(postgres_dsn, "end_of_once", 1):
        found: Any = reader.query("SELECT pg_sleep(0.3)::text AS end_of_once, 5 AS x")
    assert found.to_pydict() == {"end_of_once": [""], "x": [5]}
