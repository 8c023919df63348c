"""Where the bytes of a stream come from: straight from the socket, or through libpq over TLS.

libpq hands out one message at a time (a malloc, a copy and a call for each), the socket what it
has. Both leave CopyData messages in the buffer, with their frames.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg.pq import ExecStatus

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication.stream_failures import (
    leaves_out,
    stream_ended,
    stream_failure,
    stream_translated,
)
from neural_gpu_bus.stores.postgres.wire import messages as wire

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.replication.stream_walk import StreamWalk

COPY_BOTH = ord("W")
COPY_DATA, COPY_DONE = ord("d"), ord("c")
#: Messages that are no part of a copy.
MESSAGE_BYTES_MAX = 1 << 20
#: Longest wait for a status of some 40 bytes to go; what is left goes with the next.
SEND_MS_MAX = 1000.0

_FRAME = struct.Struct("!cI")


class StreamSource(Protocol):
    """One server's stream, received into ``buffer``."""

    buffer: ReceiveBuffer

    def start(self, command: str, wait: Callable[[], None]) -> None:
        """Begin the stream; ``wait`` waits for bytes. Raises what the server refused."""

    def fill(self) -> int:
        """Take what has arrived; how many bytes, 0 where there is nothing now. Less than
        ``RECEIVE_BYTES`` is all there was. Raises ServerUnreachableError when the connection is
        gone.
        """

    def wait(self, walk: StreamWalk, wait_ms: int, open_bytes_max: int) -> bool:
        """Wait for bytes; whether any came, or are there to ``fill``. They may have been walked."""

    def take_other(self, position: int) -> bool:
        """What stands at ``position`` and is no part of the copy: cut it out; False while it is
        not whole. Raises what the server said, and where the stream has ended.
        """

    def send(self, message: bytes) -> None:
        """Send a message within the copy, from any thread."""

    def close(self) -> None:
        """Leave the socket to libpq."""


class SocketSource:
    """Past libpq, which is idle meanwhile."""

    def __init__(
        self, connection: psycopg.Connection, buffer: ReceiveBuffer, address: str, slot: str
    ) -> None:
        self.buffer = buffer
        self._socket = socket.socket(fileno=connection.fileno())
        self._socket.setblocking(False)
        self._address, self._slot = address, slot
        self._lock = threading.Lock()
        self._unsent = b""

    def start(self, command: str, wait: Callable[[], None]) -> None:
        """See ``StreamSource``."""
        self._send(wire.query(command.encode()))
        refusal = None
        while True:
            message = self._message(0)
            if message is None:
                if not self.fill():
                    wait()
                continue
            tag, body = message
            self.buffer.cut_out(0, len(body) + 5)
            if tag == COPY_BOTH:
                return
            if tag == wire.ERROR:
                refusal = refusal or wire.read_refusal(body)
            elif tag == wire.READY:
                raise self._refused(refusal)

    def _refused(self, refusal: wire.Refusal | None) -> NeuralGpuBusError:
        if refusal is not None:
            return stream_failure(refusal, self._address, slot=self._slot)
        return stream_ended(self._address, "the server did not begin a stream")

    def fill(self) -> int:
        """See ``StreamSource``."""
        try:
            count = self._socket.recv_into(self.buffer.free())
        except BlockingIOError:
            return 0
        except OSError as error:
            raise stream_ended(self._address, str(error)) from error
        if count == 0:
            raise stream_ended(self._address, "the server closed the connection")
        self.buffer.stop += count
        return count

    def wait(self, walk: StreamWalk, wait_ms: int, open_bytes_max: int) -> bool:
        """See ``StreamSource``."""
        return walk.receive(self._socket.fileno(), wait_ms, open_bytes_max) or bool(self.fill())

    def take_other(self, position: int) -> bool:
        """See ``StreamSource``."""
        message = self._message(position)
        if message is None:
            return False
        tag, body = message
        if tag == wire.ERROR:
            raise self._refused(wire.read_refusal(body))
        if tag in {COPY_DONE, wire.COMMAND_COMPLETE, wire.READY}:
            raise stream_ended(self._address, "the server ended the stream")
        if tag == wire.NOTICE:
            notice = wire.read_refusal(body)
            if leaves_out(notice.sqlstate):
                raise stream_failure(notice, self._address, slot=self._slot)
        self.buffer.cut_out(position, len(body) + 5)
        return True

    def _message(self, position: int) -> tuple[int, bytes] | None:
        """Tag and body of what stands there; None while it is not whole."""
        view = self.buffer.view[position : self.buffer.stop]
        if len(view) < 5:
            return None
        tag, size = view[0], int.from_bytes(view[1:5])
        if not 4 <= size <= MESSAGE_BYTES_MAX or tag not in _OTHERS:
            raise ProtocolError(
                f"byte {position} of the stream begins no message: tag {chr(tag)!r}, {size} bytes",
                hint="check what stands between this machine and the server",
                position=position,
            )
        return (tag, bytes(view[5 : size + 1])) if len(view) > size else None

    def send(self, message: bytes) -> None:
        """See ``StreamSource``."""
        self._send(_FRAME.pack(b"d", len(message) + 4) + message)

    def _send(self, message: bytes) -> None:
        with self._lock:
            self._unsent += message
            while self._unsent:
                try:
                    self._unsent = self._unsent[self._socket.send(self._unsent) :]
                except BlockingIOError:
                    poll = select.poll()
                    poll.register(self._socket, select.POLLOUT)
                    if not poll.poll(SEND_MS_MAX):
                        return
                except OSError as error:
                    self._unsent = b""
                    raise stream_ended(self._address, str(error)) from error

    def close(self) -> None:
        """See ``StreamSource``."""
        with self._lock:
            self._socket.detach()


