"""What live tables leave on the server, what they tell of it, and what they keep it from."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from fix_servers import wait_until
from live_oracle_home import LiveHome, live_home, live_server
from neural_gpu_bus.errors import (
    BadParameterError,
    ReplicationRefusedError,
    StaleError,
    UnsupportedTypeError,
)
from neural_gpu_bus.live.live_table import LiveTable
from neural_gpu_bus.live.shared import TableState
from neural_gpu_bus.status.live_slots import slot_advice_of
from own_server import OwnServer

pytestmark = pytest.mark.slow

WAIT_S = 60.0
#: Of a home that is somebody else's.
FOREIGN = "ngb_live_0123456789ab"
#: The server gives up on who says nothing for so long.
PATIENCE_S = 3


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with live_server(wal_sender_timeout=f"{PATIENCE_S}s") as started:
        yield started


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    with live_home(server) as made:
        yield made


@pytest.fixture(scope="module")
def stays(home: LiveHome) -> LiveTable:
    """One that is live all the time."""
    home.server.run("CREATE TABLE stays (id int8 PRIMARY KEY)")
    return home.plane.live("stays", timeout_s=WAIT_S)


def made(home: LiveHome, name: str) -> LiveTable:
    home.server.run(f"CREATE TABLE {name} (id int8 PRIMARY KEY)")
    return home.plane.live(name, timeout_s=WAIT_S)


def published(home: LiveHome) -> set[str]:
    """Tables in this home's publications."""
    found = home.server.run(
        "SELECT c.relname FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid "
        "JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname <> %s",
        FOREIGN,
    )  # pg_publication_tables waits for locks
    return {name for (name,) in found}


def assert_followed(home: LiveHome, table: LiveTable) -> None:
    home.server.run(f"INSERT INTO {table.name} SELECT coalesce(max(id), 0) + 1 FROM {table.name}")
    table.wait_live(WAIT_S)
    table.wait_for(home.position(), WAIT_S)
    assert home.server.run(f"SELECT count(*) FROM {table.name}") == [(table.rows(),)]


@contextmanager
def standing_still(home: LiveHome) -> Iterator[int]:
    """Its process, as on a host that hangs."""
    pid = home.wait_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_was_dropped_while_nobody_followed_is_published_no_more(
    home: LiveHome, stays: LiveTable
) -> None:
    """And nothing of another home is touched."""
    run = home.server.run
    run("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", FOREIGN)
    run("CREATE TABLE theirs (id int8 PRIMARY KEY)")
    run(f"CREATE PUBLICATION {FOREIGN} FOR TABLE theirs")
    made(home, "left_over")
    pid = home.wait_pid()
    os.kill(pid, signal.SIGSTOP)
    home.plane.drop_live("left_over")
    os.kill(pid, signal.SIGKILL)
    home.wait_pid(other_than=pid)
    assert_followed(home, stays)

    assert published(home) == {"stays"}
    run("ALTER TABLE left_over DROP CONSTRAINT left_over_pkey")
    run("UPDATE left_over SET id = id")  # it would fail if it were published
    found = run("SELECT slot_name, temporary FROM pg_replication_slots ORDER BY 1")
    assert found[0] == (FOREIGN, False)
    assert [temporary for _, temporary in found[1:]] == [True], found
    assert run("SELECT count(*) FROM pg_publication WHERE pubname = %s", FOREIGN) == [(1,)]
    run(f"DROP PUBLICATION {FOREIGN}")
    told = {one.subject: one for one in slot_advice_of(home.plane.settings, home.server.dsn())}
    assert told[found[1][0]].what.startswith("temporary, read by pid")
    there = "SELECT FROM pg_replication_slots WHERE slot_name = %s"
    assert run(there, FOREIGN) == [()]
    for statement in told[FOREIGN].sql:  # the doctor's
        run(statement)
    assert run(there, FOREIGN) == []


def test_a_table_that_is_locked_is_let_go_of_later(home: LiveHome, stays: LiveTable) -> None:
    """Others are followed on meanwhile."""
    made(home, "held")
    with home.server.locked("held"):
        home.plane.drop_live("held")
        wait_until(lambda: "held" not in home.plane.live_states(), "it is dropped")
        assert_followed(home, stays)
        assert "held" in published(home)
    wait_until(lambda: "held" not in published(home), "it is let go of")


