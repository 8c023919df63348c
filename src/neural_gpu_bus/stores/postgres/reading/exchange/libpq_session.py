"""Short statements through libpq, with a limit on every wait: libpq's own waits know none."""

from __future__ import annotations

import select
from collections.abc import Callable

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: With somebody to tell, a wait is never longer: who wants it to end says so when told.
TELL_MS_MAX = 100.0


class LibpqSession:
    """Statements on a borrowed connection, in its owner's thread. ``tell`` is called while it
    waits.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        address: str,
        deadline: Deadline,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self.pgconn = connection.pgconn
        self._address = address
        self._deadline = deadline
        self._tell = tell

    def run(self, sql: bytes) -> list[tuple[str | None, ...]]:
        """Rows of the last statement that returns any, as text. Raises what the server refused."""
        with translated(
            self._address, timeout_s=self._deadline.timeout_s, prefix_characters=len(sql)
        ):  # a place in a statement of our own says nothing
            self.pgconn.send_query(sql)
            found = self.results()
        return [
            tuple(_text(found.get_value(row, column)) for column in range(found.nfields))
            for row in range(found.ntuples)
        ]

    def describe(self, sql: bytes) -> list[Field]:
        """The statement's columns; none where it returns no rows. In an open transaction its
        tables stay as they are until the end.
        """
        with translated(self._address, timeout_s=self._deadline.timeout_s):
            self.pgconn.send_prepare(b"", sql)
            self.results()
            self.pgconn.send_describe_prepared(b"")
            found = self.results()
        return [
            Field((found.fname(at) or b"").decode(), found.ftype(at), found.fmod(at))
            for at in range(found.nfields)
        ]

    def results(self) -> PGresult:
        """The last result with rows of what was sent, else the last; the next may be sent then."""
        found = self.wait_result()
        while (later := self._next_result()) is not None:
            if later.status == ExecStatus.TUPLES_OK or found.status != ExecStatus.TUPLES_OK:
                found = later
        return found

    def wait_result(self) -> PGresult:
        """The next result. Raises psycopg's error for a refusal, when all others have come."""
        while self.pgconn.flush():
            self.wait_readable(select.POLLIN | select.POLLOUT)
        found = self._next_result()
        if found is None:
            raise psycopg.OperationalError("the server gave no result")
        return found

    def wait_readable(self, events: int = select.POLLIN) -> None:
        """Wait for bytes and take them in."""
        poll = select.poll()
        poll.register(self.pgconn.socket, events)
        limit_ms = TELL_MS_MAX if self._tell is not None else None
        while not poll.poll(self._deadline.poll_ms(limit_ms)):
            if self._tell is not None:
                self._tell()
        self.pgconn.consume_input()

    def _next_result(self) -> PGresult | None:
        while self.pgconn.is_busy():
            self.wait_readable()
        found = self.pgconn.get_result()
        if found is not None and found.status == ExecStatus.FATAL_ERROR:
            while self._next_result() is not None:
                pass
            raise psycopg.errors.error_from_result(found, encoding="utf-8")
        return found


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
