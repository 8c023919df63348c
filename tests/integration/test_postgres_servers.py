"""Servers that restart, crash, recover, fail over or take no more: right rows or a clear error."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest

from fix_postgres_extras import BARS_ROWS, BARS_SUM
from fix_servers import wait_until
from neural_gpu_bus.errors import QueryError, ServerUnreachableError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.connections.connection import connect
from own_server import PASSWORD, USER, OwnServer, own_server, standby_of
from watched_store import WatchedStore, watched_store

READ = "SELECT i, price FROM bars"
#: The server takes half a second for it, and is killed meanwhile.
SLOW_READ = "SELECT i, price FROM bars, (SELECT pg_sleep(0.5)) AS slow"
COLUMNS = {"i": np.arange(5_000), "price": np.arange(5_000) * 0.5}
GONE = r"cannot talk to PostgreSQL at 127\.0\.0\.1"


def assert_right(columns: Any) -> None:
    assert columns.rows == BARS_ROWS
    assert int(columns["i"].sum()) == BARS_SUM
    assert (columns["price"] == columns["i"] * 0.5).all()


@contextmanager
def meanwhile(*actions: Callable[[], object], after_s: float = 0.15) -> Iterator[None]:
    """Another thread does them, one after the other, while the body runs."""

    def act() -> None:
        for action in actions:
            action()

    timer = threading.Timer(after_s, act)
    timer.start()
    try:
        yield
    finally:
        timer.join(30)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_between_two_reads_is_not_noticed(
    watched: WatchedStore, failing_server: OwnServer, how: signal.Signals
) -> None:
    assert_right(watched.store.query(READ))
    failing_server.stop(how)
    failing_server.start()

    assert_right(watched.store.query(READ))
    watched.assert_nothing_left()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_during_a_read_is_not_noticed(
    watched: WatchedStore, failing_server: OwnServer, how: signal.Signals
) -> None:
    watched.assert_answers()
    with meanwhile(lambda: failing_server.stop(how), failing_server.start):
        assert_right(watched.store.query(SLOW_READ))

    watched.assert_nothing_left()
    watched.assert_answers()


def test_a_server_that_goes_during_a_read_and_stays_away_is_said(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    watched.assert_answers()
    with (
        meanwhile(lambda: failing_server.stop(signal.SIGQUIT)),
        pytest.raises(ServerUnreachableError, match=rf"{GONE}.*\(tried \d times\)\nhint: see with"),
    ):
        watched.store.query(SLOW_READ)

    failing_server.start()
    watched.assert_nothing_left()
    watched.assert_answers()


def test_a_change_by_a_query_is_never_run_twice(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    """INSERT ... RETURNING is a query too; after it was sent nobody knows whether it was done."""
    name = f"made_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (x int)")
    change = (
        f"WITH made AS (INSERT INTO {name} VALUES (1) RETURNING x) "
        "SELECT x, pg_terminate_backend(pg_backend_pid()) AS t FROM made"
    )
    with pytest.raises(ServerUnreachableError, match=f"{GONE}.*terminating connection"):
        watched.store.query(change)

    assert failing_server.run(f"SELECT count(*) FROM {name}") == [(0,)]
    watched.assert_answers()
    failing_server.run(f"DROP TABLE {name}")


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_a_job_is_stored_once_through_a_crash(
    watched: WatchedStore, failing_server: OwnServer, mode: Any
) -> None:
    """The store waits for a lock, the server crashes and comes back, the job is stored."""
    name = f"stored_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint PRIMARY KEY, price double precision)")
    crash = (lambda: failing_server.stop(signal.SIGQUIT), failing_server.start)
    with failing_server.locked(name), meanwhile(*crash):
        receipt = watched.store.store(name, COLUMNS, mode=mode, job_id=name)

    assert receipt.rows == 5_000
    assert failing_server.run(f"SELECT count(*), sum(i) FROM {name}") == [(5_000, 12_497_500)]
    watched.assert_nothing_left()


def test_without_a_job_a_crash_during_a_store_is_an_error(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    name = f"stored_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint, price double precision)")
    crash = (lambda: failing_server.stop(signal.SIGQUIT), failing_server.start)
    with (
        failing_server.locked(name),
        meanwhile(*crash),
        pytest.raises(ServerUnreachableError, match=GONE),
    ):
        watched.store.store(name, COLUMNS)

    assert failing_server.run(f"SELECT count(*) FROM {name}") == [(0,)]
    watched.assert_answers()


def test_a_server_that_shuts_down_says_so(
    watched: WatchedStore, failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    """A polite shutdown waits for a session that is there, and takes no new ones."""
    with psycopg.connect(failing_server.dsn()):
        failing_server.signal(signal.SIGTERM)
        with pytest.raises(ServerUnreachableError, match="the database system is shutting down"):
            watched.store.query(READ)
    failing_server.stop(signal.SIGINT)
    failing_server.start()
    watched.assert_answers()


def test_a_server_that_starts_up_is_waited_for(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    """After a crash it replays its log first: 57P03, or nobody listens yet."""
    failing_server.stop(signal.SIGQUIT)
    failing_server.start(wait=False)

    watched.assert_answers()
    wait_until(failing_server.is_ready, "the start")


def test_no_connection_is_left_says_so(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    role = f"one_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 PASSWORD '{PASSWORD}'")
    dsn = failing_server.dsn(user=role)
    with watched_store(dsn, memory, direct_dsn=failing_server.dsn()) as watched:
        with (
            psycopg.connect(dsn),
            pytest.raises(ServerUnreachableError, match="too many connections for role"),
        ):
            watched.store.query("SELECT 1 AS x")
        watched.assert_answers()
    wait_until(lambda: not failing_server.sessions(), "the sessions' end")


def test_a_silent_network_is_noticed_by_the_kernel(failing_server: OwnServer) -> None:
    """Unless the address says otherwise; the kernel's own limit is two hours."""
    for more, idle in (("", "30"), ("&keepalives_idle=7", "7")):
        connection = connect(failing_server.dsn() + more, timeout_s=5)
        assert connection.info.get_parameters()["keepalives_idle"] == idle
        connection.close()


