"""One private server in the keeper's hands: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from neural_gpu_bus.embedded.failures import is_port_taken, start_failure
from neural_gpu_bus.embedded.home import Home
from neural_gpu_bus.embedded.logs import last_lines
from neural_gpu_bus.embedded.loopback import LOOPBACK
from neural_gpu_bus.embedded.processes import spawn, stop
from neural_gpu_bus.embedded.records import ServerState, ServerStatus
from neural_gpu_bus.embedded.servers import PrivateServer
from neural_gpu_bus.errors import HostError, ServerStartError
from neural_gpu_bus.keeper.ports import PortBook

#: Recovery after a crash replays up to ``max_wal_size`` (4 GiB), a minute or two on a slow disk.
START_S_MAX: Final = 300.0
#: Somebody may take the port between our look and the server's; thrice in a row is no chance.
PORT_ATTEMPTS_MAX: Final = 3
#: A server that dies again and again is broken; waits double, so these take about 6 s together.
RESTARTS_IN_A_ROW_MAX: Final = 5
RESTART_WAIT_S: Final = 0.2
#: Living this long ends a row of restarts.
STEADY_S: Final = 60.0

log = logging.getLogger(__name__)


class KeptServer:
    """Runs one server. ``on_start`` is told each new process, so that a crash leaves a record."""

    def __init__(
        self, server: PrivateServer, home: Home, ports: PortBook, on_start: Callable[[], None]
    ) -> None:
        self.server = server
        self.state: ServerState = "starting"
        self.port = 0
        self._home = home
        self._ports = ports
        self._on_start = on_start
        self._log_file = home.log_file(server.name)
        self._process: asyncio.subprocess.Process | None = None
        self._version = ""
        self._restarts = 0

    @property
    def pid(self) -> int:
        """Of the running process; 0 for none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises HostError with its last words."""
        await self.server.prepare(self._run_by)
        for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
            self.port = self._ports.choose(self.server.name)
            try:
                await self._run_once()
            except ServerStartError as error:
                if not is_port_taken(error.what) or attempt == PORT_ATTEMPTS_MAX:
                    raise
            else:
                return

    async def keep(self) -> None:
        """Start it again whenever it dies, until it dies too often. Cancelled to end."""
        in_a_row = 0
        loop = asyncio.get_running_loop()
        while in_a_row < RESTARTS_IN_A_ROW_MAX:
            started_s = loop.time()
            if self._process is not None:
                status = await self._process.wait()
                log.warning("%s ended by itself with status %s", self.server.name, status)
            in_a_row = 0 if loop.time() - started_s > STEADY_S else in_a_row + 1
            self.state = "restarting"
            await asyncio.sleep(RESTART_WAIT_S * 2 ** (in_a_row - 1) if in_a_row else 0)
            self._restarts += 1
            try:
                await self._run_once()
            except (HostError, OSError) as error:
                log.warning("%s", error)
        self.state = "failed"
        log.error("%s died %d times in a row and is given up", self.server.name, in_a_row)

    async def stop(self) -> None:
        """Stop it in its own orderly way."""
        if self._process is not None:
            await stop(self._process, self.server.stop_signal)
        self.state = "stopped"

    async def status(self) -> ServerStatus:
        """How it is."""
        name = self.server.name
        return ServerStatus(
            name=name,
            state=self.state,
            address=f"{LOOPBACK}:{self.port}",
            port=self.port,
            port_asked=self._ports.asked[name],
            port_holder=self._ports.holders.get(name, ""),
            pid=self.pid,
            version=self._version,
            data_bytes=await self.server.data_bytes() if self.state == "running" else 0,
            restarts=self._restarts,
        )

    async def _run_once(self) -> None:
        log_start_bytes = self._log_file.stat().st_size if self._log_file.exists() else 0
        process = await spawn(
            self.server.command(self.port),
            death_signal=self.server.stop_signal,
            log_file=self._log_file,
            standard_input=self.server.standard_input,
            account=self._home.account,
        )
        self._run_by(process)
        ready = asyncio.ensure_future(self.server.wait_ready(self.port, process.pid))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=START_S_MAX, return_when=asyncio.FIRST_COMPLETED
            )
            if not ready.done():
                raise self._start_failure(log_start_bytes)
            self._version = ready.result()
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        self.state = "running"

    def _run_by(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._on_start()

    def _start_failure(self, log_start_bytes: int) -> HostError:
        last_words = last_lines(self._log_file, log_start_bytes)
        if self.pid:
            last_words += f"\n(not ready after {START_S_MAX:.0f} s)"
        return start_failure(self.server.name, last_words, self._log_file)
