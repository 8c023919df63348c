"""Ctrl-C and time limits at any moment: the next query gets its own answer, and nothing is left."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fix_postgres_extras import BARS_ROWS, BARS_SUM
from interrupting import interrupted_after, interrupted_at_call
from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.memory import UnifiedMemory
from own_server import OwnServer
from watched_store import WatchedStore, watched_store

READ = "SELECT i, price, t FROM bars"
COLUMNS = {"i": np.arange(20_000), "price": np.arange(20_000) * 0.5}

pytestmark = [
    # A connection that an interrupt left to the garbage collector is closed by it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=["direct", "tls"])
def narrow(request: pytest.FixtureRequest, memory: UnifiedMemory) -> Iterator[WatchedStore]:
    """One connection, so that a reply left over would meet the next query, and a lost turn would
    leave none.
    """
    if request.param == "tls":
        dsn = request.getfixturevalue("tls_server").dsn() + "&sslmode=require"
    else:
        dsn = request.getfixturevalue("failing_server").dsn()
    with watched_store(dsn, memory, connections_max=1, query_timeout_s=5) as opened:
        yield opened


def seeded(seed: int) -> random.Random:
    print(f"seed {seed}")
    return random.Random(seed)


def assert_right(columns: Any) -> None:
    assert columns.rows == BARS_ROWS
    assert int(columns["i"].sum()) == BARS_SUM


def interrupt_at_random(watched: WatchedStore, chance: random.Random, times: int) -> int:
    """Interrupted reads; each is followed by one that has to be right."""
    interrupted = 0
    for _ in range(times):
        columns = interrupted_after(chance.uniform(0, 0.03), lambda: watched.store.query(READ))
        if columns is None:
            interrupted += 1
        else:
            assert_right(columns)
        del columns
        watched.assert_answers()
    watched.assert_nothing_left()
    return interrupted


def test_ctrl_c_at_random_moments_of_a_read(narrow: WatchedStore) -> None:
    narrow.assert_answers()
    assert interrupt_at_random(narrow, seeded(5), 25) > 3


@pytest.mark.soak
def test_ctrl_c_at_many_moments_of_a_read(narrow: WatchedStore) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    narrow.assert_answers()
    print(f"{interrupt_at_random(narrow, seeded(seed), 1000)} of 1000 were interrupted")


def time_out_at_random(watched: WatchedStore, chance: random.Random, times: int) -> int:
    stopped = 0
    for _ in range(times):
        try:
            assert_right(watched.store.query(READ, timeout_s=chance.uniform(0.0002, 0.03)))
        except QueryTimeoutError as error:
            assert "narrow the statement" in error.hint  # noqa: PT017  (an answer is right too)
            stopped += 1
        watched.assert_answers()
    watched.assert_nothing_left()
    return stopped


def test_time_limits_at_random_moments_of_a_read(narrow: WatchedStore) -> None:
    narrow.assert_answers()
    assert time_out_at_random(narrow, seeded(6), 50) > 5


@pytest.mark.soak
def test_time_limits_at_many_moments_of_a_read(narrow: WatchedStore) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"{time_out_at_random(narrow, seeded(seed), 3000)} of 3000 were stopped")


def calls_of(work: Callable[[], Any]) -> int:
    """Moments at which it may be interrupted, up to 20,000."""
    low, high = 0, 20_000
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if interrupted_at_call(middle, work) else (low, middle - 1)
    return low


def interrupt_at_calls(watched: WatchedStore, numbers: list[int], sql: str) -> None:
    for number in numbers:
        interrupted_at_call(number, lambda: watched.store.query(sql))
        try:
            watched.assert_answers()
        except Exception as error:
            raise AssertionError(f"after an interrupt at call {number}") from error
    # Between a number of the accounts and the next line no interrupt can be told from none: of
    # 1,300 moments 2 leave a claim or a line of the list until the process ends.
    watched.assert_nothing_left(counted=False)


def test_ctrl_c_at_some_calls_of_a_read(narrow: WatchedStore) -> None:
    """Among them those between taking a connection or memory and the block that gives it back."""
    narrow.assert_answers()
    calls = calls_of(lambda: narrow.store.query(READ))
    chosen = seeded(7).sample(range(1, calls + 1), min(calls, 60))
    interrupt_at_calls(narrow, chosen, READ)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_ctrl_c_at_every_call_of_a_read(narrow: WatchedStore) -> None:
    narrow.assert_answers()
    calls = calls_of(lambda: narrow.store.query(READ))
    print(f"{calls} calls")
    interrupt_at_calls(narrow, list(range(1, calls + 1)), READ)


@pytest.fixture
def table(failing_server: OwnServer) -> Iterator[str]:
    name = f"stored_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint PRIMARY KEY, price double precision)")
    yield name
    failing_server.run(f"DROP TABLE {name}")


def interrupt_stores(watched: WatchedStore, table: str, chance: random.Random, times: int) -> None:
    """All rows or none, and the job's second try stores what the first did not."""
    count = f"SELECT count(*)::int8 AS n FROM {table}"
    for turn in range(times):
        job = f"{table} {turn}"
        watched.store.store(table, {"i": [1], "price": [0.0]}, mode="replace")
        interrupted_after(
            chance.uniform(0, 0.03),
            lambda job=job: watched.store.store(table, COLUMNS, mode="replace", job_id=job),
        )
        assert watched.store.query(count)["n"].tolist() in ([1], [20_000])
        watched.store.store(table, COLUMNS, mode="replace", job_id=job)
        assert watched.store.query(count)["n"].tolist() == [20_000]
    watched.assert_nothing_left()


def test_ctrl_c_at_random_moments_of_a_store(watched: WatchedStore, table: str) -> None:
    interrupt_stores(watched, table, seeded(8), 12)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_ctrl_c_at_many_moments_of_a_store(watched: WatchedStore, table: str) -> None:
    interrupt_stores(watched, table, seeded(random.SystemRandom().randrange(1 << 32)), 500)
