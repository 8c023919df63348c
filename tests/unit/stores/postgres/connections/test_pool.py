"""The pool: bounded, clean or closed, nothing shared with a forked child."""

from __future__ import annotations

import os
import threading

import psycopg
import pytest

from neural_gpu_bus.errors import ClosedError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool


@pytest.fixture
def pool(postgres_dsn: str):
    made = Pool(lambda: connect(postgres_dsn, timeout_s=5), connections_max=1, wait_timeout_s=0.05)
    yield made
    made.close()


def test_a_clean_connection_is_lent_again(pool: Pool) -> None:
    with pool.lend() as first:
        first.execute("SELECT 1")
    with pool.lend() as second:
        assert second is first


@pytest.mark.parametrize("spoil", ["BEGIN", "SELECT 1/0", "SELECT nothing"])
def test_a_busy_or_failed_connection_is_closed(pool: Pool, spoil: str) -> None:
    try:
        with pool.lend() as first:
            first.execute(spoil)
    except psycopg.Error:
        pass
    with pool.lend() as second:
        assert first.closed
        assert second.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_the_server_closed_is_replaced(pool: Pool, postgres_dsn: str) -> None:
    with pool.lend() as first:
        pid = first.info.backend_pid
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pool.lend() as second:
        assert second.info.backend_pid != pid
        assert second.execute("SELECT 1").fetchone() == (1,)


def test_waiting_for_a_connection_is_bounded(pool: Pool) -> None:
    with pool.lend(), pytest.raises(QueryTimeoutError, match="all 1 connections"), pool.lend():
        pass


def test_a_waiting_thread_gets_the_connection_that_comes_back(postgres_dsn: str) -> None:
    pool = Pool(lambda: connect(postgres_dsn, timeout_s=5), connections_max=1, wait_timeout_s=20)
    seen: list[int] = []

    def use() -> None:
        for _ in range(20):
            with pool.lend() as connection:
                seen.append(connection.info.backend_pid)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    pool.close()

    assert len(seen) == 80
    assert len(set(seen)) == 1


def test_a_closed_pool_lends_nothing(pool: Pool) -> None:
    with pool.lend() as lent:
        pool.close()
    assert lent.closed
    with pytest.raises(ClosedError, match="closed"), pool.lend():
        pass


def test_a_forked_child_opens_its_own_and_leaves_the_parents_alone(pool: Pool) -> None:
    with pool.lend() as connection:
        pid = connection.info.backend_pid
    child = os.fork()
    if child == 0:
        with pool.lend() as own:
            os._exit(0 if own.info.backend_pid != pid else 1)
    assert os.waitpid(child, 0)[1] == 0
    with pool.lend() as connection:
        assert connection.info.backend_pid == pid
        assert connection.execute("SELECT 1").fetchone() == (1,)
