"""Live tables with a persistent slot: they go on without a copy, or are copied anew and say why."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_servers import short_folder, wait_until
from live_oracle_home import LiveHome, live_home, live_server
from neural_gpu_bus.live.live_table import LiveTable
from neural_gpu_bus.live.mirror.failpoints import NAMES
from neural_gpu_bus.stores.postgres.replication.publications import home_mark
from own_server import OwnServer, standby_of

pytestmark = pytest.mark.slow

WAIT_S = 40.0
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with live_server() as made:
        yield made


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    """One home for several tests: each makes tables of its own."""
    with live_home(server) as made:
        yield made


def made_table(server: OwnServer, name: str, rows: int = 100) -> None:
    server.run(f"CREATE TABLE {name} (id int8 PRIMARY KEY, money int8 NOT NULL)")
    server.run(f"INSERT INTO {name} SELECT g, g FROM generate_series(1, {rows}) g")


def followed(home: LiveHome, name: str) -> LiveTable:
    return home.plane.live(name, slot="persistent", timeout_s=WAIT_S)


def series_of(home: LiveHome, name: str) -> str:
    """Another one after each copy."""
    home.plane.live_view.look_again()
    return home.plane.live_states()[name].series


def change(server: OwnServer, name: str, seed: int) -> None:
    """Each kind once; repeated or left out, it would show."""
    server.run(f"INSERT INTO {name} VALUES ({1000 + seed}, 0)")
    server.run(f"UPDATE {name} SET money = money + 1 WHERE id <= 10")
    server.run(f"DELETE FROM {name} WHERE id = {20 + seed}")


def assert_right(home: LiveHome, table: LiveTable, server: OwnServer | None = None) -> None:
    """As SELECT says, when the WAL of now is published."""
    source = server or home.server
    statement = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
    position = source.run(statement)[0][0]
    wait_until(lambda: home.state(table.name).startswith("live"), "a live table", WAIT_S)
    table.wait_for(position, WAIT_S)
    found = table.arrow().sort_by("id").to_pydict()
    wanted = source.run(f"SELECT id, money FROM {table.name} ORDER BY id")
    assert list(zip(*found.values(), strict=True)) == wanted, home.log()


def slots(server: OwnServer) -> list[str]:
    return [name for (name,) in server.run("SELECT slot_name FROM pg_replication_slots")]


@contextmanager
def nobody_follows(home: LiveHome) -> Iterator[None]:
    """The process is stopped, as on a host that hangs; then killed, and another one comes."""
    pid = home.wait_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        home.wait_pid(other_than=pid)


@contextmanager
def nobody_reads(home: LiveHome) -> Iterator[None]:
    """The process stands still, and finds its connection ended when it goes on."""
    pid = home.wait_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        end_walsender(home.server)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def end_walsender(server: OwnServer) -> None:
    """Nobody reads any slot; who stands still does not notice."""
    ended = server.run("SELECT active_pid FROM pg_replication_slots WHERE active")
    for pid in ended:
        server.run("SELECT pg_terminate_backend(%s)", *pid)
    query = "SELECT active_pid FROM pg_replication_slots WHERE active"
    wait_until(lambda: not set(ended) & set(server.run(query)), "a free slot")


def test_a_killed_process_is_followed_by_one_that_goes_on_without_a_copy(home: LiveHome) -> None:
    made_table(home.server, "killed")
    table = followed(home, "killed")
    change(home.server, "killed", 1)
    assert_right(home, table)
    series = series_of(home, "killed")
    with nobody_follows(home):
        change(home.server, "killed", 2)
    assert_right(home, table)
    change(home.server, "killed", 3)
    assert_right(home, table)
    assert series_of(home, "killed") == series


def test_a_lost_connection_and_a_crash_of_the_server_cost_no_copy(home: LiveHome) -> None:
    made_table(home.server, "cut")
    table = followed(home, "cut")
    assert_right(home, table)
    series = series_of(home, "cut")
    end_walsender(home.server)
    change(home.server, "cut", 1)
    assert_right(home, table)
    home.server.stop(signal.SIGQUIT)
    home.server.start()
    change(home.server, "cut", 2)
    assert_right(home, table)
    assert series_of(home, "cut") == series


def test_a_table_that_was_altered_meanwhile_is_copied_anew_alone(home: LiveHome) -> None:
    for name in ("altered", "as_it_was"):
        made_table(home.server, name)
    tables = [followed(home, name) for name in ("altered", "as_it_was")]
    before = {table.name: series_of(home, table.name) for table in tables}
    with nobody_reads(home):
        change(home.server, "altered", 1)
        home.server.run("ALTER TABLE altered ALTER money TYPE numeric")
        home.server.run("ALTER TABLE altered ALTER money TYPE int8")
        change(home.server, "altered", 2)
        change(home.server, "as_it_was", 1)
    for table in tables:
        assert_right(home, table)
    assert series_of(home, "altered") != before["altered"]
    assert series_of(home, "as_it_was") == before["as_it_was"]


def test_a_slot_that_somebody_moved_has_all_tables_copied_anew(home: LiveHome) -> None:
    made_table(home.server, "moved")
    table = followed(home, "moved")
    assert_right(home, table)
    series = series_of(home, "moved")
    with nobody_reads(home):
        change(home.server, "moved", 1)
        home.server.run(
            "SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) "
            "FROM pg_replication_slots"
        )
    assert_right(home, table)
    assert series_of(home, "moved") != series
    assert "somebody moved slot" in home.log()


def test_a_slot_that_somebody_dropped_has_all_tables_copied_anew(home: LiveHome) -> None:
    made_table(home.server, "dropped")
    table = followed(home, "dropped")
    series = series_of(home, "dropped")
    with nobody_reads(home):
        home.server.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        change(home.server, "dropped", 1)
    assert_right(home, table)
    assert series_of(home, "dropped") != series
    assert slots(home.server)


def test_a_publication_that_somebody_dropped_has_its_tables_copied_anew(home: LiveHome) -> None:
    made_table(home.server, "unpublished")
    table = followed(home, "unpublished")
    series = series_of(home, "unpublished")
    with nobody_reads(home):
        for (name,) in home.server.run("SELECT pubname FROM pg_publication"):
            home.server.run(f'DROP PUBLICATION "{name}"')
        change(home.server, "unpublished", 1)
    assert_right(home, table)
    change(home.server, "unpublished", 2)
    assert_right(home, table)
    assert series_of(home, "unpublished") != series


def left_by(server: OwnServer, home: LiveHome) -> list[str]:
    """Whatever has the home's mark on the server."""
    found = server.run(
        "SELECT slot_name FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication "
        "UNION ALL SELECT proname FROM pg_proc UNION ALL SELECT relname FROM pg_class "
        "UNION ALL SELECT tgname FROM pg_trigger"
    )
    return [name for (name,) in found if home_mark(str(home.home)) in name]


