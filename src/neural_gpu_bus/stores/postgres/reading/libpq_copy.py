"""The same reply through libpq, row by row: over TLS and GSS only libpq can read the socket."""

from __future__ import annotations

import select
from collections.abc import Sequence

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from neural_gpu_bus.stores.postgres.connections.connection import CLEAN_UP, translated
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.reading.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Rows between two looks at the clock.
ROWS_BETWEEN_LOOKS = 4096

_COPY = b"COPY ("


class LibpqCopy:
    """One query on a borrowed connection; the twin of ``DirectCopy``."""

    def __init__(
        self,
        connection: psycopg.Connection,
        buffer: ReceiveBuffer,
        address: str,
        deadline: Deadline,
    ) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._buffer = buffer
        self._address = address
        self._deadline = deadline
        self.finished = True

    def close(self) -> None:
        """Nothing was taken from the connection."""

    def describe(self, sql: bytes) -> list[Field] | None:
        """The statement's columns, None where it returns no rows."""
        self.finished = False
        with translated(self._address, timeout_s=self._deadline.timeout_s):
            self._connection.execute("BEGIN")
            try:
                self._pgconn.send_prepare(b"", sql)
                self._results()
                self._pgconn.send_describe_prepared(b"")
                found = self._results()
            except psycopg.Error:
                self.leave()
                raise
        return [
            Field((found.fname(at) or b"").decode(), found.ftype(at), found.fmod(at))
            for at in range(found.nfields)
        ] or None

    def leave(self) -> None:
        """End the transaction that ``describe`` opened."""
        with translated(self._address):
            self._end(b"ROLLBACK")

    def copy(self, sql: bytes, columns: Sequence[SourceColumn]) -> CopyScan:
        """Receive the rows into the buffer, as one stream."""
        scan = CopyScan(columns, framed=False)
        limit_ms = self._deadline.left_ms()
        with translated(
            self._address, timeout_s=self._deadline.timeout_s, prefix_characters=len(_COPY)
        ):
            self._connection.execute(f"SET LOCAL statement_timeout = {limit_ms}")
            try:
                self._receive(_COPY + sql + b"\n) TO STDOUT (FORMAT BINARY)")
            except psycopg.Error:
                if not self._connection.broken:
                    self.leave()
                raise
            self._end(b"COMMIT")
        scan.feed(self._buffer.bytes, self._buffer.stop)
        scan.finish(self._buffer.bytes, self._buffer.stop)
        return scan

    def _end(self, command: bytes) -> None:
        """End the transaction and clean the session up, in one round trip."""
        self._connection.execute(command + b"; " + CLEAN_UP)
        self.finished = True

    def _receive(self, command: bytes) -> None:
        self._pgconn.send_query(command)
        self._wait_result()
        rows = 0
        while True:
            size, row = self._pgconn.get_copy_data(1)
            if size == 0:
                self._wait_readable()
                continue
            if size < 0:
                break
            self._append(row)
            rows += 1
            if rows % ROWS_BETWEEN_LOOKS == 0:
                self._deadline.left_s()
        self._results()

    def _append(self, row: memoryview) -> None:
        while row:
            free = self._buffer.free()
            part = row[: len(free)]
            free[: len(part)] = part
            self._buffer.stop += len(part)
            row = row[len(part) :]

    def _wait_readable(self, events: int = select.POLLIN) -> None:
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        if not poll.poll(self._deadline.poll_ms()):
            self._deadline.left_s()
        self._pgconn.consume_input()

    def _wait_result(self) -> PGresult:
        """The next result, waited for with the deadline: libpq's own wait knows none, and no
        Ctrl-C either.
        """
        while self._pgconn.flush():
            self._wait_readable(select.POLLIN | select.POLLOUT)
        while self._pgconn.is_busy():
            self._wait_readable()
        result = self._pgconn.get_result()
        if result is None:
            raise psycopg.OperationalError("the server gave no result")
        if result.status == ExecStatus.FATAL_ERROR:
            self._drain()
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
        return result

    def _results(self) -> PGresult:
        """The one result of a command, after which the next may be sent."""
        result = self._wait_result()
        self._drain()
        return result

    def _drain(self) -> None:
        while True:
            while self._pgconn.is_busy():
                self._wait_readable()
            if self._pgconn.get_result() is None:
                return
