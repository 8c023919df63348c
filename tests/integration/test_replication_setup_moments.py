"""Snapshots that a copy begins with, slots, and waiting for others, on real servers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from fix_replication import dsn_of, plain_role
from fix_servers import wait_until
from neural_gpu_bus.errors import (
    ClosedError,
    NeuralGpuBusError,
    QueryTimeoutError,
    ReplicationRefusedError,
)
from neural_gpu_bus.stores.postgres.replication.moment_changes import look_again
from neural_gpu_bus.stores.postgres.replication.publications import (
    add_table,
    drop_publications,
    drop_table,
    ensure_publications,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.slots import (
    SlotWait,
    drop_slot,
    end_zombies,
    judge,
    persistent_slot,
    session_name,
    slot_facts,
    slots_of,
    temporary_slot,
)
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import snapshot_moment
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.told import Waits
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions
from own_server import OwnServer
from stream_by_sql import slot_by_sql

HOME = "moments"
NAMES = publication_names(HOME)


@pytest.fixture
def published(each_database: psycopg.Connection) -> psycopg.Connection:
    """A database with a table ``bars`` that is published."""
    each_database.execute("CREATE TABLE bars (id int PRIMARY KEY, price float8)")
    ensure_publications(each_database, NAMES)
    add_table(each_database, NAMES, read_shape(each_database, "bars"))
    return each_database


@contextmanager
def writing(connection: psycopg.Connection, **other: str) -> Iterator[psycopg.Connection]:
    """Another session with a transaction that has written."""
    with psycopg.connect(dsn_of(connection, **other), application_name="a producer") as writer:
        writer.execute("CREATE TEMP TABLE mine (id int)")
        yield writer


def ended_after(count: int, told: list[str]) -> Waits:
    """Waits without sleeping, and gives up after being told so often."""
    return Waits(told.append, lambda: len(told) >= count, sleep=lambda _: None)


# ---- which transactions a snapshot has


def test_what_a_snapshot_sees_is_what_the_server_says(published: psycopg.Connection) -> None:
    """For transactions around it, as ``pg_visible_in_snapshot`` has it."""
    with writing(published), writing(published):
        for _ in range(3):
            published.execute("INSERT INTO bars SELECT count(*) FROM bars")
        rows = published.execute(
            "SELECT s::text, x::text::int8, pg_visible_in_snapshot(x, s) FROM "
            "(SELECT pg_current_snapshot() AS s) q, LATERAL (SELECT g::text::xid8 AS x FROM "
            "generate_series(pg_snapshot_xmax(s)::text::int8 - 40, "
            "pg_snapshot_xmax(s)::text::int8 + 5) g) r"
        ).fetchall()

    snapshot = VisibleTransactions.parse(rows[0][0])
    assert len(snapshot.running) >= 2
    assert [snapshot.sees(xid % 2**32) for _, xid, _ in rows] == [seen for _, _, seen in rows]


def test_copy_and_stream_together_have_every_row_once(published: psycopg.Connection) -> None:
    """Transactions before, across and after the snapshot, with savepoints and rollbacks: rows of
    the snapshot, and those of streamed transactions that it does not see, are the table.
    """
    with slot_by_sql(published, NAMES.both) as slot, writing(published) as writer:
        published.execute("INSERT INTO bars SELECT generate_series(1, 10)")
        # This one has no number yet, and writes when the snapshot is taken already.
        with psycopg.connect(dsn_of(published)) as sleeper:
            sleeper.execute("SELECT 1")
            writer.rollback()
            with snapshot_moment(dsn_of(published), "bars", NAMES) as moment:
                writer.execute("INSERT INTO bars VALUES (11)")
                writer.execute("SAVEPOINT a")
                writer.execute("INSERT INTO bars VALUES (12)")
                writer.execute("ROLLBACK TO a")
                sleeper.execute("INSERT INTO bars VALUES (13)")
                sleeper.commit()
                copied = copied_ids(published, moment.snapshot_id)
            writer.commit()
        streamed, sees = [], False
        for one in slot.take():
            if one.kind == "B":
                sees = moment.visible.sees(one.of)
            elif one.kind == "I" and not sees:
                streamed.append(int.from_bytes(one.new[0], "big"))

    assert copied == list(range(1, 11))
    assert sorted(copied + streamed) == [*range(1, 12), 13]


def copied_ids(connection: psycopg.Connection, snapshot: str) -> list[int]:
    with psycopg.connect(dsn_of(connection)) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
        return [one for (one,) in reader.execute("SELECT id FROM bars ORDER BY 1")]


def test_no_commit_behind_the_bound_is_seen(published: psycopg.Connection) -> None:
    with snapshot_moment(dsn_of(published), "bars", NAMES) as moment:
        row = published.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
        ).fetchone()
        assert row is not None
        assert moment.bound_lsn <= row[0]
        (xid,) = published.execute("SELECT pg_current_xact_id()::text::int8").fetchone() or (0,)
    assert not moment.visible.sees(xid % 2**32)


# ---- waiting


def test_transactions_that_wrote_before_are_waited_for_and_told(
    published: psycopg.Connection,
) -> None:
    told: list[str] = []
    with writing(published) as writer:
        pid = writer.info.backend_pid
        waits = ended_after(3, told)

        with (
            pytest.raises(ClosedError, match=f"waiting for transaction of pid {pid} "),
            snapshot_moment(dsn_of(published), "bars", NAMES, waits),
        ):
            pass

    assert "a producer, idle in transaction" in told[0]
    assert "CREATE TEMP TABLE mine" in told[0]
    assert "began to write before the table was added" in told[0]


def test_a_wait_has_a_limit(published: psycopg.Connection) -> None:
    with (
        writing(published),
        pytest.raises(QueryTimeoutError, match=r"gave up after 0.05 s waiting for transaction"),
        snapshot_moment(dsn_of(published), "bars", NAMES, Waits(limit_s=0.05)),
    ):
        pass


def test_who_did_not_write_or_writes_elsewhere_is_not_waited_for(
    published: psycopg.Connection,
) -> None:
    with (
        psycopg.connect(dsn_of(published)) as reader,
        writing(published, dbname="postgres"),
    ):
        reader.execute("SELECT count(*) FROM bars")
        with snapshot_moment(dsn_of(published), "bars", NAMES, Waits(limit_s=0)) as moment:
            assert moment.shape.name == "bars"


def test_the_wait_ends_with_the_transaction(published: psycopg.Connection) -> None:
    told: list[str] = []
    with writing(published) as writer:

        def tell(words: str) -> None:
            told.append(words)
            if len(told) == 2:
                writer.rollback()

        with snapshot_moment(dsn_of(published), "bars", NAMES, Waits(tell)) as moment:
            assert copied_ids(published, moment.snapshot_id) == []

    assert len(told) >= 2


def test_what_is_settled_needs_no_wait(published: psycopg.Connection) -> None:
    with snapshot_moment(dsn_of(published), "bars", NAMES) as moment:
        assert moment.membership is not None
        settled = moment.membership.token

    with (
        writing(published),
        snapshot_moment(
            dsn_of(published), "bars", NAMES, Waits(limit_s=0), settled=settled
        ) as again,
    ):
        assert again.membership == moment.membership


def test_a_prepared_transaction_is_waited_for_by_name(older_database: psycopg.Connection) -> None:
    connection, told = older_database, list[str]()
    connection.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    connection.execute("BEGIN; INSERT INTO bars VALUES (1); PREPARE TRANSACTION 'half done'")
    try:
        with (
            pytest.raises(ClosedError, match="prepared transaction 'half done'"),
            snapshot_moment(dsn_of(connection), "bars", NAMES, ended_after(1, told)),
        ):
            pass
    finally:
        connection.execute("ROLLBACK PREPARED 'half done'")


def test_a_lock_on_the_table_is_waited_for_and_told(database: psycopg.Connection) -> None:
    told: list[str] = []
    database.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    ensure_publications(database, NAMES)
    add_table(database, NAMES, read_shape(database, "bars"))
    with snapshot_moment(dsn_of(database), "bars", NAMES) as moment:
        assert moment.membership is not None
        settled = moment.membership.token
    with psycopg.connect(dsn_of(database)) as holder:
        holder.execute("LOCK TABLE bars")
        pid, waits = holder.info.backend_pid, ended_after(1, told)

        with (
            pytest.raises(ClosedError, match=rf"pid {pid} .* for a lock on bars"),
            snapshot_moment(dsn_of(database), "bars", NAMES, waits, settled=settled),
        ):
            pass


def test_a_role_without_rights_sees_whom_it_waits_for(published: psycopg.Connection) -> None:
    """Not what they do: that is the producer's own."""
    told: list[str] = []
    with plain_role(published) as (role, own), writing(published) as writer:
        published.execute(sql.SQL("GRANT SELECT ON bars TO {}").format(sql.Identifier(role)))
        pid = writer.info.backend_pid
        with (
            pytest.raises(ClosedError, match=rf"transaction of pid {pid} \(a producer\),"),
            snapshot_moment(dsn_of(own), "bars", NAMES, ended_after(1, told)),
        ):
            pass


