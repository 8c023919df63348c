"""One connection that streams a slot's changes: made, started, received from, acknowledged."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.addresses import postgres_address, postgres_parts
from neural_gpu_bus.errors import ClosedError, NeuralGpuBusError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import is_plain
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import (
    RECEIVE_BYTES,
    ReceiveBuffer,
)
from neural_gpu_bus.stores.postgres.replication.receiving_ahead import (
    AHEAD_FROM_BYTES,
    ReceivingAhead,
)
from neural_gpu_bus.stores.postgres.replication.replication_commands import (
    create_slot_command,
    start_command,
)
from neural_gpu_bus.stores.postgres.replication.status_sender import (
    STATUS_INTERVAL_S,
    StatusSender,
)
from neural_gpu_bus.stores.postgres.replication.stream_failures import stream_translated
from neural_gpu_bus.stores.postgres.replication.stream_sources import (
    LibpqSource,
    SocketSource,
    StreamSource,
)
from neural_gpu_bus.stores.postgres.replication.transaction_reader import TransactionReader
from neural_gpu_bus.stores.postgres.replication.transactions import StreamBatch
from neural_gpu_bus.stores.postgres.replication.wal_positions import (
    NO_LSN,
    TimelineIdentity,
    lsn_of,
)

#: Most memory for what has been received and not taken; a larger transaction comes in parts.
RECEIVED_BYTES_MAX = 1 << 30
#: A batch is handed out when it has so many bytes though more may be there: the applier works
#: while the server goes on.
BATCH_BYTES = 4 << 20
#: The server sends each row by itself, and a receiver that waits is woken for each: that took us
#: 1.25 us a row and the server more. So within a long transaction we sleep before we wait again, a
#: tenth of the time that it has taken to come: 0.27 us a row, and 300,000 rows/s instead of 258,000
#: (PostgreSQL 18, 6 columns, 2 cores with other work, 2026-11-22). Not longer than 0.3 ms: a Unix
#: socket holds 300 rows, which the server sends in a millisecond, and then it sleeps until we wake
#: (400,000 rows: 1.0 s instead of 1.5 with 2 ms).
PAUSE_AFTER_BYTES = 1 << 15
PAUSE_S_PER_BYTE = 0.1 / 25e6
PAUSE_S_MAX = 0.000_3
#: A server that is shut down waits until we have flushed what it sent, and for who stands still
#: without end where ``wal_sender_timeout`` is 0. So our sessions have PostgreSQL's default at most.
SILENCE_S_MAX = 60.0
_LIMIT_SILENCE = """
SELECT CASE WHEN setting::int8 BETWEEN 1 AND {limit_ms} THEN setting
  WHEN pg_catalog.set_config(name, '{limit_ms}', false) IS NOT NULL THEN '{limit_ms}' END
FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'
"""


class StreamSession:
    """A replication connection. One thread receives; ``acknowledge`` may be called by any.

    ``received_bytes_max``: a transaction with more comes in parts (``Transaction.ends``).
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        address: str,
        *,
        timeout_s: float,
        received_bytes_max: int = RECEIVED_BYTES_MAX,
        direct: bool = True,
        status_interval_s: float = STATUS_INTERVAL_S,
    ) -> None:
        self._connection = connection
        self.address = address
        self._timeout_s = timeout_s
        self._direct = direct and is_plain(connection)
        self._buffer = ReceiveBuffer(received_bytes_max)
        self._reader = TransactionReader(self._buffer)
        self._status_interval_s = status_interval_s
        self._source: StreamSource | None = None
        self._sender: StatusSender | None = None
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)
        self._ahead = ReceivingAhead(self._buffer, connection.fileno())
        #: What ends the stream, raised when all before it has been handed out.
        self._failure: NeuralGpuBusError | None = None
        self._heard_s = time.monotonic()

    @classmethod
    def connect(cls, dsn: str, *, timeout_s: float, **options: object) -> StreamSession:
        """Connect for replication. Raises what ``connections.connection.connect`` does."""
        parts = postgres_parts(dsn) | {"replication": "database"}
        connection = connect(make_conninfo(**parts), timeout_s=timeout_s)
        try:
            return cls(connection, postgres_address(dsn), timeout_s=timeout_s, **options)  # type: ignore[arg-type]
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- before the stream

    @property
    def backend_pid(self) -> int:
        """The server's process for it."""
        return self._connection.info.backend_pid

    def identify(self) -> TimelineIdentity:
        """Which server's log this is."""
        ((system_id, timeline, lsn, database),) = self._run("IDENTIFY_SYSTEM")
        return TimelineIdentity(
            system_id or "", int(timeline or 0), lsn_of(lsn or ""), database or ""
        )

    def timeline_history(self, timeline: int) -> str:
        """Where the log left the timelines before that one, as the server keeps it."""
        ((_, content),) = self._run(f"TIMELINE_HISTORY {timeline:d}")
        return content or ""

    def create_slot(
        self,
        name: str,
        *,
        temporary: bool,
        failover: bool = False,
        timeout_s: float | None = None,
        told: Callable[[], None] | None = None,
    ) -> int:
        """Make a slot; its consistent point. It waits for every transaction that runs; ``told`` is
        called meanwhile. Raises ReplicationError, QueryTimeoutError: then close the session.
        """
        version = self._connection.info.server_version
        command = create_slot_command(name, temporary=temporary, failover=failover, version=version)
        ((_, point, _, _),) = self._run(command, slot=name, timeout_s=timeout_s, told=told)
        return lsn_of(point or "")

    def _run(
        self,
        command: str,
        *,
        slot: str = "",
        timeout_s: float | None = None,
        told: Callable[[], None] | None = None,
    ) -> list[tuple[str | None, ...]]:
        deadline = Deadline(timeout_s, self.address)
        session = LibpqSession(self._connection, self.address, deadline, told)
        try:
            with stream_translated(self.address, slot=slot):
                session.pgconn.send_query(command.encode())
                found = session.results()
        except QueryTimeoutError:
            self._connection.cancel_safe(timeout=self._timeout_s)
            raise
        return [
            tuple(_text(found.get_value(row, column)) for column in range(found.nfields))
            for row in range(found.ntuples)
        ]

    # ---- the stream

    def start(self, slot: str, lsn: int, publications: Sequence[str]) -> None:
        """Stream the slot's changes from ``lsn`` on, from its own position where that is later: ask
        for that afterwards. Raises ReplicationError.
        """
        interval_s = min(self._status_interval_s, self._sender_timeout_s() / 2)
        kind = SocketSource if self._direct else LibpqSource
        source = kind(self._connection, self._buffer, self.address, slot)
        deadline = Deadline(self._timeout_s, self.address)
        try:
            source.start(
                start_command(slot, lsn, publications),
                lambda: self._wait_within(deadline),
            )
        except BaseException:
            source.close()
            raise
        self._source, self._heard_s = source, time.monotonic()
        self._sender = StatusSender(source.send, interval_s)
        self._sender.start(lsn)

    def _sender_timeout_s(self) -> float:
        """When the server gives up on who says nothing, at the latest after ``SILENCE_S_MAX``;
        infinite where it does not tell (some managed services refuse statements here).
        """
        try:
            ((found,),) = self._run(_LIMIT_SILENCE.format(limit_ms=int(SILENCE_S_MAX * 1000)))
        except NeuralGpuBusError:
            return float("inf")
        return int(found or 0) / 1000 or float("inf")

    def receive(self, timeout_s: float) -> StreamBatch | None:
        """Whole transactions as they come, or a keepalive; None where nothing came within the time.
        What the batch before points to is gone. Raises ServerUnreachableError, ReplicationError,
        ProtocolError: the session is of no use then.
        """
        source, sender = self._started()
        reader = self._reader
        self._failure = self._ahead.end() or self._failure
        reader.forget()
        end_s, is_all = time.monotonic() + timeout_s, False
        while True:
            self._look(source, sender)
            enough = is_all or self._failure or self._buffer.stop >= BATCH_BYTES
            if reader.has_whole and enough:
                return self._taken(reader.take, source)
            if self._failure is not None:
                raise self._failure
            if self._buffer.stop >= self._buffer.bytes_max:
                return self._taken(reader.take_part, source)
            count = self._filled(source)
            is_all = count < RECEIVE_BYTES
            if not count and not reader.has_whole and not self._wait(source, end_s):
                if sender.failure is not None:
                    raise sender.failure
                return None

    def _look(self, source: StreamSource, sender: StatusSender) -> None:
        """Walk what has arrived; note what ends the stream."""
        reader = self._reader
        try:
            while reader.walk.advance() and source.take_other(reader.walk.position):
                pass
        except NeuralGpuBusError as error:
            self._failure = self._failure or error
        sender.received(reader.received_lsn, reply_wanted=reader.walk.reply_wanted())

    def _filled(self, source: StreamSource) -> int:
        try:
            count = source.fill()
            if count:
                self._heard_s = time.monotonic()
            return count
        except NeuralGpuBusError as error:
            self._failure = error
            return RECEIVE_BYTES

    def _taken(self, take: Callable[[], StreamBatch], source: StreamSource) -> StreamBatch:
        try:
            batch = take()
        except NeuralGpuBusError as error:
            self._failure = error
            raise
        if self._failure is None and self._reader.taken_bytes >= AHEAD_FROM_BYTES:
            self._ahead.begin(source)
        return batch

    def _wait(self, source: StreamSource, end_s: float) -> bool:
        """Wait for bytes; False when the time is over."""
        open_bytes = self._reader.open_bytes
        if open_bytes > PAUSE_AFTER_BYTES:
            time.sleep(min(open_bytes * PAUSE_S_PER_BYTE, PAUSE_S_MAX))
        left_ms = max(end_s - time.monotonic(), 0) * 1000
        try:
            came = source.wait(self._reader.walk, math.ceil(left_ms), PAUSE_AFTER_BYTES)
        except NeuralGpuBusError as error:
            self._failure = error
            return True
        if came:
            self._heard_s = time.monotonic()
        return came or time.monotonic() < end_s

    def _wait_within(self, deadline: Deadline) -> None:
        self._poll.poll(deadline.poll_ms())

    def acknowledge(self, lsn: int) -> None:
        """All before ``lsn`` is safe, the server may drop its log: the ``end_lsn`` of a transaction
        or a batch that is applied. Sent at once. Raises BadParameterError for what has not come.
        """
        self._started()[1].acknowledge(lsn)

    @property
    def received_lsn(self) -> int:
        """How far the log has come."""
        return self._reader.received_lsn

    @property
    def silent_s(self) -> float:
        """Seconds since the server sent anything. It is asked for an answer by the timer, so a long
        silence while ``receive`` is called is a server that hangs, or one that decodes a large
        transaction of other tables.
        """
        return time.monotonic() - self._heard_s

    @property
    def acknowledged_lsn(self) -> int:
        """What was acknowledged, or where the stream started."""
        return NO_LSN if self._sender is None else self._sender.acknowledged_lsn

    @property
    def process_id(self) -> int:
        """Of the server's process: ``pg_stat_replication.pid``."""
        return self._connection.info.backend_pid

    def fileno(self) -> int:
        """The socket's, to wait for several things at once."""
        return self._connection.fileno()

    def close(self) -> None:
        """End the stream; a temporary slot goes with it."""
        self._ahead.end()
        if self._sender is not None:
            self._sender.stop()
        if self._source is not None:
            self._source.close()
        self._source = self._sender = None
        self._connection.close()

    def _started(self) -> tuple[StreamSource, StatusSender]:
        if self._source is None or self._sender is None:
            raise ClosedError(
                f"nothing is streamed from {self.address}",
                hint="call start() first, and no more after close()",
            )
        return self._source, self._sender


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
