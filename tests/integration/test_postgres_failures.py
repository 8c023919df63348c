"""What a server may refuse or do in the middle: a sentence with a way out, nothing left behind."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest

from fix_postgres_extras import BARS_ROWS, BARS_SUM, small_disk
from fix_servers import short_folder, wait_until
from neural_gpu_bus.errors import (
    NeuralGpuBusError,
    QueryError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerFullError,
    ServerUnreachableError,
    SharedMemoryFullError,
)
from neural_gpu_bus.memory import UnifiedMemory
from own_server import PASSWORD, OwnServer
from watched_store import WatchedStore, watched_store

READ = "SELECT i, price FROM bars"
COLUMNS = {"i": np.arange(5_000), "price": np.arange(5_000) * 0.5}


@contextmanager
def fresh_table(server: OwnServer, columns: str) -> Iterator[str]:
    name = f"tried_{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE TABLE {name} ({columns})")
    yield name
    server.run(f"DROP TABLE IF EXISTS {name}")


@contextmanager
def fresh_role(server: OwnServer, rights: str = "") -> Iterator[str]:
    """A user who may log in; ``rights``: after GRANT SELECT ON."""
    name = f"user_{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    if rights:
        server.run(f"GRANT SELECT ON {rights} TO {name}")
    yield name
    server.run(f"DROP OWNED BY {name}")
    server.run(f"DROP ROLE {name}")


def seeded(seed: int) -> random.Random:
    print(f"seed {seed}")
    return random.Random(seed)


def test_backends_killed_at_random_never_give_wrong_rows(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    """Every read is right; the bounded retry hides most kills, the rest are errors."""
    chance, stop = seeded(11), threading.Event()

    def kill() -> None:
        with psycopg.connect(failing_server.dsn(), autocommit=True) as killer:
            while not stop.wait(chance.uniform(0.01, 0.15)):
                killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'neural_gpu_compute'"
                )

    killing = threading.Thread(target=kill)
    killing.start()
    right = failed = 0
    try:
        for _ in range(25):
            try:
                columns = watched.store.query(READ)
            except ServerUnreachableError:
                failed += 1
                continue
            assert columns.rows == BARS_ROWS
            assert int(columns["i"].sum()) == BARS_SUM
            right += 1
            del columns
    finally:
        stop.set()
        killing.join()

    print(f"{right} right, {failed} failed")
    assert right
    watched.assert_nothing_left()
    watched.assert_answers()


def test_a_full_disk_of_the_server_is_said_and_nothing_is_stored(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with short_folder() as folder, small_disk(folder / "disk", "4m") as disk:
        failing_server.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        try:
            with (
                fresh_table(failing_server, "i bigint, t text) TABLESPACE small --") as name,
                watched_store(failing_server.dsn(), memory) as watched,
            ):
                rows = {"i": np.arange(20_000), "t": ["x" * 500] * 20_000}
                for job in (None, "full"):
                    with pytest.raises(ServerFullError, match=r"has no room left.*\nhint: free"):
                        watched.store.store(name, rows, job_id=job)
                assert failing_server.run(f"SELECT count(*) FROM {name}") == [(0,)]
                failing_server.run(f"VACUUM {name}")
                few = {"i": np.arange(100), "t": ["x"] * 100}
                assert not watched.store.store(name, few, job_id="full").repeated
                watched.assert_nothing_left()
        finally:
            failing_server.run("DROP TABLESPACE small")


def test_a_full_shared_memory_is_said_and_given_back(failing_server: OwnServer) -> None:
    with short_folder() as folder, small_disk(folder / "shm", "4m", owned=False) as shm:
        memory = UnifiedMemory(shm, 64 << 20)
        with watched_store(failing_server.dsn(), memory) as watched:
            for _ in range(3):
                with pytest.raises(SharedMemoryFullError, match=r"does not fit"):
                    watched.store.query("SELECT g AS i FROM generate_series(1::int8, 700000) g")
                watched.assert_nothing_left()
            assert watched.store.query(READ).rows == BARS_ROWS
            watched.assert_answers()
        memory.close()


def test_a_locked_table_ends_with_the_time_limit(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    with fresh_table(failing_server, "i bigint") as name:
        with failing_server.locked(name):
            started_s = time.monotonic()
            where = (
                r"0\.3 s: .*lock timeout \(at character 15 .*\nhint: another session holds a lock"
            )
            with pytest.raises(QueryTimeoutError, match=where):
                watched.store.query(f"SELECT * FROM {name}", timeout_s=0.3)
            assert time.monotonic() - started_s < 15
            watched.assert_nothing_left()
        assert watched.store.query(f"SELECT * FROM {name}").rows == 0


def test_a_limit_of_the_server_on_locks_stops_a_store(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with (
        fresh_table(failing_server, "i bigint, price float8") as name,
        fresh_role(failing_server, name) as role,
    ):
        failing_server.run(f"GRANT ALL ON {name} TO {role}")
        failing_server.run(f"ALTER ROLE {role} SET lock_timeout = '200ms'")
        direct = failing_server.dsn()
        with (
            watched_store(failing_server.dsn(user=role), memory, direct_dsn=direct) as watched,
            failing_server.locked(name),
        ):
            with pytest.raises(QueryTimeoutError, match=r"stopped the statement.*lock timeout"):
                watched.store.store(name, COLUMNS)
            watched.assert_nothing_left()
        assert failing_server.run(f"SELECT count(*) FROM {name}") == [(0,)]


def test_a_statement_limit_of_the_server_stops_a_store(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with (
        fresh_table(failing_server, "i bigint, price float8") as name,
        fresh_role(failing_server, name) as role,
    ):
        failing_server.run(f"GRANT ALL ON {name} TO {role}")
        failing_server.run(f"ALTER ROLE {role} SET statement_timeout = '200ms'")
        direct = failing_server.dsn()
        with (
            watched_store(failing_server.dsn(user=role), memory, direct_dsn=direct) as watched,
            failing_server.locked(name),
        ):
            with pytest.raises(QueryTimeoutError, match=r"stopped the statement.*timeout"):
                watched.store.store(name, COLUMNS)
            # A read has its own limit, which is the longer one here.
            assert watched.store.query("SELECT pg_sleep(0.3)::text AS t").rows == 1


def test_tables_dropped_made_and_altered_meanwhile_are_right_or_refused(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    stop, chance = threading.Event(), seeded(3)
    made = "SELECT g AS i, g * 0.5::float8 AS price FROM generate_series(1, 5000) g"

    def change() -> None:
        with psycopg.connect(failing_server.dsn(), autocommit=True) as changer:
            while not stop.is_set():
                changer.execute("DROP TABLE IF EXISTS shifting")
                changer.execute(f"CREATE TABLE shifting AS {made}".encode())
                changer.execute("ALTER TABLE shifting ADD COLUMN extra int DEFAULT 7")
                changer.execute("ALTER TABLE shifting ALTER COLUMN i TYPE text")
                changer.execute("ALTER TABLE shifting RENAME COLUMN price TO cost")
                stop.wait(chance.uniform(0, 0.005))

    changing = threading.Thread(target=change)
    changing.start()
    seen, refused = set(), 0
    try:
        wait_until(lambda: failing_server.run("SELECT to_regclass('shifting')"), "the table")
        for _ in range(60):
            try:
                columns = watched.store.query("SELECT * FROM shifting")
            except QueryError as error:
                refused += 1
                assert error.sqlstate in ("42P01", "XX000", "0A000"), error  # noqa: PT017
                continue
            seen.add(tuple(columns.keys()))
            assert columns.rows == 5_000
            table = columns.arrow()
            assert sum(int(n) for n in table["i"].to_pylist()) == 5_000 * 5_001 // 2
            assert sum(table[1].to_pylist()) == 5_000 * 5_001 / 4
            del columns, table
    finally:
        stop.set()
        changing.join()
        failing_server.run("DROP TABLE IF EXISTS shifting")
    print(f"{len(seen)} shapes, {refused} refused")
    assert len(seen) > 1
    watched.assert_nothing_left()


def test_a_role_without_rights_is_told_whom_to_ask(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    direct = failing_server.dsn()
    with (
        fresh_role(failing_server, "bars") as role,
        fresh_table(failing_server, "i bigint, price float8") as name,
        watched_store(failing_server.dsn(user=role), memory, direct_dsn=direct) as watched,
    ):
        assert watched.store.query(READ).rows == BARS_ROWS
        denied = r"permission denied for (table|schema|database) .*\nhint: (ask|let)"
        with pytest.raises(QueryError, match=denied):
            watched.store.query(f"SELECT * FROM {name}")
        with pytest.raises(QueryError, match=denied):
            watched.store.store(name, COLUMNS)
        with pytest.raises(QueryError, match=denied):
            watched.store.store("a_new_one", COLUMNS)
        with pytest.raises(QueryError, match=denied + r"|ledgers of schema ngb_ledger cannot"):
            watched.store.store(name, COLUMNS, job_id="denied")
        watched.assert_answers()
        watched.assert_nothing_left()


def test_a_password_changed_meanwhile_is_said_and_open_connections_go_on(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    direct = failing_server.dsn()
    with (
        fresh_role(failing_server, "bars") as role,
        watched_store(failing_server.dsn(user=role), memory, direct_dsn=direct) as watched,
    ):
        assert watched.store.query(READ).rows == BARS_ROWS
        failing_server.run(f"ALTER ROLE {role} PASSWORD 'another one'")
        assert watched.store.query(READ).rows == BARS_ROWS

        failing_server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", role
        )
        refused = r"refused the user or the password.*\nhint: the same address was accepted before"
        for _ in range(2):
            with pytest.raises(ServerAuthenticationError, match=refused) as caught:
                watched.store.query(READ)
            assert "marks" not in str(caught.value)
        failing_server.run(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        watched.assert_answers()


def test_a_role_that_may_not_log_in_any_more_is_said(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with fresh_role(failing_server) as role:
        failing_server.run(f"ALTER ROLE {role} NOLOGIN")
        with (
            watched_store(failing_server.dsn(user=role), memory) as watched,
            pytest.raises(ServerAuthenticationError, match="is not permitted to log in"),
        ):
            watched.store.query(READ)


def test_many_threads_more_than_connections_all_get_their_own(watched: WatchedStore) -> None:
    """Two connections, twelve threads: each waits its turn and reads its own literal."""
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(10):
            try:
                columns = watched.store.query(f"SELECT {number * 1000 + turn}::int8 AS mine")
                if columns["mine"].tolist() != [number * 1000 + turn]:
                    wrong.append(columns["mine"].tolist())
            except NeuralGpuBusError as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert watched.sessions() <= 2
    watched.assert_nothing_left()
