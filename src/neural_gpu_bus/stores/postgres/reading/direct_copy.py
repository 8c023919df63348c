"""A query's reply straight from the socket into one buffer, past libpq.

libpq connects, authenticates and is idle; then this speaks on its socket and stops at
ReadyForQuery, so libpq's own buffer stays empty and the connection can be used again. libpq hands
out one row at a time (a malloc, a copy and a call for each); this takes what the socket has.

The statement is described and copied in one transaction: Parse and Describe without Sync open it,
the COPY's simple query ends it. Locks taken by Parse hold off a change of a column's type in
between, which COPY's bytes would not show.

The session is cleaned up in the same message: a statement may have changed a setting or kept a
lock, in a function where its text does not show it. After an error the connection is closed.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError
from neural_gpu_bus.stores.postgres.connections.connection import (
    CLEAN_UP,
    failure_from,
    position_behind,
)
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.reading.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.wire import messages as wire

#: A message that is no CopyData; longer is no message of PostgreSQL's but noise.
MESSAGE_BYTES_MAX = 1 << 20
#: Errors and notices quote values of any length; longer is no string of the server's.
REPORT_BYTES_MAX = 1 << 30

_COPY_END = b"\n) TO STDOUT (FORMAT BINARY); " + CLEAN_UP
#: The reply's last bytes: an error of any statement before would stand in their place.
_CLEANED_UP = wire.command_complete(CLEAN_UP.rsplit(b"; ")[-1]) + wire.READY_IDLE

#: The server sends 8 KiB at a time, and waking for each costs both sides more than the bytes do.
#: In a long reply we sleep once before we wait: 1,000,000 rows x 6 took 440 ms and 181 ms of our
#: CPU without, 320 and 87 with 0.3 ms, 479 and 82 with 1 ms (unix socket, 2 cores, 2026-11-22).
PAUSE_AFTER_BYTES = 1 << 20
PAUSE_S = 0.000_3


class DirectCopy:
    """One query on a borrowed socket. ``finished``: the server is ready for the next one."""

    def __init__(
        self,
        descriptor: int,
        buffer: ReceiveBuffer,
        address: str,
        deadline: Deadline,
    ) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._buffer = buffer
        self._address = address
        self._deadline = deadline
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._refusal: wire.Refusal | None = None
        self._prefix_characters = 0
        self.finished = True

    def close(self) -> None:
        """Leave the socket to libpq, open."""
        self._socket.detach()

    def describe(self, sql: bytes) -> list[wire.Field] | None:
        """The statement's columns, None where it returns no rows."""
        self._send(wire.parse(sql) + wire.DESCRIBE + wire.FLUSH)
        while True:
            tag, body = self._next_message()
            if tag == wire.ROW_DESCRIPTION:
                return wire.read_row_description(body)
            if tag == wire.NO_DATA:
                return None
            if tag == wire.ERROR:
                self.leave()

    def leave(self) -> None:
        """End the transaction that ``describe`` opened; raises what the server refused."""
        self._send(wire.SYNC)
        while self._next_message()[0] != wire.READY:
            pass
        self._finish()

    def copy(self, sql: bytes, columns: Sequence[SourceColumn]) -> CopyScan:
        """Receive the rows into the buffer, which then holds CopyData messages alone."""
        limit_ms = self._deadline.left_ms()
        prefix = b"SET LOCAL statement_timeout = %d; COPY (" % limit_ms
        self._prefix_characters = len(prefix)
        self._send(wire.query(prefix + sql + _COPY_END))
        scan = CopyScan(columns, framed=True)
        rows = self._receive(scan)
        self._finish()
        if scan.position != self._buffer.stop:
            raise ProtocolError(
                f"{self._buffer.stop - scan.position} bytes follow the end of the reply",
                hint="run the query again; if it happens again, report the statement",
                position=scan.position,
            )
        scan.finish(self._buffer.bytes, self._buffer.stop)
        if rows != scan.rows:
            raise ProtocolError(
                f"the server sent {scan.rows} rows and says {rows}",
                hint="run the query again; if it happens again, report the statement",
                position=self._buffer.stop,
            )
        return scan

    def _receive(self, scan: CopyScan) -> int | None:
        """Up to ReadyForQuery; the number of rows the server says it sent."""
        rows = None
        while True:
            self._fill()
            while scan.feed(self._buffer.bytes, self._buffer.stop):
                message = self._take_message(scan.position)
                if message is None:
                    break
                tag, body = message
                if tag == wire.COMMAND_COMPLETE and rows is None:
                    rows = wire.read_row_count(body)
                    if rows is not None and self._cut_clean_up(scan.position):
                        return rows
                elif tag == wire.READY:
                    return rows
            self._deadline.left_s()

    def _cut_clean_up(self, position: int) -> bool:
        """Cut the whole rest out of the buffer if it has arrived; one by one its eight messages
        took 15 us.
        """
        start = self._buffer.stop - len(_CLEANED_UP)
        whole = start >= position and self._buffer.view[start : self._buffer.stop] == _CLEANED_UP
        if whole:
            self._buffer.stop = position
        return whole

    def _next_message(self) -> tuple[int, bytes]:
        while (message := self._take_message(0)) is None:
            self._fill()
        return message

    def _take_message(self, position: int) -> tuple[int, bytes] | None:
        """Cut a message that is no data out of the buffer; None while it is not whole."""
        view = self._buffer.view[position : self._buffer.stop]
        if len(view) < 5:
            return None
        tag, size = view[0], int.from_bytes(view[1:5])
        size_max = REPORT_BYTES_MAX if tag in wire.REPORTS else MESSAGE_BYTES_MAX
        if not 4 <= size <= size_max or tag not in wire.KNOWN:
            raise ProtocolError(
                f"byte {position} of the reply begins no message: tag {chr(tag)!r}, {size} bytes",
                hint="check what stands between this machine and the server",
                position=position,
            )
        if len(view) < size + 1:
            return None
        body = bytes(view[5 : size + 1])
        self._buffer.cut_out(position, size + 1)
        if tag == wire.ERROR:
            self._refusal = wire.read_refusal(body)
        return tag, body

    def _finish(self) -> None:
        self.finished = True
        if self._refusal is not None:
            raise self._failure(self._refusal)

    def _failure(self, refusal: wire.Refusal) -> NeuralGpuBusError:
        return failure_from(
            refusal.sqlstate,
            refusal.message,
            self._address,
            position=position_behind(self._prefix_characters, refusal.position),
            detail=refusal.detail,
            hint=refusal.hint,
            timeout_s=self._deadline.timeout_s,
        )

    def _send(self, message: bytes) -> None:
        self.finished = False
        view = memoryview(message)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise self._lost(str(error)) from error

    def _fill(self) -> None:
        """Receive at least one byte."""
        paused = self._buffer.stop < PAUSE_AFTER_BYTES
        while True:
            try:
                count = self._socket.recv_into(self._buffer.free())
            except BlockingIOError:
                if paused:
                    self._wait(select.POLLIN)
                else:
                    time.sleep(PAUSE_S)
                    paused = True
                continue
            except OSError as error:
                raise self._lost(str(error)) from error
            if count == 0:
                raise self._lost("the server closed the connection")
            self._buffer.stop += count
            return

    def _wait(self, event: int) -> None:
        self._poll.modify(self._socket.fileno(), event)
        if not self._poll.poll(self._deadline.poll_ms()):
            self._deadline.left_s()

    def _lost(self, text: str) -> NeuralGpuBusError:
        """The connection broke; what the server said last is the better reason."""
        if self._refusal is not None:
            return self._failure(self._refusal)
        return failure_from(None, text, self._address)
