"""Statements of one read, run by several connections on one snapshot, a thread for each.

The leader's transaction is open already and holds the table's lock; whoever cannot join its
snapshot at once leaves its work to the others. Where one fails, or the caller gives up, all are
stopped: each cancels its own statement and closes its connection.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError, QueryError
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart, ReceivedRange
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import Exchange, exchange_on
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.table.in_order import (
    BATCH_BYTES_MAX,
    HELD_BYTES_MAX,
    Held,
    InOrder,
)
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Between two calls of who wants to hear of progress.
TELL_S = 0.1
#: A batch is cut by its bytes alone.
ROWS_MAX = 1 << 31


@dataclass(frozen=True, slots=True)
class SharedWork:
    """What is read."""

    statements: Sequence[bytes]
    fields: Sequence[Field]
    columns: Sequence[SourceColumn]
    #: What another connection runs to see the same, waiting for no lock; its answer is
    #: ``server``, or it is another server's session.
    join: bytes
    server: str


class SideBySide:
    """One such read; used once."""

    def __init__(
        self,
        work: SharedWork,
        address: str,
        deadline: Deadline,
        *,
        direct: bool,
        tell: Callable[[int], None] | None = None,
        cancelled: Callable[[], None] | None = None,
        batches: InOrder | None = None,
        rows_expected: int | None = None,
    ) -> None:
        self._work = work
        self._batches = batches
        self._rows_expected = rows_expected
        self._address = address
        self._deadline = deadline
        self._direct = direct
        self._tell = tell
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._waiting = list(enumerate(work.statements))[::-1]
        self._parts: list[ReceivedPart | None] = [None] * len(work.statements)
        self._rows: list[int] = []
        self._running = 0
        self._stopped = False
        self._over = threading.Event()
        self._failure: BaseException | None = None
        #: Why others could not join.
        self.reasons: list[str] = []

    def read(
        self, connections: Sequence[psycopg.Connection], buffers: Sequence[ReceiveBuffer]
    ) -> list[ReceivedPart]:
        """All rows, a part for each statement in order, or none where batches were handed on; the
        first connection is the leader.

        Raises what the first that failed raised, and what ``tell`` raises; nothing runs then.
        """
        self._rows = [0] * len(connections)
        if len(connections) == 1:
            self._receive(connections[0], buffers[0], self._tell)
        else:
            self._read_in_threads(connections, buffers)
        return [part for part in self._parts if part is not None]

    def _read_in_threads(
        self, connections: Sequence[psycopg.Connection], buffers: Sequence[ReceiveBuffer]
    ) -> None:
        self._running = len(connections)
        threads = [
            threading.Thread(target=self._run, args=(place, *pair), daemon=True)
            for place, pair in enumerate(zip(connections, buffers, strict=True))
        ]
        with _stoppable(connections) as stop:
            try:
                for thread in threads:
                    thread.start()
                while not self._over.wait(TELL_S):
                    if self._tell is not None:
                        self._tell(sum(self._rows))
            finally:
                if self._running:
                    self._stopped = True
                    stop()
                _join_all(threads)
        if self._failure is not None:
            raise self._failure

    def _run(self, place: int, connection: psycopg.Connection, buffer: ReceiveBuffer) -> None:
        try:
            if place == 0 or self._join(connection):
                self._receive(connection, buffer, partial(self._count, place))
                if place and not self._stopped:
                    LibpqSession(connection, self._address, self._deadline).run(transactions.END)
        except BaseException as error:  # noqa: BLE001  (raised where the read was asked for)
            with self._lock:
                self._failure = self._failure or error
            self._over.set()
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._over.set()

    def _join(self, connection: psycopg.Connection) -> bool:
        """See what the leader sees; False, and closed, where that cannot be."""
        try:
            session = LibpqSession(connection, self._address, self._deadline)
            answer = session.run(self._work.join)
            if answer == [(self._work.server,)]:
                return True
            reason = "another server answered"
        except NeuralGpuBusError as error:
            reason = error.what
        connection.close()
        with self._lock:
            self.reasons.append(reason)
        return False

    def _receive(
        self,
        connection: psycopg.Connection,
        buffer: ReceiveBuffer,
        told: Callable[[int], None] | None,
    ) -> None:
        held = Held()
        with exchange_on(
            connection,
            buffer,
            self._address,
            self._deadline,
            direct=self._direct,
            told=told,
            cancelled=self._cancelled,
        ) as exchange:
            while (taken := self._take()) is not None:
                index, statement = taken
                fields = exchange.open(b"", statement, b"")
                if [field[:2] for field in fields] != [field[:2] for field in self._work.fields]:
                    raise _other_columns(fields, self._work.fields)
                if self._batches is None:
                    scan = exchange.receive(self._work.columns)
                    self._parts[index] = ReceivedPart(buffer.bytes, scan)
                else:
                    self._hand_on(self._batches, index, exchange, buffer, held)

    def _hand_on(
        self, batches: InOrder, index: int, exchange: Exchange, buffer: ReceiveBuffer, held: Held
    ) -> None:
        """The rows of one statement, as they come."""
        room = buffer.bytes_max // (2 * len(self._rows))
        bytes_max = min(BATCH_BYTES_MAX, room // 2)
        while (found := exchange.next_range(bytes_max)) is not None:
            received = ReceivedRange(buffer.bytes, *found, self._work.columns)
            batches.put(index, received, self._rows_expected, held, self._is_stopped)
            if self._tell is not None and not self._running:  # nobody else does
                self._tell(batches.rows)
            if buffer.stop + bytes_max > min(HELD_BYTES_MAX, room):
                batches.wait(held, self._is_stopped)
            if self._stopped:
                return
            if not held.count:
                exchange.rewind()
        batches.end(index)

    def _is_stopped(self) -> bool:
        return self._stopped

    def _take(self) -> tuple[int, bytes] | None:
        with self._lock:
            return self._waiting.pop() if self._waiting and not self._stopped else None

    def _count(self, place: int, rows: int) -> None:
        self._rows[place] = rows


def _other_columns(found: Sequence[Field], expected: Sequence[Field]) -> QueryError:
    return QueryError(
        f"a part of the table has columns {[field.name for field in found]} of types "
        f"{[field.oid for field in found]}, not {[field.oid for field in expected]}",
        hint="name the columns that all parts have: columns=[...]",
        sqlstate=None,
    )


@contextmanager
def _stoppable(connections: Sequence[psycopg.Connection]) -> Iterator[Callable[[], None]]:
    """What wakes the threads that wait on these connections, from another thread: nothing more
    comes or goes on their sockets. Descriptors of our own, for theirs may be closed by then.
    """
    sockets = [socket.socket(fileno=os.dup(connection.fileno())) for connection in connections]

    def stop() -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    try:
        yield stop
    finally:
        for one in sockets:
            one.close()


def _join_all(threads: Sequence[threading.Thread]) -> None:
    """Wait for the end of all; a Ctrl-C meanwhile comes after it."""
    interrupted: KeyboardInterrupt | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt as error:
                interrupted = error
    if interrupted is not None:
        raise interrupted
