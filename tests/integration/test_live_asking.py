"""Live tables where logical replication is refused: triggers, or polling by a watermark."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from fix_servers import wait_until
from live_oracle_home import LiveHome, live_home
from neural_gpu_bus.errors import BadParameterError, ReplicationRefusedError
from neural_gpu_bus.live.asking.trigger_log import check_rights, install, log_names
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from own_server import OwnServer, own_server

pytestmark = pytest.mark.slow

TABLE = """
CREATE TABLE "Odd ""Rows" ("Id" int, kind text, "select" float8, updated_at timestamptz
  NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY ("Id", kind));
INSERT INTO "Odd ""Rows" SELECT g, 'k' || g % 3, g FROM generate_series(1, 500) g;
"""
NAME = 'public."Odd ""Rows"'
#: The same as it is asked for.
LIVE = 'public.Odd "Rows'


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """Where no slot can be made."""
    with own_server(wal_level="replica", max_wal_senders="0") as made:
        yield made


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    with live_home(server) as made:
        yield made
        print(made.log())


@pytest.fixture
def table(server: OwnServer) -> Iterator[str]:
    run(server, TABLE)
    yield NAME
    run(server, f"DROP TABLE {NAME}")


def run(server: OwnServer, statement: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(statement.encode())


def rows(server: OwnServer, table: str) -> list[str]:
    with psycopg.connect(server.dsn()) as connection:
        cursor = connection.execute(f"SELECT * FROM {table}".encode())
        names = [column.name for column in cursor.description or ()]
        return sorted(str(list(dict(zip(names, row, strict=True)).items())[:3]) for row in cursor)


def held(live: Any) -> list[str]:
    return sorted(str(list(row.items())[:3]) for row in live.arrow().to_pylist())


def made_by_us(server: OwnServer) -> list[Any]:
    found: list[Any] = server.run(
        "SELECT proname FROM pg_proc WHERE proname LIKE 'ngb%' UNION ALL SELECT relname FROM "
        "pg_class WHERE relname LIKE 'ngb%' UNION ALL SELECT tgname FROM pg_trigger WHERE tgname "
        "LIKE 'ngb%' UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'neural%'"
    )
    return found


def write(server: OwnServer, seed: int, steps: int, deletes: bool) -> None:
    """Random transactions with savepoints and rollbacks."""
    chance = random.Random(seed)
    with psycopg.connect(server.dsn()) as connection:
        for _ in range(steps):
            key, much = chance.randrange(1, 700), chance.randrange(1, 40)
            changed = f'"Id" BETWEEN {key} AND {key + much}'
            statements = [
                f"INSERT INTO {NAME} SELECT g, 'k' || g % 3, {seed} FROM generate_series({key}, "
                f'{key + much}) g ON CONFLICT ("Id", kind) DO UPDATE SET "select" = -g.x, '
                "updated_at = clock_timestamp()".replace("-g.x", f"-{much}"),
                f'UPDATE {NAME} SET "select" = {much}, updated_at = clock_timestamp() '
                f"WHERE {changed}",
            ]
            if deletes:
                statements += [
                    f"DELETE FROM {NAME} WHERE {changed}",
                    f"UPDATE {NAME} SET kind = kind || 'x' WHERE {changed}",
                ]
            try:
                connection.execute(chance.choice(statements).encode())
                with connection.transaction(force_rollback=chance.random() < 0.3):
                    connection.execute(chance.choice(statements).encode())
            except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                connection.rollback()
                continue
            if chance.random() < 0.2:
                connection.rollback()
            else:
                connection.commit()


def writers(server: OwnServer, deletes: bool) -> None:
    threads = [
        threading.Thread(target=write, args=(server, seed, 12, deletes)) for seed in range(1, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_table_with_triggers_ends_as_the_table_and_leaves_nothing(
    home: LiveHome, server: OwnServer, table: str
) -> None:
    live = home.plane.live(LIVE, how="trigger", key=["kind"], name="odd", timeout_s=30)
    try:
        assert held(live) == rows(server, table)
        assert "triggers" in live.as_of.promise
        assert live.state.state == "polled"
        writers(server, deletes=True)
        live.wait_for(home.position(), timeout_s=15)
        assert held(live) == rows(server, table)
        # The table is read again: deletes in the log are consumed.
        run(server, f"TRUNCATE {table}")
        live.wait_for(home.position(), timeout_s=15)
        assert live.rows() == 0
        run(server, f"INSERT INTO {table} VALUES (1, 'a', 2)")
        live.wait_for(home.position(), timeout_s=15)
        home.kill()
        run(server, f"INSERT INTO {table} VALUES (2, 'a', 3)")
        wait_until(lambda: live.rows() == 2, "the next process")
        home.restart()
        run(server, f'DELETE FROM {table} WHERE "Id" = 1')
        wait_until(lambda: live.rows() == 1 and not live.as_of.stale, "the server's return")
        run(server, f"ALTER TABLE {table} ADD COLUMN more int DEFAULT 7")
        wait_until(lambda: "more" in live.schema.names, "the new column")
        run(server, f"ALTER TABLE {table} DISABLE TRIGGER USER")
        run(server, f"INSERT INTO {table} VALUES (3, 'a', 3)")
        run(server, f"ALTER TABLE {table} ENABLE TRIGGER USER")
        wait_until(lambda: live.rows() == 2, "what no trigger saw")
        home.kill()
    finally:
        home.plane.drop_live("odd")
    wait_until(lambda: not made_by_us(server), "everything is gone")


def test_a_polled_table_has_what_its_watermark_tells_and_deletes_later(
    home: LiveHome, server: OwnServer, table: str
) -> None:
    live = home.plane.live(
        LIVE, how="poll", watermark="updated_at", poll_s=0.1, recopy_s=3600, name="odd"
    )
    try:
        with psycopg.connect(server.dsn()) as late:
            late.execute(f"INSERT INTO {table} VALUES (9000, 'late', 1)".encode())
            writers(server, deletes=False)
            wait_until(lambda: held(live) == rows(server, table), "all writers but one")
            late.commit()
        wait_until(lambda: held(live) == rows(server, table), "the one that took long")
        with pytest.raises(BadParameterError, match="knows no positions"):
            live.wait_for(home.position())
        assert live.as_of.lsn == 0
        assert "recopy_s" in live.as_of.promise
        run(server, f"UPDATE {table} SET updated_at = '2099-01-01' WHERE kind = 'late'")
        wait_until(lambda: held(live) == rows(server, table), "a moment that is to come")
        run(server, f"INSERT INTO {table} VALUES (8999, 'behind it', 1)")
        wait_until(lambda: held(live) == rows(server, table), "what comes behind that")
        run(server, f'DELETE FROM {table} WHERE "Id" <= 100')
        run(server, f"INSERT INTO {table} VALUES (9001, 'new', 1)")
        wait_until(lambda: "new" in live.arrow()["kind"].to_pylist(), "a row after the delete")
        assert live.rows() > len(rows(server, table))
    finally:
        home.plane.drop_live("odd")
    again = home.plane.live(
        LIVE,
        how="poll",
        watermark="updated_at",
        poll_s=0.1,
        recopy_s=1,
        name="odd",
        where="kind <> 'none' -- a comment",
    )
    try:
        run(server, f'DELETE FROM {table} WHERE "Id" <= 200')
        wait_until(lambda: held(again) == rows(server, table), "the whole table again")
    finally:
        home.plane.drop_live("odd")


def test_what_cannot_be_followed_is_refused_with_the_way_out(
    home: LiveHome, server: OwnServer
) -> None:
    run(
        server,
        "CREATE TABLE keyless (a int); CREATE TABLE split (a int PRIMARY KEY) PARTITION BY RANGE "
        "(a); CREATE TABLE words (a text PRIMARY KEY); CREATE SCHEMA far; "
        "CREATE TABLE far.words (a text PRIMARY KEY)",
    )
    live = home.plane.live
    with pytest.raises(BadParameterError, match="has no primary key"):
        live("keyless", how="trigger", timeout_s=20)
    with pytest.raises(BadParameterError, match="is partitioned"):
        live("split", how="trigger", timeout_s=20)
    with pytest.raises(BadParameterError, match="is no watermark"):
        live("words", how="poll", watermark="a", timeout_s=20)
    with pytest.raises(BadParameterError, match="none is named"):
        live("words", how="poll")
    assert not home.plane.live_definitions.all()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        shape = read_shape(connection, "far.words")
        connection.execute("CREATE ROLE plain; SET ROLE plain")
        with pytest.raises(ReplicationRefusedError, match="may not create schema") as refused:
            check_rights(connection, shape)
        connection.execute("RESET ROLE")
        connection.execute(refused.value.hint.removeprefix("run:\n").encode())  # as it is
        connection.execute("SET ROLE plain")
        install(connection, "nowhere", log_names("nowhere", "words", shape), shape)
        connection.execute("RESET ROLE; DROP OWNED BY plain CASCADE; DROP ROLE plain")
    run(server, "DROP TABLE keyless, split, words; DROP SCHEMA far CASCADE")
