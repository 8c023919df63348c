"""TLS, and a real pgbouncer in session and in transaction mode: what works, works through them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from cutting_proxy import cutting_proxy
from fix_postgres_extras import BARS_ROWS, BARS_SUM, PoolMode, pgbouncer
from neural_gpu_bus.errors import (
    BadSettingError,
    BadValueError,
    QueryError,
    QueryTimeoutError,
    ServerUnreachableError,
)
from neural_gpu_bus.memory import UnifiedMemory
from own_server import OwnServer
from watched_store import WatchedStore, watched_store

READ = "SELECT i, price, t FROM bars"
COLUMNS = {"i": np.arange(5_000), "price": np.arange(5_000) * 0.5}


def assert_right(columns: Any) -> None:
    assert columns.rows == BARS_ROWS
    assert int(columns["i"].sum()) == BARS_SUM
    assert columns.arrow()["t"].to_pylist()[::9_999] == [f"bar {n}" for n in columns["i"][::9_999]]


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> PoolMode:
    mode: PoolMode = request.param
    return mode


@pytest.fixture
def pooled(
    failing_server: OwnServer, memory: UnifiedMemory, mode: PoolMode
) -> Iterator[WatchedStore]:
    """A store that reaches the server through pgbouncer alone."""
    with pgbouncer(failing_server, mode) as port:
        dsn = failing_server.dsn(port=port)
        with watched_store(dsn, memory, direct_dsn=failing_server.dsn()) as opened:
            yield opened


@pytest.fixture
def table(failing_server: OwnServer) -> Iterator[str]:
    name = f"pooled_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint PRIMARY KEY, price double precision)")
    yield name
    failing_server.run(f"DROP TABLE {name}")


def test_queries_go_through_a_pooler(pooled: WatchedStore) -> None:
    for _ in range(5):
        assert_right(pooled.store.query(READ))
        pooled.assert_answers()
    with pytest.raises(QueryError, match='relation "nothing_here" does not exist'):
        pooled.store.query("SELECT * FROM nothing_here")
    with pytest.raises(QueryError, match="division by zero"):
        pooled.store.query("SELECT 1 / (i - 500) AS x FROM bars")
    pooled.assert_answers()
    pooled.assert_nothing_left()


def test_a_query_through_a_pooler_is_cancelled(pooled: WatchedStore) -> None:
    with pytest.raises(QueryTimeoutError, match=r"0\.3 s"):
        pooled.store.query("SELECT pg_sleep(20)::text AS t", timeout_s=0.3)
    pooled.assert_nothing_left()
    pooled.assert_answers()


def test_stores_go_through_a_pooler(
    pooled: WatchedStore, failing_server: OwnServer, table: str
) -> None:
    assert pooled.store.store(table, COLUMNS).rows == 5_000
    raised = {**COLUMNS, "price": COLUMNS["price"] + 1}
    assert pooled.store.store(table, raised, mode="upsert", job_id=table).rows == 5_000
    assert pooled.store.store(table, raised, mode="upsert", job_id=table).repeated
    count_and_sum = f"SELECT count(*), sum(price) FROM {table}"
    assert failing_server.run(count_and_sum) == [(5_000, float(raised["price"].sum()))]
    few = {name: values[:10] for name, values in COLUMNS.items()}
    assert pooled.store.store(table, few, mode="replace").rows == 10
    assert failing_server.run(count_and_sum) == [(10, 22.5)]
    pooled.assert_nothing_left()


def test_appends_in_one_exchange_go_through_a_pooler(
    pooled: WatchedStore, failing_server: OwnServer, table: str
) -> None:
    """After a refused statement the pooler sees rows that no COPY waits for."""
    store = pooled.store.store
    for number in range(4):
        store(table, {"i": [number], "price": [0.5]}, job_id=f"{table} {number}")
    many = {"i": np.arange(3, 100_000), "price": np.zeros(99_997)}
    with pytest.raises(BadValueError, match=r"row 1: its key is in table .* Key \(i\)=\(3\)"):
        store(table, many)
    assert store(table, {"i": [2], "price": [0.5]}, job_id=f"{table} 2").repeated
    failing_server.run(f"ALTER TABLE {table} ADD COLUMN other int")
    assert store(table, {"i": np.arange(10, 20), "price": np.ones(10)}).rows == 10
    assert store(table, {name: values[100:] for name, values in many.items()}).rows == 99_897

    assert failing_server.run(f"SELECT count(*) FROM {table}") == [(4 + 10 + 99_897,)]
    pooled.assert_nothing_left()
    pooled.assert_answers()


def test_times_are_utc_through_a_pooler_whatever_others_set(
    failing_server: OwnServer, memory: UnifiedMemory, mode: PoolMode
) -> None:
    """Nothing of a session is relied upon, and nothing of ours is left in one: one server session
    for both, and the other client says where it is all the time.
    """
    ask = "SELECT current_setting('TimeZone') AS zone, timestamptz '2024-01-02 03:04:05' AS at"
    with pgbouncer(failing_server, mode, default_pool_size=1 + (mode == "session")) as port:
        dsn = failing_server.dsn(port=port)
        with (
            psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as other,
            watched_store(dsn, memory, direct_dsn=failing_server.dsn()) as watched,
        ):
            other.execute("SET TimeZone = 'America/New_York'")
            for _ in range(5):
                own = watched.store.query(ask).arrow().to_pylist()[0]
                assert own["zone"] == "UTC"
                assert own["at"].isoformat() == "2024-01-02T03:04:05+00:00"
                watched.store.query("SELECT set_config('DateStyle', 'SQL, DMY', false) AS s")
                found = other.execute(ask + ", current_setting('DateStyle') AS style").fetchone()
                assert found is not None
                assert found[0] == "America/New_York"
                assert found[2].startswith("ISO")


def test_many_clients_share_few_sessions(
    failing_server: OwnServer, memory: UnifiedMemory, mode: PoolMode
) -> None:
    """More of our connections than the pooler has sessions: each waits its turn, none gets
    another's rows.
    """
    wrong: list[object] = []
    with pgbouncer(failing_server, mode, default_pool_size=2) as port:
        dsn = failing_server.dsn(port=port)
        with watched_store(
            dsn, memory, direct_dsn=failing_server.dsn(), connections_max=2
        ) as watched:

            def ask(number: int) -> None:
                for turn in range(15):
                    mine = number * 1000 + turn
                    found = watched.store.query(f"SELECT {mine}::int8 AS mine")["mine"].tolist()
                    if found != [mine]:
                        wrong.append((mine, found))

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
    assert wrong == []


def test_settings_in_the_address_that_a_pooler_refuses_are_said(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with pgbouncer(failing_server, "transaction") as port:
        dsn = failing_server.dsn(port=port) + "&options=-c%20work_mem%3D64MB"
        with (
            watched_store(dsn, memory) as watched,
            pytest.raises(BadSettingError, match=r"parameter: options\nhint: a pooler stands in"),
        ):
            watched.store.query(READ)


@pytest.mark.soak
def test_a_pooler_whose_server_goes_says_so(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    """pgbouncer's own words come as a violation of the protocol, and are none of ours."""
    brief = {"server_login_retry": 0.1, "query_wait_timeout": 1}
    with pgbouncer(failing_server, "transaction", **brief) as port:
        dsn = failing_server.dsn(port=port)
        with watched_store(dsn, memory, direct_dsn=failing_server.dsn()) as watched:
            watched.assert_answers()
            stopping = threading.Timer(0.2, failing_server.stop)
            stopping.start()
            gone = "cannot talk to PostgreSQL at 127.*(terminating|crashed|pooler in front says)"
            with pytest.raises(ServerUnreachableError, match=gone):
                watched.store.query("SELECT pg_sleep(1)::text AS t", timeout_s=5)
            stopping.join()
            with pytest.raises(ServerUnreachableError, match="the pooler in front says: "):
                watched.store.query(READ, timeout_s=5)
            failing_server.start()
            watched.assert_answers()