_OTHERS = frozenset(b"WcCZENSA")

#: libpq reads 8 KiB or more at a time, a record of TLS has up to 16: what is left of one lies in
#: the library, where waiting for the socket does not see it.
_READS_A_RECORD = 3


class LibpqSource:
    """Through libpq, one message at a time. libpq is used by one thread at a time."""

    def __init__(
        self, connection: psycopg.Connection, buffer: ReceiveBuffer, address: str, slot: str
    ) -> None:
        self.buffer = buffer
        self._pgconn = connection.pgconn
        self._address, self._slot = address, slot
        self._lock = threading.Lock()
        self._rest = memoryview(b"")
        self._left_out: wire.Refusal | None = None
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)
        connection.add_notice_handler(self._note)

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        if leaves_out(notice.sqlstate or ""):
            text, detail = notice.message_primary or "", notice.message_detail or ""
            self._left_out = wire.Refusal(notice.sqlstate or "", text, detail, "", "")

    def start(self, command: str, wait: Callable[[], None]) -> None:
        """See ``StreamSource``."""
        with stream_translated(self._address, slot=self._slot):
            self._pgconn.send_query(command.encode())
            self._pgconn.flush()
            while self._pgconn.is_busy():
                wait()
                self._pgconn.consume_input()
            found = self._pgconn.get_result()
            if found is None or found.status != ExecStatus.COPY_BOTH:
                while self._pgconn.get_result() is not None:
                    pass
                if found is None:
                    raise stream_ended(self._address, "the server did not begin a stream")
                raise psycopg.errors.error_from_result(found, encoding="utf-8")

    def fill(self) -> int:
        """See ``StreamSource``."""
        with self._lock, stream_translated(self._address, slot=self._slot):
            for _ in range(_READS_A_RECORD):
                self._pgconn.consume_input()
            before = self.buffer.stop
            while self._append():
                size, message = self._pgconn.get_copy_data(1)
                if self._left_out is not None:  # it came before this message
                    raise stream_failure(self._left_out, self._address, slot=self._slot)
                if size == 0:
                    break
                if size < 0:
                    self._end()
                self._rest = memoryview(_FRAME.pack(b"d", size + 4) + bytes(message))
            return self.buffer.stop - before

    def _append(self) -> bool:
        """Put what libpq gave into the buffer; False where it is full."""
        while self._rest:
            if self.buffer.stop >= self.buffer.bytes_max:
                return False
            free = self.buffer.free()
            part = self._rest[: len(free)]
            free[: len(part)] = part
            self.buffer.stop += len(part)
            self._rest = self._rest[len(part) :]
        return True

    def _end(self) -> None:
        found = self._pgconn.get_result()
        if found is not None and found.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(found, encoding="utf-8")
        raise stream_ended(self._address, "the server ended the stream")

    def wait(self, walk: StreamWalk, wait_ms: int, open_bytes_max: int) -> bool:  # noqa: ARG002
        """See ``StreamSource``."""
        return bool(self._poll.poll(wait_ms))

    def take_other(self, position: int) -> bool:
        """See ``StreamSource``; libpq takes all others itself."""
        raise ProtocolError(
            f"byte {position} of the stream begins no message of a copy",
            hint="check what stands between this machine and the server",
            position=position,
        )

    def send(self, message: bytes) -> None:
        """See ``StreamSource``."""
        with self._lock, stream_translated(self._address, slot=self._slot):
            self._pgconn.put_copy_data(message)
            self._pgconn.flush()

    def close(self) -> None:
        """See ``StreamSource``."""