def test_a_server_that_is_stopped_waits_for_nobody_who_stands_still(
    home: LiveHome, stays: LiveTable
) -> None:
    with standing_still(home) as pid:
        home.server.run("INSERT INTO stays VALUES (1000)")
        home.server.stop(signal.SIGINT)  # it raises where that takes long
        wait_until(lambda: "heard of" in stays.as_of.stale, "that it is noticed")
        silent = f"process {pid}, which follows PostgreSQL, has not been heard of for"
        with pytest.raises(StaleError, match=silent):
            stays.wait_for(1 << 60, timeout_s=0.0)
        with pytest.raises(StaleError, match=silent):
            home.plane.live("other", timeout_s=0.0)
    home.server.start()
    assert_followed(home, stays)


@pytest.mark.soak
def test_a_server_without_patience_of_its_own_is_given_some() -> None:
    """``wal_sender_timeout = 0``: its shutdown would wait for ever."""
    with live_server(wal_sender_timeout="0") as own, live_home(own) as home:
        table = made(home, "patient")
        with standing_still(home):
            own.run("INSERT INTO patient VALUES (1)")
            own.signal(signal.SIGINT)
            wait_until(lambda: not own.is_there(), "PostgreSQL's end", 90)
            own.stop()
        own.start()
        assert_followed(home, table)


def test_who_waits_is_told_what_is_tried_again_and_when(home: LiveHome, stays: LiveTable) -> None:
    home.server.stop(signal.SIGQUIT)
    wait_until(lambda: home.state("stays").startswith("stale"), "a lost stream")
    told = r"the stream is lost: .*(refused|closed).*; (tried again in \d|it is being tried again)"
    with pytest.raises(StaleError, match=f"(?s)'stays' did not reach .*{told}"):
        stays.wait_for(1 << 60, timeout_s=0.1)
    with pytest.raises(StaleError, match=f"(?s)'other' is not live after .*{told}"):
        home.plane.live("other", timeout_s=0.5)

    home.server.start(max_wal_senders="0", max_replication_slots="0")
    home.server.run("CREATE TABLE refused (id int8 PRIMARY KEY)")
    with pytest.raises(ReplicationRefusedError, match="max_replication_slots = 0") as refused:
        home.plane.live("refused", timeout_s=WAIT_S)
    for setting in ("max_replication_slots", "max_wal_senders"):
        assert f"ALTER SYSTEM SET {setting} = 10;" in refused.value.hint
    home.server.stop()
    home.server.start()
    home.plane.live("refused", timeout_s=WAIT_S)  # whoever asks again need not wait
    assert_followed(home, stays)


def test_progress_tells_what_is_waited_for_what_is_worth_knowing_and_how_much(
    home: LiveHome, stays: LiveTable
) -> None:
    """Of a table that nobody has analysed: no estimate is no total."""
    run, seen = home.server.run, []
    run("CREATE TABLE told (id int8 PRIMARY KEY, word text) WITH (autovacuum_enabled = off)")
    run("ALTER TABLE told ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE told REPLICA IDENTITY FULL")
    with psycopg.connect(home.server.dsn()) as older:
        older.execute("INSERT INTO told SELECT g, repeat('x', 90) FROM generate_series(1, 9000) g")
        pid = older.info.backend_pid

        def tell(state: TableState) -> None:
            seen.append(state)
            if f"transaction of pid {pid}" in state.detail:
                older.commit()

        table = home.plane.live("told", timeout_s=WAIT_S, progress=tell)

    assert any(f"transaction of pid {pid}" in state.detail for state in seen), seen
    assert all(
        state.rows_copied <= state.rows_expected or not state.rows_expected for state in seen
    )
    assert table.rows() == 9000
    notices = " ".join(seen[-1].notices)
    for said in ("open the memory folder", "table told has row security", "REPLICA IDENTITY FULL"):
        assert said in notices
    home.plane.drop_live("told")


