"""What the keeper and its clients tell each other about servers: frozen, without passwords."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec
from pydantic import SecretStr

ServerName = Literal["postgres", "compute_redis", "market_data_redis", "engine_logic_redis"]
SERVER_NAMES: tuple[ServerName, ...] = get_args(ServerName)

ServerState = Literal["starting", "running", "restarting", "failed", "stopped", "existing"]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one plane finds everything. The four addresses are unix sockets where servers are
    private.
    """

    postgres_dsn: SecretStr
    compute_redis_url: SecretStr
    market_data_redis_url: SecretStr
    engine_logic_redis_url: SecretStr
    #: Shared memory of this home; the keeper removes it when it stops.
    memory_folder: Path
    #: The same servers over TCP, for libraries that know no unix sockets.
    loopback: Mapping[ServerName, SecretStr]


class ServerStatus(msgspec.Struct, frozen=True):
    """One server at one moment."""

    name: ServerName
    state: ServerState
    #: Loopback address without user and password.
    address: str
    #: Port in use; 0 before the first start and for an existing server.
    port: int = 0
    #: Port that the settings ask for; 0 for an existing server.
    port_asked: int = 0
    #: Who holds the asked port, in words; empty where it could be used.
    port_holder: str = ""
    pid: int = 0
    version: str = ""
    #: On disk; in memory for the compute Redis, which keeps nothing on disk.
    data_bytes: int = 0
    #: Starts after a death that nobody asked for.
    restarts: int = 0


class WorkerStatus(msgspec.Struct, frozen=True):
    """One worker process that the keeper runs."""

    #: 0 while it waits to be started again.
    pid: int
    restarts: int


class KeeperStatus(msgspec.Struct, frozen=True):
    """The keeper of one home and all it runs."""

    home: str
    pid: int
    #: Version of this package that the keeper runs.
    version: str
    started_ns: int
    memory_folder: str
    #: True after ``ngb up``: it runs until ``ngb down``.
    stay: bool
    #: Counted clients; without ``stay`` the servers stop after the last one.
    leases: int
    servers: tuple[ServerStatus, ...]
    workers: tuple[WorkerStatus, ...]
