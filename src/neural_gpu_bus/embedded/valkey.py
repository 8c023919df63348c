"""The three private Valkeys: their configuration, and when they are ready."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from neural_gpu_bus.embedded.home import Home, own_folder, write_private
from neural_gpu_bus.embedded.loopback import LOOPBACK
from neural_gpu_bus.embedded.records import ServerName
from neural_gpu_bus.errors import ServerError

_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class ValkeyPolicy:
    """What one of the three keeps, and what it does when it is full."""

    bytes_max: int
    #: ``allkeys-lru`` forgets what was used least recently; ``noeviction`` refuses writes.
    eviction: str
    #: True: append-only file, synced every second. False: nothing on disk.
    persistent: bool


class Valkey:
    """One Valkey of one home. Nothing is started here: the keeper runs ``command``."""

    stop_signal = signal.SIGTERM

    def __init__(
        self, name: ServerName, home: Home, program: Path, policy: ValkeyPolicy, password: str
    ) -> None:
        self.name = name
        self._home = home
        self._program = program
        self._policy = policy
        self._password = password

    @property
    def socket(self) -> Path:
        """Its unix socket."""
        return self._home.sockets / f"{self.name}.sock"

    @property
    def standard_input(self) -> Path:
        """Its configuration. Named as an argument, Valkey takes the path as a pattern, and one
        that matches nothing (a home with ``[1]`` in its name) is an open server without password.
        """
        return self._home.configuration / f"{self.name}.conf"

    async def prepare(self, on_spawn: Callable[[asyncio.subprocess.Process], None]) -> None:
        """Make its data folder."""
        del on_spawn  # that takes no program
        own_folder(self._home.data(self.name), 0o700, self._home.account)

    def command(self, port: int) -> list[str | Path]:
        """Write the configuration, which holds the password, and return the command line."""
        text = configuration(
            self._policy, port, self.socket, self._home.data(self.name), self._password
        )
        write_private(self.standard_input, text.encode(), self._home.account)
        return [self._program, "-"]

    async def wait_ready(self, port: int, pid: int) -> str:
        """Wait until it has loaded its data and answers; return the version."""
        del port, pid  # it listens on its socket when it listens on its port
        while True:
            try:
                information = await self._information("server")
            except (OSError, ServerError):  # not listening yet, or still loading its data
                await asyncio.sleep(_POLL_S)
            else:
                return information["valkey_version"]

    def address(self, port: int) -> str:
        """By unix socket, with the password."""
        del port
        return f"unix://:{self._password}@{quote(str(self.socket))}"

    def loopback(self, port: int) -> str:
        """By TCP, with the password."""
        return f"redis://:{self._password}@{LOOPBACK}:{port}/0"

    async def data_bytes(self) -> int:
        """Memory that its data takes."""
        try:
            return int((await self._information("memory"))["used_memory_dataset"])
        except (OSError, ServerError):  # it died a moment ago, and is started again
            return 0

    async def _information(self, section: str) -> dict[str, str]:
        # Two commands by hand: importing redis-py takes 0.3 s of each start and 20 MB.
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(f"AUTH {self._password}\r\nINFO {section}\r\n".encode())
            await reader.readline()
            size = (await reader.readline()).decode()
            if not size.startswith("$"):
                raise ServerError(f"{self.name} answered {size.strip()!r} to INFO")
            text = (await reader.readexactly(int(size[1:]))).decode()
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"{self.name} closed the connection") from error
        finally:
            writer.close()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def configuration(policy: ValkeyPolicy, port: int, socket: Path, data: Path, password: str) -> str:
    """valkey.conf, whole."""
    settings = {
        "bind": LOOPBACK,
        "port": str(port),
        "protected-mode": "yes",
        "unixsocket": _quoted(str(socket)),
        "unixsocketperm": "700",
        "requirepass": _quoted(password),
        # Dead peers are noticed after a minute instead of five.
        "tcp-keepalive": "60",
        "dir": _quoted(str(data)),
        "maxmemory": str(policy.bytes_max),
        "maxmemory-policy": policy.eviction,
        "save": '""',
        "appendonly": "yes" if policy.persistent else "no",
        "appendfsync": "everysec",
        "daemonize": "no",
        "logfile": '""',
    }
    return "\n".join(f"{name} {value}" for name, value in settings.items()) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
