"""What ``docs/how-to/when-things-go-wrong.md`` quotes of servers is what they make us say."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from documented_failures import is_documented, sections
from fix_postgres_extras import pgbouncer
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.memory import UnifiedMemory
from own_server import OwnServer, standby_of
from watched_store import WatchedStore, watched_store

READ = "SELECT i FROM bars"


def assert_documented(title: str, work: Callable[[], Any]) -> None:
    assert title in sections()
    with pytest.raises(NeuralGpuBusError, match="hint: ") as caught:
        work()
    assert is_documented(f"ngb: {caught.value}", title), str(caught.value)


def test_a_locked_table(watched: WatchedStore, failing_server: OwnServer) -> None:
    with failing_server.locked("bars"):
        assert_documented("A table is locked", lambda: watched.store.query(READ, timeout_s=0.3))


def test_a_server_that_stays_away(watched: WatchedStore, failing_server: OwnServer) -> None:
    watched.assert_answers()
    failing_server.stop()
    title = "PostgreSQL restarts, fails over, or the network breaks"
    assert_documented(title, lambda: watched.store.query(READ))


def test_a_pooler(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with pgbouncer(failing_server, "transaction", server_login_retry=0.1) as port:
        dsn = failing_server.dsn(port=port)
        with watched_store(f"{dsn}&options=-c%20jit%3Doff", memory) as watched:
            title = "A pooler refuses an option of the address"
            assert_documented(title, lambda: watched.store.query(READ))
        with psycopg.connect(dsn):  # what was never there makes clients wait, what went away not
            pass
    with (
        pgbouncer(failing_server, "transaction", max_client_conn=1) as port,
        psycopg.connect(failing_server.dsn(port=port)),
        watched_store(failing_server.dsn(port=port), memory) as watched,
    ):
        assert_documented("A pooler stands in front", lambda: watched.store.query(READ))


def test_tls_that_is_not_there(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with watched_store(f"{failing_server.dsn()}&sslmode=require", memory) as watched:
        title = "PostgreSQL has no TLS, or another's certificate"
        assert_documented(title, lambda: watched.store.query(READ))


def test_text_in_no_utf8(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    name = f"encoded_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with watched_store(failing_server.dsn(name), memory) as watched:
        with psycopg.connect(watched.direct_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE words AS SELECT E'wr\\xffong'::text AS word")
        assert_documented(
            "Text is in no UTF-8", lambda: watched.store.query("SELECT word FROM words")
        )
    failing_server.run(f"DROP DATABASE {name}")


def test_a_store_to_a_standby(failing_server: OwnServer, memory: UnifiedMemory) -> None:
    with standby_of(failing_server) as standby, watched_store(standby.dsn(), memory) as watched:
        assert_documented(
            "A store to a standby", lambda: watched.store.store("results", {"x": [1]})
        )
