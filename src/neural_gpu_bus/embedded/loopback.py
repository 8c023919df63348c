"""Loopback ports: which are free, and who holds one that is not."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection

import psutil

from neural_gpu_bus.errors import HostError
from neural_gpu_bus.settings import HIGHEST_PORT

LOOPBACK = "127.0.0.1"

#: How far above the asked port to look: a machine with that many in a row taken is broken.
PORTS_TRIED_MAX = 200


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As the servers do it: without this a port is taken for a minute after its last use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def choose_port(asked: int, remembered: int | None, avoid: Collection[int]) -> int:
    """The asked port, else the one of the last run, else the next free one above.

    ``avoid``: ports of this home's other servers. Raises HostError when none is free.
    """
    above = range(asked + 1, min(asked + PORTS_TRIED_MAX, HIGHEST_PORT) + 1)
    candidates: list[int] = [asked, *([remembered] if remembered else []), *above]
    for port in candidates:
        if port not in avoid and is_free(port):
            return port
    raise HostError(
        f"no free port on {LOOPBACK} between {asked} and {above.stop - 1}",
        hint="ask for another one, see `ngb config`",
        port=asked,
    )


def holder(port: int) -> str:
    """Who listens on that port, in words; empty when nobody does."""
    with contextlib.suppress(psutil.AccessDenied):  # macOS shows connections to root alone
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr and connection.laddr.port == port:
                return _process_name(connection.pid)
    return "" if is_free(port) else "another user's process"


def _process_name(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"pid {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"pid {pid}"
