"""The pool: bounded, clean or closed, nothing shared with a forked child."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from neural_gpu_bus.errors import (
    ClosedError,
    QueryTimeoutError,
    ServerAuthenticationError,
)
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


def test_no_thread_of_a_child_finds_the_parents_connections(pool: Pool) -> None:
    """It begins anew before any of them can run: two at once would find half of it done."""
    with pool.lend():
        pass
    child = os.fork()
    if child == 0:
        os._exit(pool.statistics().idle)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.statistics().idle == 1


# ---- statistics, age, reads begun again


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aging(postgres_dsn: str, clock: Clock) -> Iterator[Pool]:
    made = Pool(
        lambda: connect(postgres_dsn, timeout_s=5),
        connections_max=3,
        wait_timeout_s=0.05,
        age_s_max=100,
        idle_s_max=10,
        clock=clock,
    )
    yield made
    made.close()


def test_what_is_lent_idle_and_counted_is_told(pool: Pool) -> None:
    assert (pool.statistics().lent, pool.statistics().opened) == (0, 0)
    with pool.lend():
        assert (pool.statistics().lent, pool.statistics().idle) == (1, 0)
        with pytest.raises(QueryTimeoutError, match="were in use for"), pool.lend(wait_s=0.02):
            pass
    found = pool.statistics()

    assert (found.lent, found.idle, found.opened, found.connections_max) == (0, 1, 1, 1)
    assert (found.waits, found.waiting, found.closed_broken) == (1, 0, 0)
    assert found.wait_total_s == found.wait_longest_s >= 0.02
    pool.count_cancelled()
    assert pool.statistics().cancelled == 1


def test_nobody_waits_without_a_limit_of_time(pool: Pool) -> None:
    with pool.lend(), pytest.raises(QueryTimeoutError, match="in use for 0 s"), pool.lend(wait_s=0):
        pass

    assert pool.statistics().waits == 0


def test_an_idle_connection_is_closed_after_its_time(aging: Pool, clock: Clock) -> None:
    with aging.lend() as first, aging.lend() as second:
        pass
    clock.now_s += 9
    with aging.lend() as used:
        pass
    clock.now_s += 2
    with aging.lend() as again:
        pass
    unused = second if used is first else first

    assert again is used
    assert unused.closed
    assert aging.statistics().closed_idle == 1


def test_an_old_connection_is_replaced(aging: Pool, clock: Clock) -> None:
    with aging.lend() as first:
        pass
    clock.now_s += 101
    with aging.lend() as second:
        assert first.closed
        assert second.execute("SELECT 1").fetchone() == (1,)

    assert (aging.statistics().closed_old, aging.statistics().opened) == (1, 2)


def refusing_after(count: int, dsn: str) -> Callable[[], psycopg.Connection]:
    """Opens so many, then says what a server says whose password was changed."""
    left = [count]

    def open_one() -> psycopg.Connection:
        left[0] -= 1
        if left[0] < 0:
            raise ServerAuthenticationError("refused", hint="check it", server="PostgreSQL")
        return connect(dsn, timeout_s=5)

    return open_one


@pytest.fixture
def refused(postgres_dsn: str, clock: Clock) -> Iterator[Pool]:
    """One connection is let in, no other."""
    made = Pool(
        refusing_after(1, postgres_dsn),
        connections_max=2,
        wait_timeout_s=1,
        age_s_max=100,
        idle_s_max=1e9,
        clock=clock,
    )
    yield made
    made.close()


def test_a_changed_password_is_said_with_what_to_do(refused: Pool) -> None:
    with (
        refused.lend() as first,
        pytest.raises(ServerAuthenticationError, match="refused") as caught,
        refused.lend(),
    ):
        pass

    assert "put the new one into NGB_POSTGRES_DSN" in caught.value.hint
    assert first.closed is False


def test_after_a_change_of_password_open_connections_go_on(refused: Pool, clock: Clock) -> None:
    """However old they are."""
    with refused.lend() as first:
        pass
    clock.now_s += 1000
    with refused.lend() as still:
        assert still is first
        assert still.execute("SELECT 1").fetchone() == (1,)


def test_a_first_password_that_is_wrong_is_told_as_ever(postgres_dsn: str) -> None:
    pool = Pool(refusing_after(0, postgres_dsn), connections_max=1, wait_timeout_s=1)

    with pytest.raises(ServerAuthenticationError, match="refused") as caught, pool.lend():
        pass
    assert caught.value.hint == "check it"


def test_free_connections_are_lent_without_waiting(aging: Pool) -> None:
    with aging.lend(), aging.lend_free(5) as more:
        assert len(more) == 2
        assert all(one.execute("SELECT 1").fetchone() == (1,) for one in more)
        with aging.lend_free(1) as none:
            assert list(none) == []

    assert (aging.statistics().lent, aging.statistics().idle) == (0, 3)


def test_free_connections_that_cannot_be_opened_are_left_out(postgres_dsn: str) -> None:
    pool = Pool(refusing_after(2, postgres_dsn), connections_max=4, wait_timeout_s=1)
    with pool.lend(), pool.lend_free(3) as more:
        assert len(more) == 1
    assert pool.statistics().lent == 0
    pool.close()


def test_a_read_that_begins_again_gets_a_new_connection(aging: Pool) -> None:
    """A network that is cut closes nothing: idle connections look well, and none of them is."""
    with aging.lend() as first, aging.lend() as second:
        pass
    aging.begin_anew()
    with aging.lend() as third:
        assert third.execute("SELECT 1").fetchone() == (1,)

    assert first.closed
    assert second.closed
    found = aging.statistics()
    assert (found.retried, found.closed_broken, found.opened, found.idle) == (1, 2, 3, 1)


def test_a_forked_child_that_begins_again_closes_nothing_of_its_parents(aging: Pool) -> None:
    with aging.lend() as connection:
        pass
    child = os.fork()
    if child == 0:
        aging.begin_anew()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with aging.lend() as again:
        assert again is connection
        assert again.execute("SELECT 1").fetchone() == (1,)
