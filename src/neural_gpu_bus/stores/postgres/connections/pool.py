"""A few connections, lent one at a time: given back clean or closed, never shared by a fork."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from neural_gpu_bus.errors import ClosedError, QueryTimeoutError


class Pool:
    """At most ``connections_max`` connections at once, opened when first needed. Thread-safe.

    ``open_connection`` makes one; ``wait_timeout_s`` bounds the wait for a free one.
    """

    def __init__(
        self,
        open_connection: Callable[[], psycopg.Connection],
        *,
        connections_max: int,
        wait_timeout_s: float,
    ) -> None:
        self._open_connection = open_connection
        self._connections_max = connections_max
        self._wait_timeout_s = wait_timeout_s
        self._of_parent: list[psycopg.Connection] = []
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._idle: list[psycopg.Connection] = []
        self._lent = 0
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[psycopg.Connection]:
        """One connection for the body; closed afterwards if the body raised or left it busy.

        Raises QueryTimeoutError when none becomes free in time, and what opening one raises.
        """
        connection = self._take()
        healthy = False
        try:
            yield connection
            healthy = True
        finally:
            self._give_back(connection, healthy)

    def close(self) -> None:
        """Close idle connections now, and lent ones when they come back."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for connection in idle:
            connection.close()

    def _take(self) -> psycopg.Connection:
        if self._process != os.getpid():
            # The parent still talks on these sockets: kept, unused, so that nothing closes them.
            self._of_parent += self._idle
            self._start()
        idle = self._wait_turn()
        try:
            while idle and not _is_quiet(idle):
                idle.close()
                idle = self._next_idle()
            return idle or self._open_connection()
        except BaseException:
            self._end_turn(None)
            raise

    def _wait_turn(self) -> psycopg.Connection | None:
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._closed or self._lent < self._connections_max, self._wait_timeout_s
            )
            if self._closed:
                raise ClosedError("the PostgreSQL store is closed", hint="open a new plane")
            if not free:
                raise QueryTimeoutError(
                    f"all {self._connections_max} connections to PostgreSQL were in use for "
                    f"{self._wait_timeout_s:g} s",
                    hint="run fewer queries at once, or raise NGB_POSTGRES_CONNECTIONS_MAX",
                    timeout_s=self._wait_timeout_s,
                )
            self._lent += 1
            return self._idle.pop() if self._idle else None

    def _next_idle(self) -> psycopg.Connection | None:
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: psycopg.Connection, healthy: bool) -> None:
        if self._process != os.getpid():
            self._of_parent.append(connection)
            return
        clean = (
            healthy
            and not connection.closed
            and connection.info.transaction_status == TransactionStatus.IDLE
        )
        if not clean:
            connection.close()
        self._end_turn(connection if clean else None)

    def _end_turn(self, connection: psycopg.Connection | None) -> None:
        with self._changed:
            self._lent -= 1
            surplus = connection if self._closed else None
            if connection is not None and surplus is None:
                self._idle.append(connection)
            self._changed.notify()
        if surplus is not None:
            surplus.close()


def _is_quiet(connection: psycopg.Connection) -> bool:
    """False when the server closed an idle connection or said something on it: either way the
    next reply could not be told from it.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
