"""Sessions for what may wait for long, kept for the next one: a new one costs 10 ms of the server,
which has to read its catalog from the start, and plans each question once more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg
from psycopg.pq import TransactionStatus

#: A copy needs one after the other; a second one may run beside it.
KEPT_MAX: Final = 2
#: A question is kept planned from its second time on.
_PREPARED_AFTER: Final = 1


def plan_once(connection: psycopg.Connection) -> None:
    """For questions to the catalog, which are asked again and again: the server plans each once. By
    itself it plans the first five times, which takes half of a look at a table (2.1 and 1.3 ms).
    """
    connection.prepare_threshold = _PREPARED_AFTER
    connection.execute("SET plan_cache_mode = force_generic_plan")


class SpareConnections:
    """Thread-safe. ``connected``: makes one."""

    def __init__(self, connected: Callable[[], psycopg.Connection]) -> None:
        self._connected = connected
        self._lock = threading.Lock()
        self._kept: list[psycopg.Connection] = []

    @contextmanager
    def lend(self) -> Iterator[psycopg.Connection]:
        """For the body, which leaves no transaction open and no setting of the session behind;
        closed where it raises. Raises what connecting raises.
        """
        connection = self._taken() or self._made()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    def close(self) -> None:
        """Let go of those that nobody uses."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()

    def _made(self) -> psycopg.Connection:
        connection = self._connected()
        plan_once(connection)
        return connection

    def _taken(self) -> psycopg.Connection | None:
        """One that still answers."""
        while True:
            with self._lock:
                if not self._kept:
                    return None
                connection = self._kept.pop()
            with suppress(psycopg.Error):
                connection.execute("SELECT 1")
                return connection
            connection.close()

    def _keep(self, connection: psycopg.Connection) -> None:
        idle = connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if idle and len(self._kept) < KEPT_MAX:
                self._kept.append(connection)
                return
        connection.close()