def test_a_table_that_loses_its_key_can_be_updated_again_and_says_what_it_needs(
    home: LiveHome, stays: LiveTable
) -> None:
    run = home.server.run
    run("CREATE TABLE loses (id int8 NOT NULL, CONSTRAINT loses_key PRIMARY KEY (id))")
    run("INSERT INTO loses VALUES (1)")
    home.plane.live("loses", timeout_s=WAIT_S)
    run("ALTER TABLE loses DROP CONSTRAINT loses_key")
    wait_until(lambda: home.state("loses").startswith("failed"), "that it is noticed")
    run("UPDATE loses SET id = 2")
    error = home.plane.live_states()["loses"].error
    assert error is not None
    assert 'ALTER TABLE "public"."loses" REPLICA IDENTITY FULL;' in error.hint

    run("ALTER TABLE loses ADD PRIMARY KEY (id)")
    table = home.plane.live("loses", timeout_s=WAIT_S)
    assert_followed(home, table)
    home.plane.drop_live("loses")


def test_a_table_under_another_spelling_is_the_same_table(home: LiveHome) -> None:
    """It stands in the publications once: with another filter, one of the two would be wrong."""
    plain = made(home, "spelled")
    try:
        with pytest.raises(BadParameterError, match="live as 'spelled' with another where"):
            home.plane.live("public.spelled", name="other", where="id > 5", timeout_s=WAIT_S)
        again = home.plane.live("public.spelled", name="again", timeout_s=WAIT_S)
        for live in (plain, again):
            home.server.run("INSERT INTO spelled SELECT coalesce(max(id), 0) + 1 FROM spelled")
            live.wait_for(home.position(), WAIT_S)
            assert home.server.run("SELECT count(*) FROM spelled") == [(live.rows(),)]
    finally:
        for name in ("spelled", "again"):
            home.plane.drop_live(name)


def test_a_filter_that_fails_for_a_row_fails_its_table_alone(
    home: LiveHome, stays: LiveTable
) -> None:
    home.server.run("CREATE TABLE divides (id int8 PRIMARY KEY)")
    live = home.plane.live("divides", where="10 / (id - 3) > -100 -- all", timeout_s=WAIT_S)
    try:
        home.server.run("INSERT INTO divides VALUES (1)")
        live.wait_for(home.position(), WAIT_S)
        home.server.run("INSERT INTO divides VALUES (3)")  # the server's process gives up on it

        wait_until(lambda: live.state.state == "failed", "its copy fails as well")
        assert "fails: " in live.state.detail
        assert "division by zero" in live.state.detail
        wait_until(lambda: "divides" not in published(home), "it is published no more")
        home.server.run("UPDATE divides SET id = id WHERE id = 3")
        assert_followed(home, stays)
        home.server.run("DELETE FROM divides WHERE id = 3")
        live.wait_live(WAIT_S)
        live.wait_for(home.position(), WAIT_S)
        assert live.rows() == 1
    finally:
        home.plane.drop_live("divides")


def test_a_key_that_would_part_equal_values_is_refused(home: LiveHome) -> None:
    """1.5 and 1.50 are one value to whoever asks for it, in SQL and here."""
    home.server.run(
        "CREATE DOMAIN strike AS numeric; "
        "CREATE TABLE priced (id int8 PRIMARY KEY, number numeric, price strike, facts jsonb, "
        "padded bpchar, code char(3), plain text)"
    )
    home.server.run("INSERT INTO priced VALUES (1, 1.5, 1.5, '1.5', 'a ', 'a', 'a')")
    for column, why in (
        ("number", "by numeric"),
        ("price", "by numeric"),
        ("facts", "by jsonb"),
        ("padded", "by bpchar"),
    ):
        with pytest.raises(UnsupportedTypeError, match=why):
            home.plane.live("priced", key=[column], timeout_s=WAIT_S)
    with pytest.raises(UnsupportedTypeError, match="by numeric"):
        home.plane.live("priced", key=["number"], how="trigger", timeout_s=WAIT_S)
    assert home.plane.live("priced", key=["code", "plain"], timeout_s=WAIT_S).rows() == 1
