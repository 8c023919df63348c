"""Workers under the keeper: started after the servers, again when they die, stopped first."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from fix_servers import private_settings, short_folder
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.home import open_home
from neural_gpu_bus.keeper.keeper import Keeper
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
