"""Reads by several connections that are ended early: nothing runs on, nothing is left, and the next
read gets its own answer.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_reader import open_reader
from fix_servers import wait_until
from fix_stores import Playground
from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import QueryError, QueryTimeoutError, ServerUnreachableError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

ROWS = 60_000
#: 0.6 s of sleep spread over the whole table.
SLOW = "i % 100 <> 0 OR pg_sleep(0.001) IS NOT NULL"
TESTS = Path(__file__).parent.parent


@pytest.fixture
def bars(playground: Playground) -> str:
    playground.run(
        "CREATE TABLE bars AS SELECT i, repeat('x', 150) AS filler "
        f"FROM generate_series(0, {ROWS - 1}) AS i"
    )
    playground.run("VACUUM ANALYZE bars")
    return playground.table("bars")


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def shared(
    request: pytest.FixtureRequest, postgres_dsn: str, memory: UnifiedMemory
) -> Iterator[PostgresReader]:
    """Reads into shared memory, by up to four connections."""
    pool = Pool(lambda: connect(postgres_dsn, timeout_s=5), connections_max=4, wait_timeout_s=20)
    made = PostgresReader(
        pool,
        memory.reserve,
        address=postgres_address(postgres_dsn),
        timeout_s=30,
        received_bytes_max=1 << 28,
        direct=request.param,
    )
    yield made
    made.close()
    pool.close()


def assert_nothing_runs(connection: psycopg.Connection, table: str) -> None:
    """No session reads that table any more."""
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND state <> 'idle' AND query LIKE %s"
    )
    schema = f"%{table.split('.', maxsplit=1)[0]}%"
    wait_until(
        lambda: connection.execute(running, [schema]).fetchone() == (0,), "the reads' end", 5
    )


def assert_answers(reader: PostgresReader, table: str) -> None:
    one: Any = reader.query("SELECT 'mine' AS whose")
    assert one.arrow().to_pydict() == {"whose": ["mine"]}
    whole: Any = reader.table(table, columns=["i"], connections=3)
    assert list(whole.arrow()["i"].to_pylist()) == list(range(ROWS))


def test_timeouts_at_random_moments(
    shared: PostgresReader, memory: UnifiedMemory, playground: Playground, bars: str
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    shared.table(bars, connections=3)
    for _ in range(8):
        with pytest.raises(QueryTimeoutError, match=r"did not finish|stopped the statement"):
            shared.table(bars, where=SLOW, connections=3, timeout_s=chosen.uniform(0.002, 0.15))
        assert_nothing_runs(playground.connection, bars)
        assert memory.statistics().blocks == 0
    assert_answers(shared, bars)


def test_what_progress_raises_ends_the_read(
    shared: PostgresReader, memory: UnifiedMemory, playground: Playground, bars: str
) -> None:
    def enough(done: int, total: int | None) -> None:
        raise RuntimeError(f"enough after {done} of {total}")

    for connections in (3, 1):
        with pytest.raises(RuntimeError, match="enough after"):
            shared.table(bars, where=SLOW, connections=connections, progress=enough)
        assert_nothing_runs(playground.connection, bars)
    with pytest.raises(RuntimeError, match="enough after 0"):
        shared.query("SELECT pg_sleep(20)::text AS t", progress=enough)
    assert memory.statistics().blocks == 0
    assert_answers(shared, bars)


def test_a_refusal_in_one_part_ends_them_all(
    shared: PostgresReader, memory: UnifiedMemory, playground: Playground, bars: str
) -> None:
    started = time.monotonic()
    for row in (100, 30_000, ROWS - 1):
        with pytest.raises(QueryError, match="division by zero"):
            shared.table(bars, where=f"({SLOW}) AND 1 / (i - {row}) IS NOT NULL", connections=3)
        assert_nothing_runs(playground.connection, bars)
    assert time.monotonic() - started < 20
    assert memory.statistics().blocks == 0
    assert_answers(shared, bars)


def test_a_lost_session_is_an_error_or_a_whole_table(
    shared: PostgresReader, playground: Playground, bars: str
) -> None:
    """One of those that read is ended by the server; the read may be begun again as a whole."""
    seen = threading.Event()

    def end_one() -> None:
        seen.wait(20)
        playground.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' "
            f"AND query LIKE '%{playground.schema}%' AND pid <> pg_backend_pid() LIMIT 1"
        )

    thread = threading.Thread(target=end_one)
    thread.start()
    try:
        found: Any = shared.table(bars, where=SLOW, connections=3, progress=lambda *_: seen.set())
        assert found.arrow()["i"].to_pylist() == list(range(ROWS))
    except ServerUnreachableError:
        pass
    finally:
        seen.set()
        thread.join()
    assert_nothing_runs(playground.connection, bars)
    assert_answers(shared, bars)


@pytest.mark.parametrize("how", ["direct", "libpq"])
@pytest.mark.parametrize("way", ["table", "query", "stream"])
def test_ctrl_c_ends_it_on_the_server_too(
    postgres_dsn: str, playground: Playground, bars: str, way: str, how: str
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    process = subprocess.Popen(
        [sys.executable, TESTS / "reading_actor.py", postgres_dsn, bars, way, how],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "reading\n"
        with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
            process.wait(random.Random(seed).uniform(0.01, 1.2))
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == f"['mine'] {ROWS}\n"
        assert process.wait(20) == 0
    assert_nothing_runs(playground.connection, bars)


def test_a_hot_read_ends_after_its_time_and_says_whose(
    postgres_dsn: str, playground: Playground, bars: str
) -> None:
    with open_reader(postgres_dsn, connections_max=2) as reader:
        reader.query("SELECT 1 AS x", query_class="hot")
        with pytest.raises(
            QueryTimeoutError, match=r"0\.1 s.*query class 'hot'.*\nhint: .*NGB_HOT_TIMEOUT_MS"
        ):
            reader.query("SELECT pg_sleep(5)::text AS t", query_class="hot")
        with pytest.raises(QueryTimeoutError, match=r"0\.2 s") as caught:
            reader.query("SELECT pg_sleep(5)::text AS t", query_class="hot", timeout_s=0.2)
        assert "NGB_HOT" not in str(caught.value)
        assert reader.table(bars, columns=["i"]) is not None