def test_limits_of_the_role_do_not_end_a_copy(published: psycopg.Connection) -> None:
    options = "-c statement_timeout=50 -c idle_in_transaction_session_timeout=50 -c lock_timeout=50"
    with snapshot_moment(dsn_of(published, options=options), "bars", NAMES) as moment:
        published.execute("SELECT pg_sleep(0.2)")
        assert copied_ids(published, moment.snapshot_id) == []


def test_the_table_is_not_altered_under_a_copy_and_writers_go_on(
    published: psycopg.Connection,
) -> None:
    with snapshot_moment(dsn_of(published), "bars", NAMES):
        published.execute("INSERT INTO bars VALUES (1)")
        published.execute("SET lock_timeout = 50")
        with pytest.raises(psycopg.errors.LockNotAvailable, match="lock timeout"):
            published.execute("ALTER TABLE bars ADD COLUMN more int")
    published.execute("ALTER TABLE bars ADD COLUMN more int")


def test_the_session_ends_with_the_body(published: psycopg.Connection) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    with (
        pytest.raises(ZeroDivisionError, match="by zero"),
        snapshot_moment(dsn_of(published), "bars", NAMES),
    ):
        _ = 1 // 0

    wait_until(lambda: published.execute(query.encode()).fetchone() == (0,), "the session's end")


