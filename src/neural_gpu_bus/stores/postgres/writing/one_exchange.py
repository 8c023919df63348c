"""Rows to a known table in one exchange: everything is sent before the first answer is read.

One simple query holds the claim of the job's id, the COPY and a check that the table is still the
one that was remembered; its statements are one transaction without BEGIN and COMMIT. The rows
follow, and a second query asks for the log's position. A statement that fails ends the first query;
the server then reads the rows and drops them (PostgreSQL manual, "COPY Operations"), so that
nothing of them is stored, and answers the second query.

libpq would wait for the server before the first row. This speaks on its socket, which only goes
where no TLS is in between, and leaves it as libpq expects it: idle.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from neural_gpu_bus.errors import ProtocolError, ServerUnreachableError
from neural_gpu_bus.stores.postgres.connections.connection import TEXT_CHARACTERS_MAX, failure_from
from neural_gpu_bus.stores.postgres.wire import messages as wire

#: Sent at once, at least; one send of 6 MB took 30.5 ms where 24 of 256 KiB took 31 to 36, because
#: each may wake the server (PostgreSQL 18 on loopback, 2 cores, 2026-11-22).
SEND_BYTES_MIN = 1 << 20

COPY_DONE = b"c\x00\x00\x00\x04"
COPY_FAIL = b"f\x00\x00\x00\x05\x00"

_RECEIVE_BYTES = 1 << 16
#: Two short replies; longer is noise, or a server that quotes without end.
_REPLY_BYTES_MAX = 1 << 24

_CANCEL_S_MAX = 2.0

#: A session that has nothing else to do answers an end of its COPY at once. One that has not by
#: then waits for a lock, and is cancelled.
_END_MS = 50

#: Tag and length of a message.
_HEAD = struct.Struct("!BI")
_TOLD = frozenset({wire.READY, wire.ERROR, wire.DATA_ROW, wire.COMMAND_COMPLETE})


@dataclass(slots=True)
class Replies:
    """What the server has said so far."""

    #: Queries answered.
    ready: int = 0
    refusal: wire.Refusal | None = None
    #: Rows that COPY stored.
    rows: int | None = None
    #: First column of the row that the last query returned; empty where it failed: the first one
    #: is committed by then.
    value: bytes = b""


def can_exchange(connection: psycopg.Connection) -> bool:
    """Whether the bytes on the socket are the protocol's own, and nothing else is under way."""
    pgconn = connection.pgconn
    return not pgconn.ssl_in_use and not connection.closed


