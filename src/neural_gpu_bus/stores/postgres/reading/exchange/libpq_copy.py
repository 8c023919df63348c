"""The same rows through libpq, by COPY and one at a time: over TLS and GSS only libpq can read the
socket, and what is no plain SELECT is described before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError, QueryError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.decoding.copy_kernels import HEADER_BYTES, SIGNATURE_BYTES
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.wire.messages import Field, data_row

#: Rows between two looks at the clock.
ROWS_BETWEEN_LOOKS = 4096

SYNTAX_ERROR = "42601"
_NO_LIMIT = 1 << 62

_COPY = b"COPY ("
_TRAILER = b"\xff\xff"


class LibpqCopy:
    """Queries on a borrowed connection; the twin of ``DirectRows``."""

    def __init__(
        self,
        connection: psycopg.Connection,
        buffer: ReceiveBuffer,
        address: str,
        deadline: Deadline,
        told: Callable[[int], None] | None = None,
    ) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._buffer = buffer
        self._address = address
        self._deadline = deadline
        self._told = told
        self._rows = 0
        tell = None if told is None else lambda: told(self._rows)
        self._session = LibpqSession(connection, address, deadline, tell)
        self._before = self._sql = self._after = b""
        self._fields: list[Field] | None = None
        self._payloads: Iterator[memoryview] | None = None
        self._paused = False
        self.finished = True

    def close(self) -> None:
        """Nothing was taken from the connection."""

    def open(
        self,
        before: bytes,
        sql: bytes,
        after: bytes,
        meanwhile: Callable[[], None] | None = None,  # noqa: ARG002  (the rows take longer here)
    ) -> list[Field]:
        """See ``DirectRows.open``; here the statement does not run before its rows are received."""
        self._before, self._sql, self._after = before, sql, after
        self._payloads = None
        self._fields = self._describe()
        if not self._fields:
            self._leave()
        return self._fields

    def pause(self) -> None:
        """End the transaction, so that the connection is free for something else."""
        self._leave()
        self._paused = True

    def receive(
        self,
        columns: Sequence[SourceColumn],
        counted: Callable[[CopyScan], None] | None = None,  # noqa: ARG002  (the rows take longer here)
    ) -> CopyScan:
        """Receive all rows into the buffer, as one stream."""
        start = self._buffer.stop
        for payload in self._received():
            self._append(payload)
        scan = CopyScan(columns, framed=False, start=start)
        scan.feed(self._buffer.bytes, self._buffer.stop)
        scan.finish(self._buffer.bytes, self._buffer.stop)
        return scan

    def next_batch(
        self, columns: Sequence[SourceColumn], rows_max: int, bytes_max: int
    ) -> CopyScan | None:
        """See ``DirectRows.next_batch``."""
        self._buffer.stop = 0
        found = self._next(rows_max, bytes_max)
        if found is None:
            return None
        scan = CopyScan(columns, framed=True, headless=True)
        scan.feed(self._buffer.bytes, self._buffer.stop)
        scan.finish(self._buffer.bytes, self._buffer.stop)
        return scan

    def next_range(self, bytes_max: int) -> tuple[int, int, int] | None:
        """See ``DirectRows.next_range``."""
        return self._next(_NO_LIMIT, bytes_max)

    def rewind(self) -> None:
        """See ``DirectRows.rewind``."""
        self._buffer.stop = 0

    def _next(self, rows_max: int, bytes_max: int) -> tuple[int, int, int] | None:
        """Rows behind what the buffer holds."""
        if self._payloads is None:
            self._payloads = _rows_alone(self._received())
        start, rows = self._buffer.stop, 0
        for payload in self._payloads:
            self._append(data_row(payload))
            rows += 1
            if rows == rows_max or self._buffer.stop - start >= bytes_max:
                break
        return (start, self._buffer.stop, rows) if rows else None

    def _describe(self) -> list[Field]:
        self.finished = False
        try:
            if self._before:
                self._session.run(self._before)
            return self._session.describe(self._sql)
        except NeuralGpuBusError:
            self._give_up()
            raise

    def _received(self) -> Iterator[memoryview]:
        """Run the statement; what libpq hands out, to the end."""
        if self._paused:
            self._paused = False
            if self._describe() != self._fields:
                raise _changed_meanwhile()
        try:
            with translated(
                self._address, timeout_s=self._deadline.timeout_s, prefix_characters=len(_COPY)
            ):
                self._pgconn.send_query(_COPY + self._sql + b"\n) TO STDOUT (FORMAT BINARY)")
                self._session.wait_result()
                yield from self._copied()
                self._session.results()
        except NeuralGpuBusError as error:
            self._give_up()
            if isinstance(error, QueryError):
                raise _not_copyable(error) from error.__cause__
            raise
        self._leave()

    def _copied(self) -> Iterator[memoryview]:
        while True:
            size, row = self._pgconn.get_copy_data(1)
            if size == 0:
                self._session.wait_readable()
                continue
            if size < 0:
                return
            yield row
            self._rows += 1
            if self._rows % ROWS_BETWEEN_LOOKS == 0:
                self._deadline.left_s()
                if self._told is not None:
                    self._told(self._rows)

    def _append(self, row: memoryview | bytes) -> None:
        view = memoryview(row)
        while view:
            free = self._buffer.free()
            part = view[: len(free)]
            free[: len(part)] = part
            self._buffer.stop += len(part)
            view = view[len(part) :]

    def _leave(self) -> None:
        """End the transaction and clean the session up, in one round trip."""
        if self._after:
            self._session.run(self._after)
        self.finished = True

    def _give_up(self) -> None:
        """The same after a refusal, where the connection is still there."""
        if not self.connection.broken and self._after:
            try:
                self._leave()
            except NeuralGpuBusError:
                self.finished = False


def _rows_alone(payloads: Iterator[memoryview]) -> Iterator[memoryview]:
    """Rows of a COPY stream without its header and trailer; the server sends a row a message."""
    header = next(payloads, memoryview(b""))
    extension = int.from_bytes(header[SIGNATURE_BYTES + 4 : HEADER_BYTES])
    for payload in chain((header[HEADER_BYTES + extension :],), payloads):
        if payload and payload != _TRAILER:
            yield payload


def _changed_meanwhile() -> QueryError:
    return QueryError(
        "the statement's columns were altered while their types were asked for",
        hint="run it again",
        sqlstate=None,
    )


def _not_copyable(error: QueryError) -> QueryError:
    """What was described and yet is no syntax for COPY (SHOW, EXPLAIN, CALL), said so."""
    if error.facts.get("sqlstate") != SYNTAX_ERROR:
        return error
    return QueryError(
        "the statement cannot be read in bulk: only SELECT, VALUES, TABLE, WITH and a change "
        "with RETURNING can",
        hint="for SHOW name select current_setting('name'); for EXPLAIN use psql",
        **error.facts,
    )
