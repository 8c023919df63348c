"""Workers under the keeper: started after the servers, again when they die, stopped first."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from fix_servers import private_settings, short_folder
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.home import open_home
from neural_gpu_bus.keeper.keeper import Keeper
from neural_gpu_bus.keeper.workers import Workers
from neural_gpu_bus.settings import Settings
from private_processes import lives

pytestmark = pytest.mark.slow

#: Says in a file that it lives and what it was told, then waits.
WORKER = """
import os, pathlib, time
folder = pathlib.Path({folder!r})
told = os.environ["NGB_HOME"] + " " + os.environ["NGB_POSTGRES_DSN"]
(folder / str(os.getpid())).write_text(told)
time.sleep(60)
"""
POSTGRES = "postgresql://somebody:secret@127.0.0.1:1/none"


def test_workers_are_kept_and_stopped() -> None:
    with short_folder() as folder:
        existing = {
            f"{name}_url": "redis://127.0.0.1:1"
            for name in ("compute_redis", "market_data_redis", "engine_logic_redis")
        }
        settings = private_settings(folder / "home", workers=2, postgres_dsn=POSTGRES, **existing)
        asyncio.run(asyncio.wait_for(_live(settings, folder), 30))

        assert len(list(folder.glob("[0-9]*"))) == 3
        for file in folder.glob("[0-9]*"):
            assert file.read_text() == f"{settings.home} {POSTGRES}"
            assert not psutil.pid_exists(int(file.name))
    assert not embedded.memory_folder(settings).exists()


async def _live(settings: Settings, folder: Path) -> None:
    command = [sys.executable, "-c", WORKER.format(folder=str(folder))]
    keeper = Keeper(settings, open_home(settings), worker_command=command)
    life = asyncio.create_task(keeper.run())
    first = await _wait_files(folder, 2)
    psutil.Process(first[0]).kill()
    await _wait_files(folder, 3)
    status = await keeper.status()
    assert [server.state for server in status.servers] == ["existing"] * 4
    assert sorted(worker.restarts for worker in status.workers) == [0, 1]
    assert all(lives(psutil.Process(worker.pid)) for worker in status.workers)
    keeper.stop()
    assert await life == 0


async def _wait_files(folder: Path, count: int) -> list[int]:
    while len(found := [int(file.name) for file in folder.glob("[0-9]*")]) < count:
        await asyncio.sleep(0.01)
    return found


ONCE = """
import os, pathlib, sys
(pathlib.Path({folder!r}) / str(os.getpid())).write_text("")
sys.exit({status})
"""


@pytest.mark.parametrize(("status", "runs"), [(0, 1), (1, 2)])
def test_a_process_on_demand_runs_when_wanted_and_again_only_after_a_failure(
    tmp_path: Path, status: int, runs: int
) -> None:
    async def life() -> None:
        command = [sys.executable, "-c", ONCE.format(folder=str(tmp_path), status=status)]
        once = Workers(1, command, dict(os.environ), tmp_path / "log", lambda: None, on_demand=True)
        keeping = asyncio.create_task(once.keep())
        await asyncio.sleep(0.2)
        assert not list(tmp_path.glob("[0-9]*"))
        once.want()
        await _wait_files(tmp_path, runs)
        await asyncio.sleep(0.3 if runs == 1 else 0)
        assert len(list(tmp_path.glob("[0-9]*"))) == runs
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await once.stop()

    asyncio.run(asyncio.wait_for(life(), 30))
