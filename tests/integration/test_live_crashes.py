"""Live tables when processes and servers die: what comes after is right, and whole all the time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from fix_servers import short_folder, wait_until
from live_oracle_home import LiveHome, live_home, live_server
from neural_gpu_bus.errors import NeuralGpuBusError, StaleError
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.live.mirror.failpoints import NAMES
from neural_gpu_bus.live.shared import TableState
from own_server import OwnServer

pytestmark = pytest.mark.slow

ACCOUNTS = 50
TABLES = ("left_side", "right_side")
WAIT_S = 40.0


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with live_server() as made:
        yield made


@pytest.fixture
def accounts(server: OwnServer) -> Iterator[OwnServer]:
    """Two tables whose money is zero together."""
    for table in TABLES:
        server.run(f"DROP TABLE IF EXISTS {table}")
        server.run(f"CREATE TABLE {table} (id int8 PRIMARY KEY, money int8 NOT NULL)")
        server.run(f"INSERT INTO {table} SELECT g, 0 FROM generate_series(1, {ACCOUNTS}) g")
    yield server
    for table in TABLES:
        server.run(f"DROP TABLE IF EXISTS {table}")


@contextmanager
def transfers(dsn: str) -> Iterator[None]:
    """Money moves from one table to the other, all the time; a lost connection is made again."""
    over = threading.Event()

    def run() -> None:
        step = 0
        while not over.is_set():
            try:
                with psycopg.connect(dsn, connect_timeout=5) as connection:
                    while not over.wait(0.002):
                        step += 1
                        _transfer(connection, step)
            except psycopg.OperationalError:
                over.wait(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _transfer(connection: psycopg.Connection[Any], step: int) -> None:
    one, other = step % ACCOUNTS + 1, step * 7 % ACCOUNTS + 1
    with connection.transaction():
        connection.execute("UPDATE left_side SET money = money - %s WHERE id = %s", [step, one])
        connection.execute("UPDATE right_side SET money = money + %s WHERE id = %s", [step, other])


@contextmanager
def looks(tables: list[LiveTable]) -> Iterator[None]:
    """Somebody looks at both all the time; at no moment is their money anything but zero."""
    over, wrong = threading.Event(), []

    def run() -> None:
        while not over.wait(0.001):
            try:
                found = live_snapshot(tables)
            except StaleError:
                continue
            except NeuralGpuBusError as error:
                wrong.append(str(error))
                return
            sums = {name: sum(one.arrow()["money"].to_pylist()) for name, one in found.items()}
            if sum(sums.values()):
                wrong.append(str(sums))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not wrong, wrong[:5]


def _live(home: LiveHome) -> list[LiveTable]:
    return [home.plane.live(table, timeout_s=WAIT_S) for table in TABLES]


def assert_right(home: LiveHome, tables: list[LiveTable]) -> None:
    """As SELECT says, up to the end of the WAL as it is now."""
    position = home.position()
    for table in tables:
        try:
            table.wait_for(position, WAIT_S)
        except StaleError as error:
            raise AssertionError(f"{home.state(table.name)}\n{home.log()}\n{error}") from error
        wanted = home.server.run(f"SELECT id, money FROM {table.name} ORDER BY id")
        found = table.arrow().sort_by("id")
        assert list(zip(*found.to_pydict().values(), strict=True)) == wanted, table.name


# ---- the process that follows


#: Each takes a keeper and two processes of its own: the others are for long runs.
_ALWAYS = ("in mid-copy", "in mid-apply")


@pytest.mark.parametrize(
    "name",
    [one if one in _ALWAYS else pytest.param(one, marks=pytest.mark.soak) for one in NAMES],
)
def test_a_process_that_dies_at_a_failpoint_is_followed_by_one_that_is_right(
    accounts: OwnServer, name: str
) -> None:
    with short_folder() as folder:
        died = folder / "died"
        environment = {
            "NGB_TEST_LIVE_FAILPOINT": name,
            "NGB_TEST_LIVE_FAILPOINT_ONCE": str(died),
        }
        with live_home(accounts, environment=environment) as home:
            with transfers(accounts.dsn()):
                tables = _live(home)
                with looks(tables):
                    wait_until(died.exists, f"death at {name!r}")
                    assert_whole_again(tables)
            assert_right(home, tables)


def assert_whole_again(tables: list[LiveTable]) -> None:
    """All of them are live, with a position from now."""
    for table in tables:
        table.wait_live(WAIT_S)


# ---- the server, and what belongs to us there


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    with live_home(server) as made:
        # Where nothing is live the process ends, and a new one takes seconds to come.
        server.run("CREATE TABLE stays (id int8 PRIMARY KEY)")
        made.plane.live("stays", timeout_s=WAIT_S)
        yield made


@pytest.fixture
def tables(home: LiveHome, accounts: OwnServer) -> Iterator[list[LiveTable]]:
    yield _live(home)
    for table in TABLES:
        home.plane.drop_live(table)


@contextmanager
def moving(home: LiveHome, tables: list[LiveTable]) -> Iterator[None]:
    """Money moves and is looked at meanwhile; afterwards all is as SELECT says."""
    with transfers(home.server.dsn()), looks(tables):
        yield
    assert_right(home, tables)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["crash", "restart"])
def test_a_server_that_comes_back_is_followed_again(
    home: LiveHome, tables: list[LiveTable], how: signal.Signals
) -> None:
    with moving(home, tables):
        home.restart(how, down_s=0.3)
        _change_whole(home)


def _change_whole(home: LiveHome) -> None:
    with psycopg.connect(home.server.dsn()) as connection:
        _transfer(connection, 1_000_000)


def test_a_killed_walsender_is_followed_by_another(home: LiveHome, tables: list[LiveTable]) -> None:
    with moving(home, tables):
        home.server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        _change_whole(home)


def test_all_sessions_of_ours_may_be_ended(home: LiveHome, tables: list[LiveTable]) -> None:
    with moving(home, tables):
        home.server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type IN ('client backend', 'walsender')"
        )
        _change_whole(home)


def test_a_dropped_publication_is_made_again(home: LiveHome, tables: list[LiveTable]) -> None:
    with moving(home, tables):
        for (name,) in home.server.run("SELECT pubname FROM pg_publication"):
            home.server.run(f'DROP PUBLICATION "{name}"')
        _change_whole(home)


def test_a_table_that_somebody_took_out_of_the_publication_is_put_back(
    home: LiveHome, tables: list[LiveTable]
) -> None:
    with moving(home, tables):
        found = home.server.run(
            "SELECT pubname FROM pg_publication_tables WHERE tablename = 'left_side'"
        )
        for (name,) in found:
            home.server.run(f'ALTER PUBLICATION "{name}" DROP TABLE left_side')
        _change_whole(home)


def test_a_slot_of_a_killed_process_is_no_hindrance(
    home: LiveHome, tables: list[LiveTable]
) -> None:
    with moving(home, tables):
        pid = home.kill()
        _change_whole(home)
        home.wait_pid(pid)


def test_a_transaction_that_holds_a_copy_up_is_named(home: LiveHome, accounts: OwnServer) -> None:
    """Older than the publication of the table: what it does is not in the stream."""
    seen: list[str] = []
    accounts.run("CREATE TABLE waits (id int8 PRIMARY KEY)")
    with psycopg.connect(accounts.dsn()) as older:
        older.execute("INSERT INTO waits VALUES (1)")
        pid = older.info.backend_pid

        def told(state: TableState) -> None:
            seen.append(f"{state.state}: {state.detail}")
            if f"pid {pid}" in state.detail:
                older.commit()

        table = home.plane.live("waits", timeout_s=WAIT_S, progress=told)
    try:
        assert any(f"pid {pid}" in one for one in seen), seen
        assert table.arrow()["id"].to_pylist() == [1]
    finally:
        home.plane.drop_live("waits")
        accounts.run("DROP TABLE waits")


def test_a_stopped_reader_stops_nobody(home: LiveHome, tables: list[LiveTable]) -> None:
    """It holds what it looks at: others go on, and it finds that as it was."""
    held = live_snapshot(tables)
    before = {name: one.arrow().to_pydict() for name, one in held.items()}
    for step in range(200):
        with psycopg.connect(home.server.dsn()) as connection:
            _transfer(connection, step)
    assert_right(home, tables)
    assert {name: one.arrow().to_pydict() for name, one in held.items()} == before
