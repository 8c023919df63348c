"""Kept results over a real server: several processes, killed readers, changed functions."""

from __future__ import annotations

import bisect
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from fix_servers import wait_until
from fix_stores import Playground
from memory_actors import forking
from neural_gpu_bus.embedded.records import Addresses
from neural_gpu_bus.errors import BadParameterError, QueryError, QueryTimeoutError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.plane import DataPlane
from neural_gpu_bus.settings import Settings
from query_actors import CachedReads, ask_and_never_come_back, ask_when_told

PROCESSES = 3


@pytest.fixture
def dsn(playground: Playground, postgres_dsn: str) -> str:
    """Of the playground: its tables need no schema."""
    playground.run(
        "CREATE TABLE numbers (x int8, y int); INSERT INTO numbers VALUES (1, 1), (2, 2); "
        # STABLE, though it sleeps: as a function that reads for long.
        "CREATE FUNCTION slowly(s float8) RETURNS int8 STABLE LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_sleep(s); RETURN (SELECT sum(x) FROM numbers); END'"
    )
    return make_conninfo(postgres_dsn, options=f"-c search_path={playground.schema}")


@pytest.fixture
def reads(dsn: str, memory_folder: Path) -> Iterator[CachedReads]:
    opened = CachedReads(dsn, memory_folder)
    yield opened
    opened.close()


def running(playground: Playground, text: str) -> int:
    """Statements with that text that run at this moment."""
    found = playground.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s "
        "AND pid <> pg_backend_pid()",
        [f"%{text}%"],
    ).fetchone()
    return int(found[0]) if found else 0


def test_a_result_stays_and_says_when_it_was_read(
    reads: CachedReads, playground: Playground
) -> None:
    before_ns = time.time_ns()
    first = reads.ask("SELECT sum(x)::int8 AS x FROM numbers", freshness=60)
    playground.run("INSERT INTO numbers VALUES (10, 10)")
    again = reads.ask("select sum(X)::int8 as x from NUMBERS;", freshness=60)
    now = reads.ask("SELECT sum(x)::int8 AS x FROM numbers", freshness=0)

    assert (first["x"][0], again["x"][0], now["x"][0]) == (3, 3, 13)
    assert first.descriptor == again.descriptor
    assert first.as_of.source_ns is not None
    assert before_ns <= first.as_of.source_ns <= first.as_of.published_ns
    assert reads.sent == 2


def test_processes_that_miss_at_once_read_once(
    reads: CachedReads, dsn: str, memory_folder: Path, playground: Playground
) -> None:
    sql = "SELECT slowly(0.4) AS x"
    context = forking()
    told = context.Event()
    pipes = [context.Pipe() for _ in range(PROCESSES)]
    processes = [
        context.Process(target=ask_when_told, args=(dsn, memory_folder, sql, told, ours))
        for _, ours in pipes
    ]
    for process in processes:
        process.start()
    for theirs, _ in pipes:
        assert theirs.poll(30)
        assert theirs.recv() == "ready"
    told.set()
    most = 0
    while any(process.is_alive() for process in processes):
        most = max(most, running(playground, "slowly(0.4)"))
        time.sleep(0.01)

    answers = [theirs.recv() for theirs, _ in pipes]
    assert {value for value, _, _ in answers} == {3}
    assert len({uuid for _, uuid, _ in answers}) == 1
    assert sum(sent for _, _, sent in answers) == 1
    assert most == 1


def test_when_the_one_who_reads_is_killed_the_next_takes_over(
    reads: CachedReads, dsn: str, memory_folder: Path, playground: Playground
) -> None:
    sql = "SELECT slowly(1.5) AS x"
    context = forking()
    theirs, ours = context.Pipe()
    victim = context.Process(target=ask_and_never_come_back, args=(dsn, memory_folder, sql, ours))
    victim.start()
    assert theirs.poll(30)
    wait_until(lambda: running(playground, "slowly(1.5)"), "the victim's statement")
    answers: list[Any] = []
    waiting = threading.Thread(
        target=lambda: answers.append(reads.ask(sql, freshness="manual")["x"][0])
    )
    waiting.start()
    time.sleep(0.2)
    assert reads.sent == 0

    os.kill(victim.pid, signal.SIGKILL)
    victim.join(10)
    wait_until(lambda: reads.sent == 1, "the next one's turn")
    waiting.join(20)

    assert answers == [3]
    assert reads.sent == 1