class OneExchange:
    """One store on a borrowed connection. ``few``: the rows are few, and all goes in one send;
    else the server begins with its statements while the first rows are encoded here.
    """

    def __init__(self, connection: psycopg.Connection, address: str, *, few: bool) -> None:
        self._few = few
        self._connection = connection
        self._address = address
        # Its family is not asked for: two calls of the system less, and it plays no part here.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, connection.fileno())
        self._poll, self._polled = select.poll(), select.POLLIN
        self._poll.register(self._socket, select.POLLIN)
        self._received = bytearray()
        self._replies = Replies()
        self._asked_to_end = False

    def run(self, statements: str, pieces: Generator[bytes, None, None], last: str) -> Replies:
        """Send ``statements``, of which one is a COPY, the framed ``pieces`` and the query
        ``last``. A refusal of the server is in the reply; whatever else is raised leaves nothing
        stored, except ServerUnreachableError that says otherwise.
        """
        try:
            self._send_all(statements, pieces, last)
            while self._replies.ready < 2:
                self._wait(select.POLLIN)
                self._receive()
            return self._replies
        except ServerUnreachableError:
            if not self._is_stored:
                raise
            self._connection.close()
            return self._replies
        except (KeyboardInterrupt, SystemExit):
            with suppress(psycopg.Error, OSError):
                self._connection.cancel_safe(timeout=_CANCEL_S_MAX)
            raise
        finally:
            pieces.close()
            self._socket.detach()

    @property
    def _is_stored(self) -> bool:
        """The server has said that it committed the rows."""
        replies = self._replies
        return bool(replies.ready) and replies.refusal is None and replies.rows is not None

    def _send_all(self, statements: str, pieces: Generator[bytes, None, None], last: str) -> None:
        waiting: list[Any] = [wire.query(statements.encode())]
        if not self._few:
            self._send(waiting)
            waiting = []
        size = 0
        try:
            for piece in pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= SEND_BYTES_MIN:
                    self._send(waiting)
                    self._receive()
                    waiting, size = [], 0
                if self._replies.refusal is not None:
                    break
        except Exception:
            self._give_up(waiting)
            raise
        self._asked_to_end = True
        self._send([*waiting, COPY_DONE, wire.query(last.encode())])

    def _give_up(self, waiting: list[Any]) -> None:
        """End the COPY without storing; the connection can be used again."""
        if self._few:
            return  # nothing was sent
        self._send([*waiting, COPY_FAIL])
        if not self._polled_for(select.POLLIN).poll(_END_MS):
            with suppress(psycopg.Error, OSError):
                self._connection.cancel_safe(timeout=_CANCEL_S_MAX)
        while self._replies.ready < 1:
            self._wait(select.POLLIN)
            self._receive()

    def _send(self, parts: list[Any]) -> None:
        views = [memoryview(part) for part in parts]
        left = sum(len(view) for view in views)
        while left:
            try:
                sent = self._socket.sendmsg(views[:64])
            except BlockingIOError:
                if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                    self._receive()
                continue
            except OSError as error:
                self._hear_the_reason()
                raise self._lost(str(error)) from error
            left -= sent
            while left and sent:
                step = min(sent, len(views[0]))
                sent -= step
                views[0] = views[0][step:]
                if not views[0]:
                    del views[0]

    def _hear_the_reason(self) -> None:
        """What the server said before it closed the connection."""
        with suppress(ServerUnreachableError):
            self._receive()

    def _wait(self, events: int) -> int:
        return self._polled_for(events).poll()[0][1]

    def _polled_for(self, events: int) -> select.poll:
        if events != self._polled:
            self._poll.modify(self._socket, events)
            self._polled = events
        return self._poll

    def _receive(self) -> None:
        """Read what is there and take the whole messages of it."""
        try:
            received = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(str(error)) from error
        if not received:
            raise self._lost("the server closed the connection")
        self._received += received
        view, at = memoryview(self._received), 0
        while len(view) - at >= _HEAD.size:
            tag, size = _HEAD.unpack_from(view, at)
            if not 4 <= size <= _REPLY_BYTES_MAX:
                raise ProtocolError(
                    f"a reply of {size} bytes is no message of {self._address}",
                    hint="check what stands between this machine and the server",
                    position=at,
                )
            if len(view) - at < size + 1:
                break
            if tag in _TOLD:
                self._take(tag, bytes(view[at + _HEAD.size : at + 1 + size]))
            at += size + 1
        view.release()
        del self._received[:at]

    def _take(self, tag: int, body: bytes) -> None:
        replies = self._replies
        if tag == wire.READY:
            replies.ready += 1
        elif tag == wire.ERROR:
            if not replies.ready:
                replies.refusal = replies.refusal or wire.read_refusal(body)
        elif tag == wire.DATA_ROW:
            if replies.ready:
                replies.value = body[6:]
        elif body.startswith(b"COPY "):
            replies.rows = wire.read_row_count(body)

    def _lost(self, text: str) -> Exception:
        """The connection broke; what the server said last is the better reason."""
        refusal = self._replies.refusal
        if refusal is not None:
            return failure_from(refusal.sqlstate, refusal.message, self._address)
        error = failure_from(None, text[:TEXT_CHARACTERS_MAX], self._address)
        if not self._asked_to_end:
            return error
        return error if self._replies.ready else unknown_outcome(error)


def unknown_outcome(error: Exception) -> Exception:
    """The same error, of a connection that broke while the server was to commit."""
    if not isinstance(error, ServerUnreachableError):
        return error
    return ServerUnreachableError(
        f"{error.what}; it broke while the rows were being committed: all of them may have been "
        "stored, or none",
        hint="look whether they are there before storing them again; with a job_id a store can "
        "be repeated safely",
        **(error.facts | {"outcome": "unknown"}),
    )