# ---- looking again


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nothing", ""),
        ("INSERT INTO bars VALUES (1)", ""),
        ("ALTER TABLE bars ADD COLUMN more int", "'more' was added"),
        ("DROP TABLE bars", "there is no table 'bars'"),
        ("drop the publications", "somebody took it out of publication"),
        ("put it in anew", "was altered, or the table put in anew"),
        (f"ALTER PUBLICATION {NAMES.changes} SET (publish = 'insert')", "was altered"),
    ],
)
def test_what_a_second_look_finds(published: psycopg.Connection, change: str, reason: str) -> None:
    with snapshot_moment(dsn_of(published), "bars", NAMES) as moment:
        pass
    if change == "drop the publications":
        drop_publications(published, NAMES)
    elif change == "put it in anew":
        drop_table(published, NAMES, moment.shape.oid)
        add_table(published, NAMES, moment.shape)
    elif change != "nothing":
        published.execute(change.encode())

    _, found = look_again(published, "bars", NAMES, moment)

    assert reason in found
    assert bool(reason) == bool(found)


# ---- slots


@contextmanager
def replicating(connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A replication session of the home."""
    dsn = make_conninfo(dsn_of(connection), replication="database")
    session = psycopg.connect(dsn, autocommit=True, application_name=session_name(HOME))
    try:
        yield session
    finally:
        session.close()


def create_slot(session: psycopg.Connection, name: str, kind: str = "TEMPORARY ") -> None:
    session.execute(f'CREATE_REPLICATION_SLOT "{name}" {kind}LOGICAL pgoutput'.encode())


def test_a_slot_is_shown_with_what_it_keeps(each_database: psycopg.Connection) -> None:
    name = persistent_slot(HOME)
    with replicating(each_database) as session:
        create_slot(session, name, "")
    each_database.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 200000))")

    facts = slot_facts(each_database, name)

    assert facts is not None
    assert (facts.temporary, facts.active_pid, facts.lost_because) == (False, 0, "")
    assert facts.database == each_database.info.dbname
    assert 200_000 < facts.retained_bytes < 2_000_000
    assert 0 < facts.restart_lsn <= facts.confirmed_flush_lsn
    assert judge(facts, 1 << 30) == ("fine", f"slot {name} keeps {judge_text(facts)} of WAL")
    assert judge(facts, facts.retained_bytes + 1)[0] == "alarm"
    assert judge(facts, 100)[0] == "drop"
    assert drop_slot(each_database, name)
    assert not drop_slot(each_database, name)
    assert slot_facts(each_database, name) is None


def judge_text(facts: object) -> str:
    return f"{facts.retained_bytes / 2**20:,.1f} MiB"  # type: ignore[attr-defined]


def test_a_slot_says_whom_it_waits_for(each_database: psycopg.Connection) -> None:
    """And gives up at the limit: the session's statement is cancelled, no slot is left."""
    told: list[str] = []
    with writing(each_database) as writer, replicating(each_database) as session:
        failed: list[Exception] = []

        def create() -> None:
            try:
                create_slot(session, temporary_slot(HOME))
            except psycopg.Error as error:
                failed.append(error)

        thread = threading.Thread(target=create)
        thread.start()
        pid = writer.info.backend_pid
        ticks = itertools.count()
        waits = Waits(told.append, limit_s=5, clock=lambda: float(next(ticks)))
        wait = SlotWait(each_database, session.info.backend_pid, waits)
        wait_until(lambda: holds_up(each_database, session, pid), "the slot's wait")
        with pytest.raises(QueryTimeoutError, match=f"waiting for transaction of pid {pid} "):
            call_for_ever(wait)
        thread.join()

    assert told
    assert all(f"transaction of pid {pid} (a producer" in words for words in told)
    assert isinstance(failed[0], psycopg.errors.QueryCanceled)
    assert slots_of(each_database, HOME) == ()


def call_for_ever(what: Callable[[], None]) -> None:
    while True:
        what()


def holds_up(connection: psycopg.Connection, session: psycopg.Connection, pid: int) -> bool:
    query = "SELECT %s = ANY(pg_blocking_pids(%s))"
    return connection.execute(query, (pid, session.info.backend_pid)).fetchone() == (True,)


def test_a_zombie_of_the_same_home_is_ended(each_database: psycopg.Connection) -> None:
    with replicating(each_database) as zombie:
        create_slot(zombie, temporary_slot(HOME))
        (facts,) = slots_of(each_database, HOME)
        assert facts.active_pid == zombie.info.backend_pid
        assert end_zombies(each_database, HOME, own_pids=(facts.active_pid,), waits=Waits()) == 0
        assert end_zombies(each_database, "another home", own_pids=(), waits=Waits()) == 0

        assert end_zombies(each_database, HOME, own_pids=(), waits=Waits()) == 1

        assert slots_of(each_database, HOME) == ()
        with pytest.raises(psycopg.OperationalError, match="terminat"):
            zombie.execute("SELECT 1")


def test_a_foreign_reader_of_the_slot_is_left_alone(each_database: psycopg.Connection) -> None:
    dsn = make_conninfo(dsn_of(each_database), replication="database")
    with psycopg.connect(dsn, autocommit=True, application_name="pg_recvlogical") as other:
        create_slot(other, temporary_slot(HOME))

        with pytest.raises(ReplicationRefusedError, match=r"pid .*pg_recvlogical.* none of ours"):
            end_zombies(each_database, HOME, own_pids=(), waits=Waits())

        other.execute("SELECT 1")


def test_a_slot_that_lost_its_wal_says_so(older_server: OwnServer) -> None:
    """With ``max_slot_wal_keep_size`` the server gives a slot up."""
    name = persistent_slot("lost")
    older_server.run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    older_server.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    older_server.run("SELECT pg_reload_conf()")
    try:
        for _ in range(4):
            older_server.run("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))")
            older_server.run("SELECT pg_switch_wal()")
        older_server.run("CHECKPOINT")
        with psycopg.connect(older_server.dsn(), autocommit=True) as connection:
            facts = slot_facts(connection, name)
    finally:
        older_server.run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        older_server.run("SELECT pg_reload_conf()")
        older_server.run("SELECT pg_drop_replication_slot(%s)", name)

    assert facts is not None
    assert facts.wal_status == "lost"
    assert judge(facts, 1 << 40)[0] == "lost"
    assert "the WAL it needs was removed" in judge(facts, 1 << 40)[1]


def test_a_slot_in_use_is_not_dropped(each_database: psycopg.Connection) -> None:
    name = temporary_slot(HOME)
    with replicating(each_database) as session:
        create_slot(session, name)
        with pytest.raises(NeuralGpuBusError, match="is active for PID"):
            drop_slot(each_database, name)
