"""The keeper's side of the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.embedded.control import (
    LINE_BYTES_MAX,
    Attach,
    Attached,
    Done,
    Follow,
    Progress,
    Refused,
    Reply,
    Request,
    Status,
    StatusReport,
    Stay,
    decode_request,
    encode,
)
from neural_gpu_bus.embedded.handover import existing_digests
from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import AlreadyRunningError, BadSettingError, NeuralGpuBusError
from neural_gpu_bus.version import __version__

if TYPE_CHECKING:
    from neural_gpu_bus.keeper.keeper import Keeper

log = logging.getLogger(__name__)

#: Clients that wait for the start hear this often that it goes on.
PROGRESS_S: Final = 1.0
#: How long a failed keeper waits for the client that started it, to tell it why.
TELL_S_MAX: Final = 5.0


class ControlServer:
    """Answers requests. A connection with a counted ``Attach`` is a lease until it closes."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._failure_told = asyncio.Event()
        #: Clients that asked for the end, and hear when it is reached.
        self._stop_asked: list[asyncio.StreamWriter] = []

    async def open(self, path: Path) -> None:
        """Listen, for this user alone: the folder is closed to others already."""
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, path=str(path), limit=LINE_BYTES_MAX
            )
        finally:
            os.umask(mask)
        self._path = path
        self._keeper.ready.add_done_callback(self._on_ready)

    def close(self) -> None:
        """Take no new clients: they find nobody, and start the next keeper."""
        if self._server is not None and self._path is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def wait_gone(self) -> None:
        """Answer those that asked for the end, and let go of all clients."""
        for writer in self._stop_asked:
            with contextlib.suppress(ConnectionError):
                await _send(writer, Done())
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def stop_for(self, writer: asyncio.StreamWriter) -> None:
        """Stop everything, and tell that client when it is done."""
        self._stop_asked.append(writer)
        self._keeper.stop()

    def told(self) -> None:
        """A client has heard how the start ended."""
        self._failure_told.set()

    def _on_ready(self, ready: asyncio.Future[None]) -> None:
        if not ready.cancelled() and ready.exception() is not None:
            task = asyncio.ensure_future(self._stop_when_told())
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _stop_when_told(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._failure_told.wait(), TELL_S_MAX)
        self._keeper.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        connection = _Connection(self, self._keeper, writer)
        try:
            while line := await reader.readline():
                connection.take(decode_request(line))
        except (NeuralGpuBusError, ConnectionError, ValueError) as error:
            if isinstance(error, NeuralGpuBusError):
                await connection.refuse(error)
        except asyncio.CancelledError:
            pass  # the keeper stops; asyncio would report it as unhandled
        finally:
            await connection.close()


class _Connection:
    """One client. Requests are answered beside the reading, so that its end is seen at once."""

    def __init__(
        self, control: ControlServer, keeper: Keeper, writer: asyncio.StreamWriter
    ) -> None:
        self._control = control
        self._keeper = keeper
        self._writer = writer
        self._counted = False
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, request: Request) -> None:
        """Begin to answer; a lease counts from here on."""
        if isinstance(request, Attach) and request.counted and not self._counted:
            if self._mismatch(request) is None:
                self._counted = True
                self._keeper.leases.add()
            elif self._keeper.leases.idle:
                # We only wait for a client of our own kind. This one finds nobody, and starts the
                # keeper that it wants.
                self._control.close()
                self._keeper.stop()
                self._writer.close()
                return
        task = asyncio.ensure_future(self._answer(request))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def refuse(self, error: NeuralGpuBusError) -> None:
        """Send an error."""
        with contextlib.suppress(ConnectionError):
            await _send(self._writer, Refused(to_record(error)))

    async def close(self) -> None:
        """The client is gone, or has to go."""
        for task in list(self._answering):
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        if self._counted:
            self._counted = False
            self._keeper.leases.remove()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _answer(self, request: Request) -> None:
        try:
            reply = await self._reply(request)
        except Exception as error:
            # The client shall hear of a defect here, not wait for an answer that never comes.
            log.exception("cannot answer %r", request)
            what = f"the keeper failed: {error!r}"
            reply = Refused(ErrorRecord("HostError", what, "see its log"))
        if self._keeper.stopping and isinstance(reply, Attached):
            # It came just after the decision to stop. Without an answer it starts the next keeper.
            self._writer.close()
            return
        with contextlib.suppress(ConnectionError):
            await _send(self._writer, reply)
        if self._keeper.ready.done() and isinstance(request, Attach):
            self._control.told()

    async def _reply(self, request: Request) -> Reply:
        if isinstance(request, Attach):
            return await self._attach(request)
        if isinstance(request, Status):
            return StatusReport(await self._keeper.status())
        if isinstance(request, Stay):
            self._keeper.leases.stay()
            return Done()
        if isinstance(request, Follow):
            self._keeper.follow()
            return Done()
        self._control.stop_for(self._writer)
        return Progress("stopping")

    async def _attach(self, request: Attach) -> Reply:
        error = self._mismatch(request)
        if error is not None:
            return Refused(to_record(error))
        while not self._keeper.ready.done():
            await asyncio.wait({self._keeper.ready}, timeout=PROGRESS_S)
            if not self._keeper.ready.done():
                await _send(self._writer, Progress(self._keeper.progress))
        failure = None if self._keeper.ready.cancelled() else self._keeper.ready.exception()
        if isinstance(failure, NeuralGpuBusError):
            # Before it is told: who tries again at once shall not meet this keeper again.
            self._control.close()
            return Refused(to_record(failure))
        if self._keeper.ready.cancelled():
            what = "the private servers were stopped"
            return Refused(ErrorRecord("HostError", what, "try again"))
        return self._keeper.attached()

    def _mismatch(self, request: Attach) -> NeuralGpuBusError | None:
        home, version = str(self._keeper.home.folder), __version__
        if request.version != version:
            return AlreadyRunningError(
                f"the private servers of {home!r} were started by version {version}, and this is "
                f"version {request.version}",
                hint="stop them with `ngb down`, then try again",
                home=home,
                pid=os.getpid(),
            )
        own = existing_digests(self._keeper.settings)
        names = sorted(
            name
            for name in own.keys() | request.existing.keys()
            if own.get(name) != request.existing.get(name)
        )
        if not names:
            return None
        return BadSettingError(
            f"the private servers of {home!r} run with other settings for {', '.join(names)}",
            hint="stop them with `ngb down`, use the same settings, or set NGB_HOME to another "
            "folder",
            setting=names[0],
        )


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    writer.write(encode(reply))
    await writer.drain()