@pytest.mark.parametrize("ssl_mode", ["require", "verify-full"])
def test_a_server_is_read_and_written_over_tls(
    tls_server: OwnServer, memory: UnifiedMemory, ssl_mode: str
) -> None:
    dsn = f"{tls_server.dsn()}&sslmode={ssl_mode}"
    if ssl_mode == "verify-full":
        dsn += f"&sslrootcert={tls_server.certificate}"
    with watched_store(dsn, memory) as watched:
        used = watched.store.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert used.arrow()["ssl"].to_pylist() == [True]
        assert_right(watched.store.query(READ))
        watched.store.store("made_over_tls", COLUMNS, key=["i"], mode="upsert")
        assert watched.store.query("SELECT i FROM made_over_tls").rows == 5_000
        with pytest.raises(QueryTimeoutError, match=r"0\.3 s"):
            watched.store.query("SELECT pg_sleep(20)::text AS t", timeout_s=0.3)
        del used
        watched.assert_nothing_left()
        watched.assert_answers()


def test_a_certificate_nobody_vouches_for_is_refused(
    tls_server: OwnServer, memory: UnifiedMemory
) -> None:
    dsn = f"{tls_server.dsn()}&sslmode=verify-full&sslrootcert=system"
    with (
        watched_store(dsn, memory) as watched,
        pytest.raises(BadSettingError, match=r"certificate verify failed\nhint: check sslmode"),
    ):
        watched.store.query(READ)


def test_a_server_without_tls_says_so(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with (
        watched_store(f"{failing_server.dsn()}&sslmode=require", memory) as watched,
        pytest.raises(BadSettingError, match=r"not the TLS .* server does not support SSL"),
    ):
        watched.store.query(READ)


@pytest.mark.parametrize("action", ["cut", "half_close", "stall", "corrupt"])
@pytest.mark.parametrize("place", [0, 20_000])
def test_tls_that_breaks_is_no_wrong_row(
    tls_server: OwnServer, memory: UnifiedMemory, place: int, action: Any
) -> None:
    """A bent byte is caught here wherever it falls."""
    with cutting_proxy(tls_server.port) as proxy:
        dsn = f"{tls_server.dsn(port=proxy.port)}&sslmode=require"
        with watched_store(dsn, memory, direct_dsn=tls_server.dsn()) as watched:
            watched.assert_answers()
            fault = proxy.arm("to_client", place, action=action)
            try:
                assert_right(watched.store.query(READ, timeout_s=0.5))
            except (ServerUnreachableError, QueryTimeoutError) as error:
                assert error.hint  # noqa: PT017  (either is right, and so is an answer)
            assert fault.happened.is_set()
            proxy.heal()
            watched.assert_nothing_left()
            watched.assert_answers()
