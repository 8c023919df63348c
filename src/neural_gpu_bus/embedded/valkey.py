"""The three private Valkeys: their configuration, and when they are ready."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from neural_gpu_bus.embedded.home import Home, own_folder, write_private
from neural_gpu_bus.embedded.loopback import LOOPBACK
from neural_gpu_bus.embedded.records import ServerName

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
        self._client: Any = None

    @property
    def socket(self) -> Path:
        """Its unix socket."""
        return self._home.sockets / f"{self.name}.sock"

    async def prepare(self) -> None:
        """Make its data folder."""
        own_folder(self._home.data(self.name), 0o700, self._home.account)

    def command(self, port: int) -> list[str | Path]:
        """Write the configuration, which holds the password, and return the command line."""
        file = self._home.configuration / f"{self.name}.conf"
        text = configuration(
            self._policy, port, self.socket, self._home.data(self.name), self._password
        )
        write_private(file, text.encode(), self._home.account)
        return [self._program, file]

    async def wait_ready(self, port: int, pid: int) -> str:
        """Wait until it has loaded its data and answers; return the version."""
        del port, pid  # it listens on its socket when it listens on its port
        while not self.socket.exists():
            await asyncio.sleep(_POLL_S)
        # Imported while the server starts: it takes 0.3 s.
        from redis.asyncio import Redis
        from redis.exceptions import BusyLoadingError
        from redis.exceptions import ConnectionError as RedisConnectionError

        await self.close()
        self._client = Redis(unix_socket_path=str(self.socket), password=self._password)
        while True:
            try:
                information = await self._client.info("server")
            except (BusyLoadingError, RedisConnectionError):
                await asyncio.sleep(_POLL_S)
                continue
            return str(information.get("valkey_version", information["redis_version"]))

    def address(self, port: int) -> str:
        """By unix socket, with the password."""
        del port
        return f"unix://:{self._password}@{quote(str(self.socket))}"

    def loopback(self, port: int) -> str:
        """By TCP, with the password."""
        return f"redis://:{self._password}@{LOOPBACK}:{port}/0"

    async def data_bytes(self) -> int:
        """Memory that its data takes."""
        if self._client is None:
            return 0
        return int((await self._client.info("memory"))["used_memory_dataset"])

    async def close(self) -> None:
        """Let go of the connection that watches it."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


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
