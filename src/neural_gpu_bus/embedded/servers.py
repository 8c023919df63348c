"""The private servers of one home, as the settings want them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from neural_gpu_bus.embedded.handover import existing_address
from neural_gpu_bus.embedded.home import Home, own_folder, read_passwords
from neural_gpu_bus.embedded.postgres import Postgres
from neural_gpu_bus.embedded.programs import reachable_programs
from neural_gpu_bus.embedded.records import SERVER_NAMES, ServerName
from neural_gpu_bus.embedded.sizes import machine_sizes
from neural_gpu_bus.embedded.valkey import Valkey, ValkeyPolicy
from neural_gpu_bus.settings import Settings


class PrivateServer(Protocol):
    """What the keeper knows of a server: how to start it, when it is ready, where it answers."""

    name: ServerName
    stop_signal: signal.Signals

    @property
    def standard_input(self) -> Path | None:
        """File that it reads its configuration from, written by ``command``; None for none."""

    async def prepare(self, on_spawn: Callable[[asyncio.subprocess.Process], None]) -> None:
        """Make its data folder where there is none yet; ``on_spawn`` is told of a program that
        does so.
        """

    def command(self, port: int) -> list[str | Path]:
        """Write its configuration for that port and return its command line."""

    async def wait_ready(self, port: int, pid: int) -> str:
        """Wait until it answers; return its version. Does not notice its death."""

    def address(self, port: int) -> str:
        """Address by unix socket."""

    def loopback(self, port: int) -> str:
        """Address by TCP."""

    async def data_bytes(self) -> int:
        """How much it holds."""


def asked_port(settings: Settings, name: ServerName) -> int:
    """The loopback port that the settings want for that server."""
    port: int = getattr(settings, f"{name}_port")
    return port


def private_names(settings: Settings) -> tuple[ServerName, ...]:
    """Servers for which the settings name no existing one."""
    return tuple(name for name in SERVER_NAMES if existing_address(settings, name) is None)


def private_servers(settings: Settings, home: Home) -> tuple[PrivateServer, ...]:
    """The servers to run, their folders made. Raises HostError for what the machine lacks."""
    names = private_names(settings)
    if not names:
        return ()
    own_folder(home.configuration, home.outer_mode)
    own_folder(home.run, home.outer_mode)
    own_folder(home.sockets, 0o700, home.account)
    programs = reachable_programs(home)
    passwords = read_passwords(home)
    sizes = machine_sizes(home.folder)
    compute = ValkeyPolicy(settings.compute_redis_limit_bytes, "allkeys-lru", persistent=False)
    traditional = ValkeyPolicy(sizes.traditional_redis_bytes_max, "noeviction", persistent=True)

    def make(name: ServerName) -> PrivateServer:
        if name == "postgres":
            return Postgres(home, programs.postgres, sizes, passwords[name])
        policy = compute if name == "compute_redis" else traditional
        return Valkey(name, home, programs.valkey, policy, passwords[name])

    return tuple(make(name) for name in names)
