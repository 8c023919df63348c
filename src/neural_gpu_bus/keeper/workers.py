"""Processes of ours that the keeper runs: started again when they die, later each time."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from neural_gpu_bus.embedded.processes import spawn, stop
from neural_gpu_bus.embedded.records import WorkerStatus

WORKER_COMMAND: Final = (sys.executable, "-m", "neural_gpu_bus", "worker", "--kept")
#: Follows tables; one a home, and only where there are live tables.
LIVE_COMMAND: Final = (sys.executable, "-m", "neural_gpu_bus", "live", "run", "--kept")

#: A worker that cannot start would otherwise take a core for itself.
RESTART_WAIT_S: Final = 0.5
RESTART_WAIT_S_MAX: Final = 30.0
#: Living this long makes the next wait the shortest again: a process that cannot start has ended by
#: then (imports, compiling and connecting take 4 to 10 s on a busy host), and one that ran and was
#: killed shall not keep its home without live tables for 30 s because that happened before.
STEADY_S: Final = 15.0
#: A worker gives its job back when asked to stop; another takes it over anyway.
STOP_S_MAX: Final = 5.0

log = logging.getLogger(__name__)


class Workers:
    """``count`` processes of one command.

    ``on_demand``: they start when they are wanted, and one that ends with status 0 stays away until
    it is wanted again.
    """

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        on_start: Callable[[], None],
        *,
        on_demand: bool = False,
    ) -> None:
        self._on_demand = on_demand
        self._wanted = asyncio.Event()
        if not on_demand:
            self._wanted.set()
        self._command = command
        self._environment = environment
        self._log_file = log_file
        self._on_start = on_start
        self._processes: list[asyncio.subprocess.Process | None] = [None] * count
        self._restarts = [0] * count

    def want(self) -> None:
        """Let them run now."""
        self._wanted.set()

    async def keep(self) -> None:
        """Run them all until cancelled."""
        await asyncio.gather(*(self._keep_one(place) for place in range(len(self._processes))))

    async def stop(self) -> None:
        """End them all; call it after ``keep`` was cancelled."""
        running = [process for process in self._processes if process is not None]
        await asyncio.gather(*(stop(process, signal.SIGTERM, STOP_S_MAX) for process in running))

    def pids(self) -> list[int]:
        """Of those that run now."""
        return [worker.pid for worker in self.statuses() if worker.pid]

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """How they are."""
        return tuple(
            WorkerStatus(process.pid if process and process.returncode is None else 0, restarts)
            for process, restarts in zip(self._processes, self._restarts, strict=True)
        )

    async def _keep_one(self, place: int) -> None:
        loop = asyncio.get_running_loop()
        wait_s = RESTART_WAIT_S
        while True:
            await self._wanted.wait()
            if self._on_demand:
                self._wanted.clear()  # who wants it from here on may be too late for this one
            started_s = loop.time()
            process = await spawn(
                self._command,
                death_signal=signal.SIGTERM,
                log_file=self._log_file,
                environment=self._environment,
            )
            self._processes[place] = process
            self._on_start()
            status = await process.wait()
            if self._on_demand and status == 0:
                continue
            self._wanted.set()
            wait_s = restart_wait_s(wait_s, loop.time() - started_s)
            log.warning(
                "%s: %d ended with status %s; next in %.1f s",
                self._log_file.stem,
                process.pid,
                status,
                wait_s,
            )
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RESTART_WAIT_S_MAX)
            self._restarts[place] += 1


def restart_wait_s(wait_s: float, lived_s: float) -> float:
    """How long to wait after a process that lived so long; ``wait_s``: if it was not healthy."""
    return RESTART_WAIT_S if lived_s > STEADY_S else wait_s