@pytest.fixture(scope="module")
def primary() -> Iterator[OwnServer]:
    with own_server() as server:
        server.run(
            "CREATE TABLE bars AS SELECT g AS i, g * 0.5::float8 AS price "
            f"FROM generate_series(1, {BARS_ROWS}) g"
        )
        yield server


def test_a_standby_is_read_and_refuses_writes(primary: OwnServer, memory: UnifiedMemory) -> None:
    with standby_of(primary) as standby, watched_store(standby.dsn(), memory) as watched:
        assert_right(watched.store.query(READ))
        with pytest.raises(QueryError, match=r"read-only transaction\nhint: .*use the primary"):
            watched.store.store("results", COLUMNS)
        with pytest.raises(QueryError, match=r"read-only transaction\nhint: .*use the primary"):
            watched.store.store("results", COLUMNS, job_id="one")
        watched.assert_answers()
        watched.assert_nothing_left()


def test_reads_and_jobs_go_on_at_the_standby_that_took_over(memory: UnifiedMemory) -> None:
    """The address names both; libpq takes the one that can be written to."""
    with own_server() as old:
        old.run(
            "CREATE TABLE bars AS SELECT g AS i, g * 0.5::float8 AS price "
            f"FROM generate_series(1, {BARS_ROWS}) g"
        )
        with standby_of(old) as new:
            dsn = (
                f"host=127.0.0.1,127.0.0.1 port={old.port},{new.port} user={USER} "
                f"password='{PASSWORD}' dbname=postgres target_session_attrs=read-write"
            )
            with watched_store(dsn, memory, direct_dsn=new.dsn()) as watched:
                assert_right(watched.store.query(READ))
                watched.store.store("results", COLUMNS, job_id="before")
                end = old.run("SELECT pg_current_wal_lsn()")[0][0]
                wait_until(
                    lambda: (
                        new.run("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end) == [(True,)]
                    ),
                    "the standby's replay",
                )

                old.stop(signal.SIGQUIT)
                with meanwhile(new.promote, after_s=0.1):
                    assert_right(watched.store.query(READ))

                assert watched.store.store("results", COLUMNS, job_id="before").repeated
                assert watched.store.store("results", COLUMNS, job_id="after").rows == 5_000
                assert new.run("SELECT count(*) FROM results") == [(10_000,)]
                watched.assert_nothing_left()