def test_a_child_made_while_its_parent_reads_keeps_no_turn(reads: CachedReads) -> None:
    sql = "SELECT slowly(0.5) AS x"
    reading = threading.Thread(target=lambda: reads.ask(sql, freshness="manual"))
    reading.start()
    wait_until(lambda: reads.sent, "the read")
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(0)
    try:
        reading.join(10)
        began_s = time.monotonic()
        reads.ask(sql, freshness=0)

        assert reads.sent == 2
        assert time.monotonic() - began_s < 5
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_error_of_the_one_who_reads_is_told_to_him_alone(
    reads: CachedReads, playground: Playground
) -> None:
    sql = "SELECT x / (SELECT max(y) - 2 FROM numbers) AS x FROM numbers"
    with pytest.raises(QueryError, match="division by zero"):
        reads.ask(sql, freshness="manual")

    playground.run("INSERT INTO numbers VALUES (6, 3)")

    assert sorted(reads.ask(sql, freshness="manual")["x"]) == [1, 2, 6]


def test_a_query_asked_again_from_its_own_progress_waits_for_nobody(
    reads: CachedReads, playground: Playground
) -> None:
    sql = "SELECT x FROM numbers WHERE y = 1"
    inner: list[int] = []

    def read(reserve: Any, left_s: float | None) -> Any:
        if not inner:
            inner.append(0)
            inner[0] = reads.ask(sql, freshness="manual", timeout_s=5)["x"][0]
        return reads.store.query(sql, None, reserve=reserve, timeout_s=left_s)

    began_s = time.monotonic()
    found = reads.cache.load(read, sql, freshness="manual")

    assert time.monotonic() - began_s < 4
    assert (inner, list(found["x"])) == ([1], [1])
    assert reads.cache.find(sql, freshness="manual") is not None


def test_who_has_no_time_to_wait_is_told(reads: CachedReads, playground: Playground) -> None:
    sql = "SELECT slowly(1) AS x"
    reading = threading.Thread(target=lambda: reads.ask(sql, freshness="manual"))
    reading.start()
    wait_until(lambda: running(playground, "slowly(1)"), "the read")

    with pytest.raises(QueryTimeoutError, match="has been reading the same query"):
        reads.ask(sql, freshness="manual", timeout_s=0.05)
    reading.join(10)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT random() AS x",
        "SELECT nextval('counter') AS x",
        "SELECT x FROM numbers FOR UPDATE",
        "INSERT INTO numbers VALUES (5, 5) RETURNING x",
    ],
)
def test_what_must_not_be_kept_is_run_each_time(
    reads: CachedReads, playground: Playground, sql: str
) -> None:
    playground.run("CREATE SEQUENCE counter")

    for _ in range(2):
        reads.ask(sql, freshness="manual")

    assert reads.sent == 2
    assert reads.memory.names() == []