def test_what_is_dropped_while_the_server_is_away_is_taken_off_it_later(server: OwnServer) -> None:
    """Slot, publications and triggers; then no process need look any more."""
    with live_home(server) as home:
        made_table(server, "the_last")
        made_table(server, "logged")
        followed(home, "the_last")
        home.plane.live("logged", how="trigger", timeout_s=WAIT_S)
        assert len(left_by(server, home)) > 4
        server.stop(signal.SIGQUIT)
        home.plane.drop_live("the_last")
        home.plane.drop_live("logged")
        wait_until(lambda: "publications are still there" in home.log(), "an attempt", WAIT_S)
        assert home.plane.live_definitions.may_have_left
        server.start()
        wait_until(lambda: not left_by(server, home), "that nothing is left", WAIT_S)


# ---- long ones


def written(server: OwnServer, mebibytes: int) -> None:
    """So much WAL, of a table that nobody follows."""
    server.run("CREATE TABLE IF NOT EXISTS noise (text text)")
    for _ in range(mebibytes):
        server.run("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1024)")


@pytest.mark.soak
def test_wal_beyond_the_budget_drops_the_slot_and_half_of_it_is_told(server: OwnServer) -> None:
    with live_home(server, live_slot_wal_bytes_max=32 * MEBIBYTE) as home:
        made_table(server, "costly")
        table = followed(home, "costly")
        series = series_of(home, "costly")
        with nobody_follows(home):
            written(server, 64)
            change(server, "costly", 1)
        assert_right(home, table)
        assert series_of(home, "costly") != series
        assert "more than its budget" in home.log()


