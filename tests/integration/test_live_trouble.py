"""Live tables when room runs out, clocks jump and the keeper dies: right, or said not to be."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

import live_mutants
import neural_gpu_bus as ngb
from fix_postgres_extras import small_disk
from fix_servers import short_folder, wait_until
from live_oracle import Oracle, readers
from live_oracle_home import LOGICAL, LiveHome, live_home, live_server
from neural_gpu_bus.errors import NotRunningError, StaleError
from neural_gpu_bus.live.live_table import LiveTable
from own_server import OwnServer, private_programs

pytestmark = [pytest.mark.slow, pytest.mark.soak]

WAIT_S = 60.0
MEBIBYTE = 1 << 20


def fill(folder: Path, left_bytes: int = 0) -> Path:
    """Take what is there, as any other program may."""
    filler = folder / "filler"
    room = shutil.disk_usage(folder).free - left_bytes
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(max(room, 0) // 4096):
            file.write(bytes(4096))
    return filler


def made_table(server: OwnServer, name: str) -> None:
    server.run(f"CREATE TABLE {name} (id int8 PRIMARY KEY, money int8 NOT NULL, filler text)")
    server.run(f"INSERT INTO {name} SELECT g, g, 'x' FROM generate_series(1, 500) g")


def assert_right(home: LiveHome, table: LiveTable, server: OwnServer | None = None) -> None:
    """As SELECT says, up to the end of the WAL as it is now."""
    table.wait_for(home.position(), WAIT_S)
    wanted = home.server.run(f"SELECT id, money, filler FROM {table.name} ORDER BY id")
    found = table.arrow().sort_by("id").to_pydict()
    assert list(zip(*found.values(), strict=True)) == wanted, home.log()


# ---- room


@pytest.mark.timeout(300)
def test_a_servers_full_disk_is_outlived() -> None:
    """Neither tables nor the log, nor what the sender keeps of a large transaction, have room."""
    settings = {**LOGICAL, "logical_decoding_work_mem": "64kB", "max_wal_size": "64MB"}
    with short_folder() as outer, small_disk(outer / "disk", "320m") as folder:
        server = OwnServer(folder, private_programs(), settings)
        server.initialise()
        server.start()
        try:
            with live_home(server) as home:
                _fill_the_disk(home, folder)
        finally:
            server.stop(signal.SIGQUIT)


def _fill_the_disk(home: LiveHome, folder: Path) -> None:
    server = home.server
    made_table(server, "full_disk")
    table = home.plane.live("full_disk", timeout_s=WAIT_S)
    failed = 0
    for left_mebibytes in (0, 4, 24):
        filler = fill(folder, left_mebibytes * MEBIBYTE)
        for first in range(0, 120_000, 20_000):
            try:
                server.run(
                    "INSERT INTO full_disk SELECT g, 1, repeat(md5(g::text), 30) "
                    f"FROM generate_series({1000 + first}, {first + 20_000}) g"
                )
            except psycopg.Error:
                failed += 1
        filler.unlink()
        server.stop(signal.SIGQUIT)
        server.start()
        server.run("DELETE FROM full_disk WHERE id > 600")
        server.run("UPDATE full_disk SET money = money + 1")
        assert_right(home, table)
        server.run("TRUNCATE full_disk")
        made = "INSERT INTO full_disk SELECT g, g, 'x' FROM generate_series(1, 500) g"
        server.run(made)
        assert_right(home, table)
    assert failed


@pytest.mark.timeout(300)
def test_a_full_shared_memory_is_told_and_outlived() -> None:
    """Readers keep what was there; once there is room, all is as SELECT says."""
    with (
        live_server() as server,
        short_folder() as outer,
        small_disk(outer / "shm", "48m", owned=False) as memory,
        live_home(server, memory_folder=memory) as home,
    ):
        made_table(server, "full_memory")
        table = home.plane.live("full_memory", timeout_s=WAIT_S)
        for left_bytes in (0, 64 << 10, 2 * MEBIBYTE):
            filler = fill(memory, left_bytes)
            server.run(
                "INSERT INTO full_memory SELECT g, 1, repeat(md5(g::text), 30) "
                "FROM generate_series(1001, 9000) g"
            )
            with pytest.raises(StaleError, match="full_memory"):
                table.wait_for(home.position(), 5)
            assert table.as_of.stale, home.log()
            assert table.rows() == 500
            server.run("DELETE FROM full_memory WHERE id > 1000")
            filler.unlink()
            table.wait_live(WAIT_S)  # tried again by itself
            assert_right(home, table)


# ---- clocks


@pytest.mark.timeout(300)
def test_clocks_that_jump_change_nothing(tmp_path: Path) -> None:
    """Each process of the home sees the wall clock a day before or behind, now so, now so."""
    environment = live_mutants.environment(tmp_path, live_mutants.JUMPING)
    with (
        live_server() as server,
        live_home(server, environment=environment) as home,
        Oracle(home, 7) as oracle,
        readers(home, oracle.declared(), 1) as check,
    ):
        end_s = time.monotonic() + 40
        while time.monotonic() < end_s:
            oracle.step({"kill": 0.05, "cut": 0.1, "define": 0.2})
            check()


# ---- the keeper


@pytest.mark.timeout(300)
def test_readers_outlive_a_killed_keeper_and_find_the_next_one() -> None:
    with live_server() as server, live_home(server) as home:
        made_table(server, "kept")
        table = home.plane.live("kept", timeout_s=WAIT_S)
        assert_right(home, table)
        held, live_pid = table.arrow(), home.wait_pid()
        keeper = psutil.Process(home.plane.attachment.status().pid)
        keeper.kill()
        keeper.wait(WAIT_S)
        wait_until(lambda: not psutil.pid_exists(live_pid), "the end of the process that follows")

        server.run("UPDATE kept SET money = 0 WHERE id = 1")
        assert table.rows() == held.num_rows == 500
        assert table.as_of.stale
        with pytest.raises(StaleError, match=r"old, 0 s were asked for"):
            table.rows(max_lag_s=0.0)
        with ngb.open(**home.settings) as other:
            again = other.live("kept", timeout_s=WAIT_S)
            assert_right(home, again)
            assert_right(home, table)
            with pytest.raises(NotRunningError, match="attached to has ended"):
                home.plane.live("kept", timeout_s=WAIT_S)


def test_a_backend_killed_by_the_system_is_outlived() -> None:
    """As the kernel does where memory runs out: the server ends all sessions and recovers."""
    with live_server() as server, live_home(server) as home:
        made_table(server, "killed_backend")
        table = home.plane.live("killed_backend", timeout_s=WAIT_S)
        for _ in range(3):
            ((pid,),) = server.run("SELECT pid FROM pg_stat_replication")
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: _writes(server), "the server's recovery")
            assert_right(home, table)


def _writes(server: OwnServer) -> bool:
    with suppress(psycopg.OperationalError):
        server.run("UPDATE killed_backend SET money = money + 1")
        return True
    return False