def test_a_function_that_becomes_volatile_is_kept_no_more(
    reads: CachedReads, playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neural_gpu_bus.query_cache import known_dependencies

    monkeypatch.setattr(known_dependencies, "TRUSTED_NS", 0)
    playground.run("CREATE FUNCTION f() RETURNS int8 STABLE LANGUAGE sql AS 'SELECT 1::int8'")
    assert reads.ask("SELECT f() AS x", freshness=0)["x"][0] == 1
    assert reads.cache.explain("SELECT f() AS x").kept

    playground.run(
        "CREATE OR REPLACE FUNCTION f() RETURNS int8 VOLATILE LANGUAGE sql AS 'SELECT 2::int8'"
    )
    reads.ask("SELECT f() AS x", freshness=0)
    (block,) = reads.memory.blocks("queries/")

    assert not reads.cache.explain("SELECT f() AS x").kept
    assert reads.sent == 2
    assert block.version == 1


def test_users_and_search_paths_have_results_of_their_own(
    reads: CachedReads, postgres_dsn: str, memory_folder: Path
) -> None:
    sql = "SELECT current_setting('search_path') AS x"
    elsewhere = CachedReads(postgres_dsn, memory_folder)
    try:
        ours, theirs = (one.ask(sql, freshness="manual") for one in (reads, elsewhere))

        assert ours["x"][0] != theirs["x"][0]
    finally:
        elsewhere.close()


def test_an_explanation_asks_the_server_and_runs_nothing(
    reads: CachedReads, playground: Playground
) -> None:
    began_s = time.monotonic()
    told = reads.cache.explain("SELECT slowly(30) + sum(x) AS x FROM numbers")

    assert time.monotonic() - began_s < 10
    assert told.tables == (f"table {playground.schema}.numbers",)
    assert told.functions == ("slowly(double precision), stable",)
    assert "depends on tables nobody can name" in str(told)


def test_when_the_server_is_gone_what_is_kept_is_still_answered(
    reads: CachedReads, playground: Playground
) -> None:
    kept = reads.ask("SELECT x FROM numbers WHERE y = %s", [1], freshness=60)
    reads.store.close()

    again = reads.ask("SELECT x FROM numbers WHERE y = %s", [1], freshness=60)

    assert again.descriptor == kept.descriptor


def test_the_planes_own_face(
    postgres_dsn: str, redis_url: str, memory_folder: Path, playground: Playground
) -> None:
    redis = SecretStr(redis_url)
    addresses = Addresses(SecretStr(postgres_dsn), redis, redis, redis, memory_folder, {})
    attachment: Any = SimpleNamespace(addresses=addresses, close=lambda: None)
    playground.run("CREATE TABLE prices (id int, close float8); INSERT INTO prices VALUES (1, 2.5)")
    sql, params = f"SELECT close FROM {playground.schema}.prices WHERE id = %(id)s", {"id": 1}
    with DataPlane(Settings(memory_bytes_max=256 << 20), attachment) as plane:
        first = plane.query(sql, params, freshness=60)
        playground.run("UPDATE prices SET close = 3.5")

        assert plane.query(sql, params, freshness="manual") == first
        assert plane.query(sql, params)["close"][0] == 3.5
        assert plane.explain_cache(sql, params).resident
        assert plane.forget_query(sql, params) == 1
        assert plane.query(sql, params, freshness="manual")["close"][0] == 3.5
        assert plane.query_cache.statistics().loads == 2
        with pytest.raises(BadParameterError, match="freshness is 'live'"):
            plane.query("SELECT now() AS x", freshness="live")
        as_text = plane.query("SELECT 1.5::numeric AS x", numeric="text", freshness=60)
        as_float = plane.query("SELECT 1.5::numeric AS x", numeric="float64", freshness=60)
        assert (as_text["x"][0], as_float["x"][0]) == ("1.5", 1.5)
        assert plane.query("SELECT 1.5::numeric AS x", numeric="text", freshness=60) == as_text
        with pytest.raises(BadParameterError, match="both a snapshot and a freshness"):
            plane.query(sql, params, freshness=60, snapshot="1-1")
        with pytest.raises(BadParameterError, match="query_class is 'quick'"):
            plane.query("SELECT 3 AS x", freshness=60, query_class="quick")  # type: ignore[arg-type]
        with pytest.raises(BadParameterError, match="both name 'mine' and a freshness"):
            plane.query(sql, params, freshness=60, name="mine")
        with pytest.raises(BadParameterError, match="sql is 5"):
            plane.query(5, freshness=60)  # type: ignore[arg-type]
        plane.forget_query(sql, params)


def test_nobody_gets_data_that_is_older_than_he_said(
    reads: CachedReads, dsn: str, memory_folder: Path
) -> None:
    """A writer counts up; what was committed by then is the least that each answer shows."""
    others = [CachedReads(dsn, memory_folder) for _ in range(2)]
    commits: list[tuple[int, int]] = [(host_clock_ns(), 0)]
    end_s, served, wrong = time.monotonic() + 2, [0], []

    def count_up() -> None:
        with psycopg.connect(dsn, autocommit=True) as writer:
            while time.monotonic() < end_s:
                number = len(commits)
                writer.execute("UPDATE numbers SET x = %s WHERE y = 1", [number])
                commits.append((host_clock_ns(), number))

    def look(one: CachedReads, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < end_s:
            age_s = chance.choice([0, 0.001, 0.01, 0.05])
            if chance.random() < 0.05:
                age_s, oldest_ns = 0.05, host_clock_ns()
                one.cache.forget("SELECT x FROM numbers WHERE y = 1")
            else:
                oldest_ns = host_clock_ns() - int(age_s * 1e9)
            found = one.ask("SELECT x FROM numbers WHERE y = 1", freshness=age_s)["x"][0]
            served[0] += 1
            at = bisect.bisect_right(commits, (oldest_ns, 1 << 62)) - 1
            if at >= 0 and found < commits[at][1]:
                wrong.append((age_s, found, commits[at]))

    threads = [threading.Thread(target=count_up)]
    threads += [
        threading.Thread(target=look, args=(one, seed))
        for seed, one in enumerate([reads, *others, reads])
    ]
    with psycopg.connect(dsn, autocommit=True) as setting:
        setting.execute("UPDATE numbers SET x = 0 WHERE y = 1")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    sent = reads.sent + sum(one.sent for one in others)
    for one in others:
        one.close()

    assert wrong == []
    assert served[0] > sent > 10
    assert len(commits) > 10


def test_a_statement_is_asked_about_with_a_connection_that_comes_back_clean(
    reads: CachedReads, playground: Playground
) -> None:
    reads.ask("SELECT x FROM numbers", freshness=60)
    with pytest.raises(QueryError, match="does not exist"):
        reads.ask("SELECT x FROM missing", freshness=60)

    found = playground.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'neural_gpu_compute' "
        "AND state LIKE 'idle in transaction%'"
    ).fetchone()
    assert found == (0,)
