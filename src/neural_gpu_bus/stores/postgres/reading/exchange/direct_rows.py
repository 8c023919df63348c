"""A query's reply straight from the socket into one buffer, past libpq.

libpq connects, authenticates and is idle; then this speaks on its socket and stops at the last
ReadyForQuery, so libpq's own buffer stays empty and the connection can be used again. libpq hands
out one row at a time (a malloc, a copy and a call for each); this takes what the socket has.

Everything goes out in one message: what begins the transaction, the statement by the extended
protocol with binary values, what ends it and cleans the session up. The description of the columns
comes back before the rows, of the same transaction: it is always the right one.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError, QueryError
from neural_gpu_bus.stores.postgres.connections.connection import CLEAN_UP, failure_from
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan, ReceivedRange
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.exchange.row_messages import OTHER_MESSAGE, walk_rows
from neural_gpu_bus.stores.postgres.wire import messages as wire

#: A message that is no row; longer is no message of PostgreSQL's but noise.
MESSAGE_BYTES_MAX = 1 << 20
#: Errors and notices quote values of any length; longer is no string of the server's.
REPORT_BYTES_MAX = 1 << 30
_NO_LIMIT = 1 << 62

#: The server sends 8 KiB at a time, and waking for each costs both sides more than the bytes do.
#: So we sleep before we wait again, once the reply is longer than one of these.
PAUSE_AFTER_BYTES = 1 << 13
PAUSE_S = 0.000_05
LONG_PAUSE_AFTER_BYTES = 1 << 20
LONG_PAUSE_S = 0.000_3

#: With somebody to tell, a wait is never longer: who wants it to end says so when told.
TELL_MS_MAX = 100.0

_CLEANED_UP = wire.command_complete(CLEAN_UP.rsplit(b"; ")[-1]) + wire.READY_IDLE
_RUN = wire.BIND_BINARY + wire.DESCRIBE_PORTAL + wire.EXECUTE + wire.SYNC
_NO_PARAMETERS: Final = "bind message supplies 0 parameters"

#: What the server says at any time: that it ends the session, that a setting changed, a notice.
_UNASKED = frozenset(b"ENSA")


class DirectRows:
    """Queries on a borrowed socket, one after the other. ``finished``: the server is ready for the
    next one. ``told`` hears of rows as they arrive.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        buffer: ReceiveBuffer,
        address: str,
        deadline: Deadline,
        told: Callable[[int], None] | None = None,
    ) -> None:
        self.connection = connection
        self._socket = socket.socket(fileno=connection.fileno())
        self._buffer = buffer
        self._address = address
        self._deadline = deadline
        self._told = told
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._refusal: wire.Refusal | None = None
        self._position = 0
        #: ReadyForQuery messages that are still to come.
        self._readies = 0
        self._started = 0
        #: Rows that came before their types were known: from, to and how many.
        self._waiting: tuple[int, int, int] | None = None
        #: Of all queries so far, and of those before the last.
        self._rows = self._rows_before = 0
        #: Last bytes of the reply: an error of any command before would stand in their place.
        self._tail = b""
        self._over = False
        self.finished = True

    def close(self) -> None:
        """Leave the socket to libpq, open."""
        self._socket.detach()

    def open(
        self,
        before: bytes,
        sql: bytes,
        after: bytes,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[wire.Field]:
        """Run ``before``, the statement and ``after``; the statement's columns, none where it
        returns no rows. ``meanwhile`` is called while the server works. Raises what the server
        refused.
        """
        self._position = self._started = self._buffer.stop
        self._rows_before = self._rows
        self._readies = 1 + bool(before) + bool(after)
        self._over = False
        self._tail = _CLEANED_UP if after.endswith(CLEAN_UP) else b""
        self._send(
            (wire.query(before) if before else b"")
            + wire.parse(sql)
            + _RUN
            + (wire.query(after) if after else b"")
        )
        if meanwhile is not None:
            meanwhile()
        self._skip_front(_front(before))
        while True:
            tag, body = self._next_message()
            if tag == wire.ROW_DESCRIPTION:
                return wire.read_row_description(body)
            if tag == wire.NO_DATA:
                self._end()
                return []
            if self._refusal is not None:
                self._end()

    def _skip_front(self, front: bytes) -> None:
        """Go to the description where all before it came at once and as expected; one by one its
        messages took 30 us.
        """
        self._fill()
        end = self._position + len(front)
        if self._buffer.stop >= end and self._buffer.view[self._position : end] == front:
            self._position = end
            self._readies -= front.count(wire.READY_IN_TRANSACTION)

    def pause(self) -> None:
        """Let the rows wait in the buffer, so that the connection is free for something else."""
        start, rows = self._position, 0
        while True:
            stop = self._buffer.stop
            self._position, found, why = walk_rows(
                self._buffer.bytes, self._position, stop, _NO_LIMIT, _NO_LIMIT
            )
            rows += found
            if why == OTHER_MESSAGE and self._is_end():
                break
            if why != OTHER_MESSAGE or self._position == self._buffer.stop:
                self._fill()
        self._waiting = (start, self._finish_rows(rows), rows)

    def receive(
        self, columns: Sequence[SourceColumn], counted: Callable[[CopyScan], None] | None = None
    ) -> CopyScan:
        """Receive all rows into the buffer, which then holds DataRow messages alone. ``counted``
        is told each time that more rows are there, unless they came before their types were known.
        """
        if self._waiting is not None:
            return ReceivedRange(self._buffer.bytes, *self._waiting, columns).scanned().scan
        scan = CopyScan(columns, framed=True, headless=True, start=self._position)
        while True:
            if scan.feed(self._buffer.bytes, self._buffer.stop):
                self._position = scan.position
                if self._is_end():
                    break
            self._rows = self._rows_before + scan.rows
            if counted is not None:
                counted(scan)
            if self._told is not None:
                self._told(self._rows)
            if scan.position == self._buffer.stop or not self._has_message(scan.position):
                self._fill()
        scan.finish(self._buffer.bytes, self._finish_rows(scan.rows))
        return scan

    # ---- batches

    def next_batch(
        self, columns: Sequence[SourceColumn], rows_max: int, bytes_max: int
    ) -> CopyScan | None:
        """The next rows, at most so many, and not many more bytes; None where the last have come.

        They are good until the next call.
        """
        if not self._over:
            self.rewind()
        found = self.next_range(bytes_max, rows_max)
        received = found and ReceivedRange(self._buffer.bytes, *found, columns)
        return received.scanned().scan if received else None

    def next_range(self, bytes_max: int, rows_max: int = _NO_LIMIT) -> tuple[int, int, int] | None:
        """The same not looked into, good until ``rewind``: from, to and how many."""
        if self._over:
            return None
        start, rows = self._position, 0
        while True:
            left = bytes_max - (self._position - start)
            self._position, found, why = walk_rows(
                self._buffer.bytes, self._position, self._buffer.stop, rows_max - rows, left
            )
            rows += found
            if why == OTHER_MESSAGE and self._is_end():
                stop = self._finish_rows(None)
                self._rows += rows
                return (start, stop, rows) if rows else None
            if rows == rows_max or self._position - start >= bytes_max:
                self._rows += rows
                return start, self._position, rows
            if why != OTHER_MESSAGE or not self._has_message(self._position):
                self._fill()

    def rewind(self) -> None:
        """Use the bytes of all rows so far again."""
        self._buffer.cut_out(0, self._buffer.stop if self._over else self._position)
        self._position = self._started = 0

    # ---- the end of the rows

    def _is_end(self) -> bool:
        """Whether the message at the position, which is no row, is whole and ends the rows; any
        other that is whole is cut out. Raises what the server refused.
        """
        message = self._message_at(self._position)
        if message is None:
            return False
        tag, body = message
        if tag == wire.COMMAND_COMPLETE:
            return True
        self._take(tag, body)
        self._buffer.cut_out(self._position, len(body) + 5)
        if self._refusal is not None:
            self._end()
        return False

    def _finish_rows(self, rows: int | None) -> int:
        """Read on to the reply's end; where the rows end. Raises what the server refused."""
        stop = self._position
        _, body = self._next_message()
        told = wire.read_row_count(body)
        if told is None:
            raise _other_command(body)
        self._end()
        self._buffer.stop = stop
        if rows is not None and rows != told:
            raise ProtocolError(
                f"the server sent {rows} rows and says {told}",
                hint="run the query again; if it happens again, report the statement",
                position=stop,
            )
        return stop

    def _end(self) -> None:
        while self._readies and not self._cut_tail():
            self._next_message()
        more = self._buffer.view[self._position : self._buffer.stop]
        if more and more[0] not in _UNASKED:
            raise ProtocolError(
                f"{len(more)} bytes follow the end of the reply",
                hint="run the query again; if it happens again, report the statement",
                position=self._position,
            )
        # What the server says unasked spoils no rows, but libpq never sees it: the connection goes.
        self._over, self.finished = True, not more
        self._buffer.stop = self._started
        if self._refusal is not None:
            raise self._failure(self._refusal)

    def _cut_tail(self) -> bool:
        """Go to the reply's end if it has arrived; one by one its messages took 30 us."""
        start = self._buffer.stop - len(self._tail)
        if not self._tail or self._refusal is not None or start < self._position:
            return False
        if self._buffer.view[start : self._buffer.stop] != self._tail:
            return False
        self._position, self._readies = self._buffer.stop, 0
        return True

    # ---- messages

    def _next_message(self) -> tuple[int, bytes]:
        while (message := self._message_at(self._position)) is None:
            self._fill()
        self._take(*message)
        self._position += len(message[1]) + 5
        return message

    def _take(self, tag: int, body: bytes) -> None:
        """Remember what a message says besides."""
        if tag == wire.ERROR:
            self._refusal = self._refusal or wire.read_refusal(body)
        elif tag == wire.READY:
            self._readies -= 1

    def _has_message(self, position: int) -> bool:
        """Whether a whole message stands there."""
        view = self._buffer.view[position : min(position + 5, self._buffer.stop)]
        if len(view) < 5:
            return False
        return position + 1 + int.from_bytes(view[1:5]) <= self._buffer.stop

    def _message_at(self, position: int) -> tuple[int, bytes] | None:
        """Tag and body of a message that is no row of the statement; None while it is not whole."""
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
        return tag, bytes(view[5 : size + 1])

    def _failure(self, refusal: wire.Refusal) -> NeuralGpuBusError:
        if _NO_PARAMETERS in refusal.message:
            return failure_from("42P02", "there is no parameter $1", self._address)
        return failure_from(
            refusal.sqlstate,
            refusal.message,
            self._address,
            position=refusal.position or None,
            detail=refusal.detail,
            hint=refusal.hint,
            timeout_s=self._deadline.timeout_s,
        )

    # ---- the socket

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
        received = self._buffer.stop - self._started
        paused = received < PAUSE_AFTER_BYTES
        while True:
            try:
                count = self._socket.recv_into(self._buffer.free())
            except BlockingIOError:
                if paused:
                    self._wait(select.POLLIN)
                else:
                    time.sleep(PAUSE_S if received < LONG_PAUSE_AFTER_BYTES else LONG_PAUSE_S)
                    paused = True
                continue
            except OSError as error:
                raise self._lost(str(error)) from error
            if count == 0:
                raise self._lost("the server closed the connection")
            self._buffer.stop += count
            self._deadline.left_s()
            return

    def _wait(self, event: int) -> None:
        self._poll.modify(self._socket.fileno(), event)
        limit_ms = TELL_MS_MAX if self._told is not None else None
        while not self._poll.poll(self._deadline.poll_ms(limit_ms)):
            if self._told is not None:
                self._told(self._rows)

    def _lost(self, text: str) -> NeuralGpuBusError:
        """The connection broke; what the server said last is the better reason."""
        if self._refusal is not None:
            return self._failure(self._refusal)
        return failure_from(None, text, self._address)


@lru_cache(maxsize=64)
def _front(before: bytes) -> bytes:
    """What comes back before the description where nothing was refused."""
    began = b""
    if before:
        settings = wire.command_complete(b"SET") * before.count(b"SET ")
        began = wire.command_complete(b"BEGIN") + settings + wire.READY_IN_TRANSACTION
    return began + wire.PARSE_COMPLETE + wire.BIND_COMPLETE


def _other_command(body: bytes) -> QueryError:
    command = body.rstrip(b"\x00").decode(errors="replace")
    return QueryError(
        f"the server answered {command} where rows of a SELECT were asked for",
        hint="query a SELECT, VALUES or TABLE",
        sqlstate=None,
    )
