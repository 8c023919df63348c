"""From the copy of a table to the stream: nothing is lost, nothing comes twice, whatever runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from cutting_proxy import cutting_proxy
from fix_servers import wait_until
from live_oracle_home import LiveHome, live_home, live_server
from live_oracle_tables import multiset
from neural_gpu_bus.errors import NeuralGpuBusError, SharedMemoryFullError
from neural_gpu_bus.live.live_table import LiveTable
from own_server import OwnServer

pytestmark = pytest.mark.slow

WAIT_S = 30.0
ROWS = 400


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with live_server() as made:
        yield made


@pytest.fixture(scope="module")
def home(server: OwnServer) -> Iterator[LiveHome]:
    with live_home(server) as made:
        # Where nothing is live the process ends, and a new one takes seconds to come.
        server.run("CREATE TABLE stays (id int8 PRIMARY KEY)")
        made.plane.live("stays", timeout_s=WAIT_S)
        yield made


@pytest.fixture
def ledger(server: OwnServer) -> Iterator[OwnServer]:
    server.run("CREATE TABLE ledger (id int8 PRIMARY KEY, step int8 NOT NULL, word text)")
    server.run(f"INSERT INTO ledger SELECT g, 0, 'w' FROM generate_series(1, {ROWS}) g")
    yield server
    server.run("DROP TABLE ledger")


@contextmanager
def _followed(home: LiveHome, table: str = "ledger") -> Iterator[LiveTable]:
    try:
        yield home.plane.live(table, timeout_s=WAIT_S)
    finally:
        with suppress(NeuralGpuBusError):
            home.plane.drop_live(table)


def assert_same(home: LiveHome, live: LiveTable) -> None:
    live.wait_for(home.position(), WAIT_S)
    wanted = home.server.run(f"SELECT * FROM {live.name}")
    columns = [column.to_pylist() for column in live.arrow().columns]
    assert multiset(list(zip(*columns, strict=True))) == multiset(wanted)


@contextmanager
def busy(dsn: str, writers: int = 3) -> Iterator[None]:
    """Rows come, change and go in transactions of several statements, some of them long."""
    over = threading.Event()

    def run(number: int) -> None:
        step = 0
        with psycopg.connect(dsn) as connection:
            while not over.is_set():
                step += 1
                with connection.transaction(force_rollback=step % 7 == 0):
                    for part in range(3):
                        one = (step * 13 + part * 29) % ROWS // writers * writers + number + 1
                        with connection.transaction(force_rollback=step % 5 == part):
                            connection.execute(
                                "INSERT INTO ledger VALUES (%s, %s, 'x') ON CONFLICT (id) "
                                "DO UPDATE SET step = ledger.step + 1",
                                [one, step],
                            )
                        if step % 3 == part:
                            connection.execute("DELETE FROM ledger WHERE id = %s", [one])
                        if step % 20 == 0:
                            over.wait(0.02)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_tables_become_live_while_they_are_written(home: LiveHome, ledger: OwnServer) -> None:
    """The moment of the snapshot meets transactions at every point of theirs."""
    for _ in range(3):
        with busy(ledger.dsn()):
            live = home.plane.live("ledger", timeout_s=WAIT_S)
        assert_same(home, live)
        home.plane.drop_live("ledger")


def test_one_that_is_dropped_and_asked_for_at_once_is_copied_again(
    home: LiveHome, ledger: OwnServer
) -> None:
    """What is still told of the one before is not taken for the new one."""
    with _followed(home):
        for step in range(5):
            home.plane.drop_live("ledger")
            ledger.run(f"UPDATE ledger SET step = {step} WHERE id < 50")
            assert_same(home, home.plane.live("ledger", timeout_s=WAIT_S))


def test_a_table_that_comes_later_joins_while_another_is_followed(
    home: LiveHome, ledger: OwnServer
) -> None:
    ledger.run("CREATE TABLE other AS SELECT g AS id FROM generate_series(1, 50) g")
    ledger.run("ALTER TABLE other ADD PRIMARY KEY (id)")
    with _followed(home) as live, busy(ledger.dsn()):
        before = live.mark
        with _followed(home, "other") as other:
            assert_same(home, other)
        assert live.mark.version == before.version, "it was copied anew"
    ledger.run("DROP TABLE other")


def test_a_prepared_transaction_is_waited_for_and_named(home: LiveHome, ledger: OwnServer) -> None:
    """Nobody's connection has it: it is ended by its name."""
    seen: list[str] = []
    with psycopg.connect(ledger.dsn()) as connection:
        connection.execute("INSERT INTO ledger VALUES (-1, 1, 'prepared')")
        connection.execute("PREPARE TRANSACTION 'an old one'")

    def told(state: object) -> None:
        seen.append(str(state))
        if "an old one" in seen[-1] and not ended:
            ended.append(ledger.run("COMMIT PREPARED 'an old one'"))

    ended: list[object] = []
    try:
        live = home.plane.live("ledger", timeout_s=WAIT_S, progress=told)
        assert ended
        assert_same(home, live)
    finally:
        if not ended:
            ledger.run("ROLLBACK PREPARED 'an old one'")
        home.plane.drop_live("ledger")


