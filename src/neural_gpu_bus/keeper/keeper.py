"""The keeper: starts everything of one home, answers its clients, stops everything."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psutil

from neural_gpu_bus.embedded.control import Attached
from neural_gpu_bus.embedded.existing import existing_status
from neural_gpu_bus.embedded.failures import disk_full, system_failure
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.embedded.home import (
    Home,
    State,
    memory_folder,
    own_folder,
    read_state,
    remove_folder,
    remove_own_memory,
    write_state,
)
from neural_gpu_bus.embedded.logs import bound_logs
from neural_gpu_bus.embedded.processes import end_leftovers, record_of
from neural_gpu_bus.embedded.records import SERVER_NAMES, KeeperStatus
from neural_gpu_bus.embedded.servers import asked_port, private_names, private_servers
from neural_gpu_bus.errors import BadSettingError, HostError, NeuralGpuBusError
from neural_gpu_bus.keeper.control import ControlServer
from neural_gpu_bus.keeper.guard import Guard
from neural_gpu_bus.keeper.kept import KeptServer
from neural_gpu_bus.keeper.leases import GRACE_S, Leases
from neural_gpu_bus.keeper.ports import PortBook
from neural_gpu_bus.keeper.workers import LIVE_COMMAND, WORKER_COMMAND, Workers
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.version import __version__

#: A fresh cluster takes 40 MB and its first WAL files 32 MB.
NEW_CLUSTER_BYTES_MIN: Final = 128 << 20
#: Configuration, state and logs of a start; whoever has no more comes to delete something.
RESERVE_BYTES_MIN: Final = 4 << 20
#: How often logs are looked at: at the 100 MB/s of a log gone mad that is 1 GB too much.
LOG_CHECK_S: Final = 10.0

#: Of a home that has, or had, live tables.
LIVE_DEFINITIONS: Final = "live/definitions.json"

log = logging.getLogger(__name__)


class Keeper:
    """All of one home. ``run`` returns when everything is stopped."""

    def __init__(
        self,
        settings: Settings,
        home: Home,
        *,
        worker_command: Sequence[str] = WORKER_COMMAND,
        live_command: Sequence[str] = LIVE_COMMAND,
        grace_s: float = GRACE_S,
        starter: int | None = None,
    ) -> None:
        """``starter``: reading end of a pipe that closes when the client that started us ends."""
        self.settings = settings
        self.home = home
        self.memory_folder = memory_folder(settings)
        #: What it is doing until it is ready, in words.
        self.progress = "starting"
        self._environment = dict(os.environ)
        self._worker_command = worker_command
        self._live_command = live_command
        self._grace_s = grace_s
        self._starter = starter
        self._started_ns = time.time_ns()
        self._servers: list[KeptServer] = []
        self._workers: Workers | None = None
        self._live: Workers | None = None
        self._guard: Guard | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> int:
        """Start, serve, stop. Exit status: 0 after an orderly life, else that of the failure."""
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        #: Done when all is ready, or with the error that prevented it.
        self.ready: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop_on, number)
        self.leases = Leases(loop.call_later, self.stop, grace_s=self._grace_s)
        if self._starter is not None:
            loop.add_reader(self._starter, self._hear_starter, self._starter)
        own_folder(self.home.run, self.home.outer_mode)
        control = ControlServer(self)
        await control.open(self.home.control_socket)
        starting = loop.create_task(self._start())
        try:
            await self._stopping.wait()
        finally:
            # First of all: a client that comes now shall find nobody and start the next keeper.
            control.close()
            await _end(starting)
            await self._stop_all()
            await control.wait_gone()
        return self._exit_status()

    def stop(self) -> None:
        """Begin to stop; ``run`` returns when it is done."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether the end has begun; nothing brings it back."""
        return self._stopping.is_set()

    def attached(self) -> Attached:
        """Where the private servers answer."""
        return Attached(
            {kept.server.name: kept.server.address(kept.port) for kept in self._servers},
            {kept.server.name: kept.server.loopback(kept.port) for kept in self._servers},
            str(self.memory_folder),
        )

    async def status(self) -> KeeperStatus:
        """How everything is."""
        kept = {server.server.name: server for server in self._servers}
        servers = [
            await kept[name].status() if name in kept else existing_status(self.settings, name)
            for name in SERVER_NAMES
            if name in kept or name not in private_names(self.settings)
        ]
        return KeeperStatus(
            home=str(self.home.folder),
            pid=os.getpid(),
            version=__version__,
            started_ns=self._started_ns,
            memory_folder=str(self.memory_folder),
            stay=self.leases.stays,
            leases=self.leases.counted,
            servers=tuple(servers),
            workers=self._workers.statuses() if self._workers else (),
        )

    async def _start(self) -> None:
        try:
            await self._start_servers()
        except asyncio.CancelledError:
            self.ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, waiting clients shall hear it)
            self._fail(error)
        else:
            self.ready.set_result(None)
            self._start_workers()

    async def _start_servers(self) -> None:
        state = read_state(self.home)
        await asyncio.to_thread(end_leftovers, state.processes, log.warning)
        self._check_room()
        self._make_memory_folder()
        self._guard = await Guard.start(*[] if self.settings.memory_group else [self.memory_folder])
        self._record_processes()
        asked = {name: asked_port(self.settings, name) for name in private_names(self.settings)}
        self._ports = PortBook(asked, state.ports)
        self._servers = [
            KeptServer(server, self.home, self._ports, self._record_processes)
            for server in await asyncio.to_thread(private_servers, self.settings, self.home)
        ]
        first = not self.home.data("postgres").exists() and "postgres" in asked
        self.progress = "initialising PostgreSQL" if first else "starting servers"
        await _all_or_first_error([kept.start for kept in self._servers])
        self._record_processes()
        for kept in self._servers:
            log.info("%s runs at 127.0.0.1:%d, pid %d", kept.server.name, kept.port, kept.pid)
            self._keep(kept.keep())
        self._keep(self._bound_logs())

    def follow(self) -> None:
        """Run the process of live tables: there are some now, or others."""
        if self._live is not None:
            self._live.want()

    def _start_workers(self) -> None:
        environment = to_environment(self.settings, self._environment)
        self._workers = Workers(
            self.settings.workers,
            self._worker_command,
            environment,
            self.home.log_file("workers"),
            self._record_processes,
        )
        self._live = Workers(
            1,
            self._live_command,
            environment,
            self.home.log_file("live"),
            self._record_processes,
            on_demand=True,
        )
        if (self.home.folder / LIVE_DEFINITIONS).exists():
            self._live.want()
        self._keep(self._workers.keep())
        self._keep(self._live.keep())

    def _keep(self, coroutine: Any) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(coroutine))

    def _make_memory_folder(self) -> None:
        parent = self.memory_folder.parent
        try:
            if not parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if self.settings.memory_group is None:
                remove_folder(self.memory_folder)
                own_folder(self.memory_folder, 0o700)
        except OSError as error:
            raise BadSettingError(
                f"memory folder {str(parent)!r} cannot be used: {error.strerror}",
                hint=f"make it: mkdir -p {shlex.quote(str(parent))}, or unset NGB_MEMORY_FOLDER"
                if error.errno == errno.ENOENT
                else "set NGB_MEMORY_FOLDER to a folder that you may write, or unset it",
                setting="memory_folder",
            ) from None

    def _check_room(self) -> None:
        names = private_names(self.settings)
        if not names:
            return
        new = "postgres" in names and not self.home.data("postgres").exists()
        needed_bytes = NEW_CLUSTER_BYTES_MIN if new else RESERVE_BYTES_MIN
        free_bytes = psutil.disk_usage(str(self.home.folder)).free
        if free_bytes < needed_bytes:
            raise disk_full(
                self.home.folder,
                f"servers need {needed_bytes >> 20} MiB, {free_bytes >> 20} MiB are free",
            )

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, NeuralGpuBusError | OSError)
        log.error("start failed: %s", error, exc_info=not known)
        if isinstance(error, OSError) and not isinstance(error, NeuralGpuBusError):
            error = system_failure(error, self.home.folder)
        elif not isinstance(error, NeuralGpuBusError):
            error = HostError(
                f"the private servers did not start: {error!r}",
                hint=f"see {self.home.log_file('keeper')}",
            )
        self.ready.set_exception(error)
        self.ready.exception()  # whether or not a client asks for it

    def _exit_status(self) -> int:
        failed = self.ready.done() and not self.ready.cancelled() and self.ready.exception()
        return failed.exit_code if isinstance(failed, NeuralGpuBusError) else 0

    def _stop_on(self, number: signal.Signals) -> None:
        log.info("stopping on %s", number.name)
        self.stop()

    def _hear_starter(self, starter: int) -> None:
        if not os.read(starter, 1):
            asyncio.get_running_loop().remove_reader(starter)
            self.leases.starter_gone()

    async def _stop_all(self) -> None:
        log.info("stopping")
        for task in self._tasks:
            await _end(task)
        for processes in (self._live, self._workers):
            if processes:
                await processes.stop()
        await asyncio.gather(*(kept.stop() for kept in self._servers))
        remove_own_memory(self.settings)
        if self._guard:
            await self._guard.close()
        remove_folder(self.home.run)
        self._remember(())
        log.info("stopped")

    def _record_processes(self) -> None:
        named: list[tuple[str, int]] = [
            (kept.server.name, kept.pid) for kept in self._servers if kept.pid
        ]
        named += [("worker", pid) for pid in (self._workers.pids() if self._workers else ())]
        named += [("live", pid) for pid in (self._live.pids() if self._live else ())]
        named += [("guard", self._guard.pid)] if self._guard else []
        self._remember(named)

    def _remember(self, named: Sequence[tuple[str, int]]) -> None:
        found = (record_of(name, pid) for name, pid in named)
        records = tuple(record for record in found if record)
        try:
            write_state(self.home, State(self._known_ports(), records))
        except OSError as error:
            # A full disk must neither end the keeper nor keep it from stopping.
            log.error("cannot remember processes: %s", error)

    def _known_ports(self) -> dict[str, int]:
        chosen = {kept.server.name: kept.port for kept in self._servers if kept.port}
        return read_state(self.home).ports | chosen

    async def _bound_logs(self) -> None:
        while True:
            try:
                bound_logs(self.home.log)
            except OSError as error:
                log.error("cannot bound logs: %s", error)
            await asyncio.sleep(LOG_CHECK_S)


async def _all_or_first_error(starts: Sequence[Callable[[], Any]]) -> None:
    tasks = [asyncio.ensure_future(start()) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    if isinstance(results[0], Exception):
        log.error("%s failed", task.get_name(), exc_info=results[0])
