"""Private PostgreSQL and Valkey for first use and for tests.

``attach`` finds the keeper of a home, or starts it, and returns addresses; the servers run while
somebody is attached. What runs them is ``neural_gpu_bus.keeper``, a process of its own.
"""

from __future__ import annotations

from neural_gpu_bus.embedded.client import Attachment, attach, status, stop
from neural_gpu_bus.embedded.home import memory_folder, open_home
from neural_gpu_bus.embedded.records import (
    Addresses,
    KeeperStatus,
    ServerName,
    ServerStatus,
    WorkerStatus,
)

__all__ = [
    "Addresses",
    "Attachment",
    "KeeperStatus",
    "ServerName",
    "ServerStatus",
    "WorkerStatus",
    "attach",
    "memory_folder",
    "open_home",
    "status",
    "stop",
]
