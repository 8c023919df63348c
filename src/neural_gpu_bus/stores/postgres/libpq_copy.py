"""The same reply through libpq, row by row: over TLS and GSS only libpq can read the socket."""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Sequence

import psycopg
from psycopg.pq import ExecStatus

from neural_gpu_bus.stores.postgres.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.connection import translated
from neural_gpu_bus.stores.postgres.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.deadline import Deadline
from neural_gpu_bus.stores.postgres.receive_buffer import ReceiveBuffer

#: Rows between two looks at the clock.
ROWS_BETWEEN_LOOKS = 4096


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
        #: libpq keeps track of what the statement changes in the session.
        self.tainted = False

    def close(self) -> None:
        """Nothing was taken from the connection."""

    def describe(self, sql: bytes) -> list[tuple[str, int]] | None:
        """Names and type OIDs of the statement's columns, None where it returns no rows."""
        self.finished = False
        with translated(self._address, timeout_s=self._deadline.timeout_s):
            self._connection.execute("BEGIN")
            try:
                self._check(self._pgconn.prepare(b"", sql))
                found = self._check(self._pgconn.describe_prepared(b""))
            except psycopg.Error:
                self.leave()
                raise
        names = [found.fname(index) or b"" for index in range(found.nfields)]
        return [(name.decode(), found.ftype(index)) for index, name in enumerate(names)] or None

    def leave(self) -> None:
        """End the transaction that ``describe`` opened."""
        with translated(self._address):
            self._connection.execute("ROLLBACK")
        self.finished = True

    def copy(
        self, sql: bytes, columns: Sequence[SourceColumn], progress: Callable[[int], None]
    ) -> CopyScan:
        """Receive the rows into the buffer, as one stream."""
        scan = CopyScan(columns, framed=False)
        limit_ms = math.ceil(self._deadline.left_s() * 1000)
        with translated(self._address, timeout_s=self._deadline.timeout_s):
            self._connection.execute(f"SET LOCAL statement_timeout = {limit_ms}")
            try:
                self._receive(b"COPY (" + sql + b"\n) TO STDOUT (FORMAT BINARY)", progress)
            except psycopg.Error:
                if not self._connection.broken:
                    self.leave()
                raise
            self._connection.execute("COMMIT")
        self.finished = True
        scan.feed(self._buffer.bytes, self._buffer.stop)
        scan.finish(self._buffer.bytes, self._buffer.stop)
        return scan

    def _receive(self, command: bytes, progress: Callable[[int], None]) -> None:
        self._check(self._pgconn.exec_(command))
        rows = 0
        while True:
            size, row = self._pgconn.get_copy_data(1)
            if size > 0:
                self._append(row)
                rows += 1
                if rows % ROWS_BETWEEN_LOOKS == 0:
                    self._deadline.left_s()
                    progress(rows)
            elif size == 0:
                self._wait_readable()
            else:
                break
        results = list(iter(self._pgconn.get_result, None))
        for result in results:
            self._check(result)

    def _append(self, row: memoryview) -> None:
        while row:
            free = self._buffer.free()
            part = row[: len(free)]
            free[: len(part)] = part
            self._buffer.stop += len(part)
            row = row[len(part) :]

    def _wait_readable(self) -> None:
        poll = select.poll()
        poll.register(self._pgconn.socket, select.POLLIN)
        if not poll.poll(self._deadline.left_s() * 1000):
            self._deadline.left_s()
        self._pgconn.consume_input()

    def _check(self, result: psycopg.pq.abc.PGresult) -> psycopg.pq.abc.PGresult:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
        return result
