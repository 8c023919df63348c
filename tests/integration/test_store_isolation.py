"""Stores where the database begins its transactions as REPEATABLE READ: their snapshot would be
older than the locks they wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from fix_stores import own_database
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter

Strict = tuple[psycopg.Connection, PostgresWriter]
WAIT_S_MAX = 20.0


@pytest.fixture(params=["repeatable read", "serializable"])
def strict(postgres_dsn: str, request: pytest.FixtureRequest) -> Iterator[Strict]:
    with own_database(postgres_dsn) as connection:
        connection.execute(
            f'ALTER DATABASE "{connection.info.dbname}" '
            f"SET default_transaction_isolation = '{request.param}'".encode()
        )
        dsn = psycopg.conninfo.make_conninfo(postgres_dsn, dbname=connection.info.dbname)
        pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=2, wait_timeout_s=20)
        yield connection, PostgresWriter(pool.lend, "there")
        pool.close()


def store_behind(strict: Strict, statement: str, store: Callable[[], Any]) -> Any:
    """``store`` waits for the transaction of ``statement``, which commits then."""
    connection, _ = strict
    with ThreadPoolExecutor(1) as pool, connection.transaction():
        connection.execute(statement.encode())
        storing, until_s = pool.submit(store), time.monotonic() + WAIT_S_MAX
        while connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (
            0,
        ):
            assert not storing.done()
            assert time.monotonic() < until_s
    return storing.result()


def test_replace_leaves_only_its_own_rows(strict: Strict) -> None:
    connection, writer = strict
    connection.execute("CREATE TABLE t (v bigint)")

    store_behind(
        strict, "INSERT INTO t VALUES (777)", lambda: writer.store("t", {"v": [1]}, mode="replace")
    )

    assert connection.execute("SELECT v FROM t").fetchall() == [(1,)]


def test_upsert_into_a_table_that_is_filled_meanwhile(strict: Strict) -> None:
    connection, writer = strict
    connection.execute("CREATE TABLE t (v bigint PRIMARY KEY, w bigint)")

    store_behind(
        strict,
        "INSERT INTO t VALUES (7, 0)",
        lambda: writer.store("t", {"v": [7], "w": [1]}, mode="upsert"),
    )

    assert connection.execute("SELECT v, w FROM t").fetchall() == [(7, 1)]


def test_a_known_table_that_is_altered_meanwhile(strict: Strict) -> None:
    connection, writer = strict
    connection.execute("CREATE TABLE t (v bigint)")
    for value in (1, 2):
        writer.store("t", {"v": [value]})

    def store() -> None:
        try:
            writer.store("t", {"v": [3]})
        except Exception:  # noqa: BLE001  (it is told that the table was altered)
            writer.store("t", {"v": [3]})

    store_behind(strict, "ALTER TABLE t ALTER v TYPE double precision", store)

    assert connection.execute("SELECT v FROM t").fetchall() == [(1.0,), (2.0,), (3.0,)]
