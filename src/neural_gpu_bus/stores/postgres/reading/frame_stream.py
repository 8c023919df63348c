"""A result in batches: the server waits until each was taken, so that memory stays bounded
whatever its size.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, Literal, Self

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.ports import Columns, Progress, Reservation
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import (
    cancelled_on_error,
    exchange_on,
)
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.query_read import Question
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot, gone
from neural_gpu_bus.stores.postgres.reading.statement import bound
from neural_gpu_bus.stores.postgres.reading.watching import Watch
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables

BATCH_ROWS: Final = 100_000
#: A batch of fewer rows is handed out when it is as large as this.
BATCH_BYTES_MAX: Final = 32 << 20


class FrameStream(Iterator[Columns]):
    """Batches of one statement's rows, all of one snapshot, each a block of its own in memory.

    Close it, or use it in a ``with`` block: until its end, or until it is closed, it keeps a
    connection. What was closed early is cancelled on the server.
    """

    def __init__(
        self,
        means: ReadingMeans,
        asked: Question,
        *,
        batch_rows: int = BATCH_ROWS,
        progress: Progress | None = None,
    ) -> None:
        check_whole_number("batch_rows", batch_rows, 1)
        self._means = means
        self._batch_rows = batch_rows
        self._progress = progress
        self._rows = 0
        self._state: Literal["open", "ended", "closed"] = "open"
        self._turn = threading.RLock()
        self._asked = replace(asked, options=_of_one_kind(asked.options))
        self._stack = ExitStack()
        with self._closed_on_error(), asked.limit.named():
            self._open()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in every batch the same."""
        return tuple(column.name for column in self._columns)

    @property
    def rows(self) -> int:
        """Rows read so far."""
        return self._rows

    def __repr__(self) -> str:
        return (
            f"FrameStream of {len(self._columns)} columns: {self._rows:,} rows read, {self._state}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End it; what still comes is cancelled. Harmless twice."""
        if hasattr(self, "_stack"):
            with self._turn:
                self._end("closed")
                self._stack.close()

    def __next__(self) -> Columns:
        """The next batch. Raises StopIteration at the end, QueryError after ``close`` or an error
        (buffer and connection are others' then), and what a query raises.
        """
        with self._turn:
            if self._state == "closed":
                raise _closed()
            if self._state == "ended":
                raise StopIteration
            return self._next()

    def _next(self) -> Columns:
        started_ns = time.perf_counter_ns()
        with self._closed_on_error(), self._asked.limit.named():
            scan = self._exchange.next_batch(
                self._columns, self._batch_rows, min(BATCH_BYTES_MAX, self._buffer.bytes_max)
            )
            reservation = None if scan is None else self._decoded(scan)
            if reservation is None:
                self._finish()
        if reservation is None:
            raise StopIteration
        reload_ns = time.perf_counter_ns() - started_ns
        return reservation.seal(None, reload_ns=reload_ns, source_ns=self._source_ns)

    def _decoded(self, scan: CopyScan) -> Reservation:
        parts = [ReceivedPart(self._buffer.bytes, scan)]
        reservation = write_columns(parts, self._means.reserve)
        try:
            self._rows += scan.rows
            if self._progress is not None:
                self._progress(self._rows, None)
        except BaseException:
            reservation.abandon()
            raise
        return reservation

    def _open(self) -> None:
        means, asked = self._means, self._asked
        self._buffer = self._stack.enter_context(means.buffers.lend())
        connection = self._stack.enter_context(means.pool.lend(wait_s=asked.limit.timeout_s))
        self._stack.enter_context(cancelled_on_error(connection))
        deadline = Deadline(asked.limit.timeout_s, means.address)
        self._session = LibpqSession(connection, means.address, deadline)
        statement = bound(connection, asked.sql, asked.params)
        snapshot = asked.snapshot
        self._source_ns = snapshot.taken_ns if isinstance(snapshot, Snapshot) else time.time_ns()
        try:
            self._session.run(asked.begin(deadline))
            fields = self._session.describe(statement)
        except QueryError as error:
            self._session.run(transactions.END)
            told = gone(error, snapshot)
            raise with_near_tables(connection, told) from error.__cause__
        if not means.types.are_known(fields):
            means.types.learn(connection, fields)
        self._columns = means.types.columns(fields, asked.options)
        told_rows = None
        if self._progress is not None:
            told_rows = Watch(means.pool, means.address, self._progress)
        self._exchange = self._stack.enter_context(
            exchange_on(
                connection,
                self._buffer,
                means.address,
                deadline,
                direct=means.direct,
                told=told_rows,
                cancelled=means.pool.count_cancelled,
            )
        )
        self._exchange.open(b"", statement, b"")

    def _finish(self) -> None:
        """Give the connection back, clean."""
        self._session.run(transactions.END)
        self._state = "ended"
        self._stack.close()

    def _end(self, state: Literal["ended", "closed"]) -> None:
        if self._state == "open":
            self._state = state

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """End everything where the body raises anything."""
        try:
            yield
        except BaseException:
            self._state = "closed"
            self._stack.__exit__(*sys.exc_info())
            raise


def _closed() -> QueryError:
    return QueryError(
        "the stream is closed",
        hint="read it inside of its with block, or begin again with plane.stream",
        sqlstate=None,
    )


def _of_one_kind(options: ReadOptions) -> ReadOptions:
    """Every batch has the same columns: whether texts repeat is not looked at in each."""
    return replace(options, texts="plain") if options.texts == "auto" else options
