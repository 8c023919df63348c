"""Whoever waits for a long read hears how far it is, and a result that is too large is refused
while it is still small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.ports import Progress
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import cancelled_on_error
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.result_size import (
    MIB,
    Estimate,
    check_size,
    explained,
    read_estimate,
)

#: Before that much has come nobody asks how much will; then the question costs nothing beside it.
ASK_AFTER_BYTES: Final = 16 << 20
#: Of a limit so small that this is sooner.
ASK_AFTER_PART: Final = 8
ANSWER_S_MAX: Final = 2.0
TELL_S: Final = 0.1


class Watch:
    """Called with the rows so far, often. Raises QueryError for a result that cannot fit, and what
    ``progress`` raises: so a read is ended from outside.
    """

    def __init__(
        self,
        pool: Pool,
        address: str,
        progress: Progress | None,
        *,
        expected_rows: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._address = address
        self._progress = progress
        self._clock = clock
        self._next_s = clock() + TELL_S
        self._expected_rows = expected_rows
        self._statement = b""
        self._buffer: ReceiveBuffer | None = None
        self._ask_at_bytes = 0

    def reads(self, statement: bytes, buffer: ReceiveBuffer) -> None:
        """What is read next, and where its bytes go."""
        self._statement, self._buffer = statement, buffer
        self._ask_at_bytes = min(ASK_AFTER_BYTES, buffer.bytes_max // ASK_AFTER_PART)

    def __call__(self, rows: int) -> None:
        """Rows that were received so far."""
        if self._buffer is not None and self._buffer.stop > self._ask_at_bytes:
            self._ask(self._buffer, rows)
        if self._progress is not None and self._clock() >= self._next_s:
            self._next_s = self._clock() + TELL_S
            self._progress(rows, self._expected_rows)

    def end(self, rows: int) -> None:
        """All rows are there."""
        if self._progress is not None:
            self._progress(rows, rows)

    def _ask(self, buffer: ReceiveBuffer, rows: int) -> None:
        """Once, on another connection, where one is free."""
        self._buffer = None
        with self._pool.lend_free(1) as free:
            for connection in free:
                session = LibpqSession(
                    connection, self._address, Deadline(ANSWER_S_MAX, self._address)
                )
                try:
                    with cancelled_on_error(connection):
                        estimate = ask_estimate(session, self._statement)
                except NeuralGpuBusError:
                    connection.close()
                    return
                seen = replace(estimate, seen_row_bytes=buffer.stop // rows if rows else 0)
                self._expected_rows = seen.rows
                buffer.expected = (
                    f"; the server expects {seen.rows:,} rows, which are "
                    f"{seen.received_bytes / MIB:,.0f} MiB"
                )
                check_size(seen, buffer.bytes_max, buffer.stop)


def ask_estimate(session: LibpqSession, statement: bytes) -> Estimate:
    """What the server expects of a statement; it does not run."""
    [(answer,)] = session.run(explained(statement))
    return read_estimate(answer or "")