@pytest.mark.soak
def test_a_slot_that_the_server_gave_up_has_all_tables_copied_anew() -> None:
    with (
        live_server(max_slot_wal_keep_size="16MB", min_wal_size="32MB", max_wal_size="32MB") as own,
        live_home(own) as home,
    ):
        made_table(own, "invalidated")
        table = followed(home, "invalidated")
        series = series_of(home, "invalidated")
        with nobody_follows(home):
            end_walsender(own)
            written(own, 80)
            own.run("CHECKPOINT")
            change(own, "invalidated", 1)
        assert_right(home, table)
        assert series_of(home, "invalidated") != series
        assert "is lost" in home.log()


@pytest.mark.soak
@pytest.mark.parametrize("failover", [True, False])
def test_a_promoted_standby_is_followed_on_where_it_has_the_slot(failover: bool) -> None:
    """It takes the primary's place and address."""
    with live_server() as primary, live_home(primary) as home:
        made_table(primary, "promoted")
        table = followed(home, "promoted")
        primary.run("SELECT pg_create_physical_replication_slot('of_standby')")
        more = {
            "hot_standby_feedback": "on",
            "primary_slot_name": "of_standby",
            "sync_replication_slots": "on" if failover else "off",
            "primary_conninfo": primary.dsn(),
            "wal_level": "logical",
            "max_connections": "60",
            "max_prepared_transactions": "5",
        }
        with standby_of(primary, **more) as standby:
            change(primary, "promoted", 1)
            assert_right(home, table)
            if failover:
                wait_until(lambda: _synced(primary, standby), "a slot of the standby", 120.0)
            position = home.position()
            wait_until(lambda: _replayed(standby) >= position, "the standby", WAIT_S)
            series = series_of(home, "promoted")
            primary.stop(signal.SIGINT)
            standby.stop(signal.SIGINT)
            standby.port = primary.port
            standby.start()
            standby.promote()
            change(standby, "promoted", 900)
            assert_right(home, table, standby)
            assert (series_of(home, "promoted") == series) is failover, home.log()


def _synced(primary: OwnServer, standby: OwnServer) -> bool:
    """The standby takes a slot over as soon as that has passed what the standby still has, and not
    while the slot is ahead of what the standby received: so it needs a pause.
    """
    time.sleep(1)
    primary.run("SELECT pg_log_standby_snapshot()")
    primary.run("INSERT INTO promoted SELECT max(id) + 1, 0 FROM promoted")
    return bool(standby.run("SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"))


def _replayed(standby: OwnServer) -> int:
    statement = "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::int8"
    return int(standby.run(statement)[0][0] or 0)


@pytest.mark.soak
def test_a_server_that_was_put_back_is_another_one(tmp_path: Path) -> None:
    """Its files as they were, without recovery: the log ends before what tables are as of."""
    import shutil

    with live_server() as own, live_home(own) as home:
        made_table(own, "put_back")
        table = followed(home, "put_back")
        assert_right(home, table)
        own.stop(signal.SIGINT)
        shutil.copytree(own.data, tmp_path / "data", symlinks=True)
        own.start()
        written(own, 4)
        change(own, "put_back", 1)
        assert_right(home, table)
        series = series_of(home, "put_back")
        own.stop(signal.SIGINT)
        for path in sorted((tmp_path / "data").rglob("*")):
            if path.is_file():
                target = own.data / path.relative_to(tmp_path / "data")
                target.write_bytes(path.read_bytes()) if target.exists() else None
        own.start()
        assert_right(home, table)
        assert series_of(home, "put_back") != series


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("times", [1, 3])
def test_death_at_a_failpoint_loses_and_repeats_nothing(
    server: OwnServer, name: str, times: int
) -> None:
    table_name = f"died_{NAMES.index(name)}_{times}"
    made_table(server, table_name)
    before = slots(server)
    with short_folder() as folder:
        environment = {
            "NGB_TEST_LIVE_FAILPOINT": f"{name}:{times}",
            "NGB_TEST_LIVE_FAILPOINT_ONCE": str(folder / "died"),
        }
        with live_home(server, environment=environment) as home:
            table = followed(home, table_name)
            for seed in range(1, 8):
                change(server, table_name, seed)
                assert_right(home, table)
            home.plane.drop_live(table_name)
            wait_until(lambda: slots(server) == before, "the slot's end", WAIT_S)