# ---- connections that break


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(b"pg_export_snapshot", id="as the snapshot is taken"),
        pytest.param(b'"word"', id="as rows are read", marks=pytest.mark.soak),
        pytest.param(b"CREATE_REPLICATION_SLOT", id="as the slot is made", marks=pytest.mark.soak),
        pytest.param(b"START_REPLICATION", id="as the stream begins", marks=pytest.mark.soak),
        pytest.param(b"ALTER PUBLICATION", id="as the table is published", marks=pytest.mark.soak),
    ],
)
def test_a_connection_that_is_cut_is_made_again(ledger: OwnServer, at: bytes) -> None:
    with (
        cutting_proxy(ledger.port) as proxy,
        live_home(ledger, dsn=ledger.dsn(port=proxy.port)) as home,
    ):
        fault = proxy.arm("to_server", at)
        with busy(ledger.dsn()):
            live = _live_at_last(home)
            assert fault.happened.is_set(), f"nothing said {at!r}"
        assert_same(home, live)


def _live_at_last(home: LiveHome) -> LiveTable:
    """What fails because a connection broke is tried again by the mirror, and told at once."""
    with suppress(NeuralGpuBusError):
        return home.plane.live("ledger", timeout_s=WAIT_S)
    return home.plane.live("ledger", timeout_s=WAIT_S)


@pytest.mark.soak
def test_a_stream_that_is_cut_at_any_byte_is_followed_again(ledger: OwnServer) -> None:
    with (
        cutting_proxy(ledger.port) as proxy,
        live_home(ledger, dsn=ledger.dsn(port=proxy.port)) as home,
        _followed(home) as live,
    ):
        for at in (1, 6, 40, 300):
            with busy(ledger.dsn()):
                fault = proxy.arm("to_client", at)
                wait_until(fault.happened.is_set, "a cut")
            assert_same(home, live)


# ---- room


@pytest.mark.soak
def test_a_table_that_does_not_fit_says_so_and_others_go_on(server: OwnServer) -> None:
    server.run("CREATE TABLE small (id int8 PRIMARY KEY)")
    server.run("CREATE TABLE large (id int8 PRIMARY KEY, filler text)")
    server.run(
        "INSERT INTO large SELECT g, repeat(md5(g::text), 40) FROM generate_series(1, 60000) g"
    )
    try:
        with live_home(server, memory_bytes_max=64 << 20) as home:
            small = home.plane.live("small", timeout_s=WAIT_S)
            with pytest.raises(SharedMemoryFullError, match="memory"):
                home.plane.live("large", timeout_s=WAIT_S)
            server.run("INSERT INTO small VALUES (1), (2)")
            assert_same(home, small)
            server.run("DELETE FROM large WHERE id > 100")
            large = home.plane.live("large", timeout_s=WAIT_S)
            assert_same(home, large)
    finally:
        server.run("DROP TABLE small, large")


def test_the_process_stays_for_the_next_table_when_the_last_was_dropped(home: LiveHome) -> None:
    pid = home.wait_pid()
    try:
        home.plane.drop_live("stays")
        wait_until(lambda: not home.plane.live_states(), "no live table")
    finally:
        home.plane.live("stays", timeout_s=WAIT_S)

    assert home.looked() == pid
