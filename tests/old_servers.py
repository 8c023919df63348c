"""Servers of the past, as far as a client needs to see that they are: greeting and version."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[bytes], bytes]


@contextmanager
def old_postgres() -> Iterator[int]:
    """PostgreSQL 12: lets anyone in, says its version, and is ready. Yields its port."""
    with _serving(_postgres_answer) as port:
        yield port


@contextmanager
def old_redis() -> Iterator[int]:
    """Redis 5: knows INFO and agrees to all else. Yields its port."""
    with _serving(_redis_answer) as port:
        yield port


def _postgres_answer(message: bytes) -> bytes:
    if message[:1] == b"X":  # Terminate
        return b""
    if struct.unpack("!I", message[4:8])[0] in {80877103, 80877104}:  # SSLRequest, GSSENCRequest
        return b"N"
    parameters = {"server_version": "12.22", "client_encoding": "UTF8", "TimeZone": "UTC"}
    told = b"".join(
        _frame(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items()
    )
    return _frame(b"R", struct.pack("!I", 0)) + told + _frame(b"Z", b"I")


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _redis_answer(message: bytes) -> bytes:
    if b"HELLO" in message:
        return b"-ERR unknown command `HELLO`\r\n"
    if b"INFO" in message:
        info = b"# Server\r\nredis_version:5.0.14\r\n"
        return b"$%d\r\n%s\r\n" % (len(info), info)
    return b"+OK\r\n" * message.count(b"*")


@contextmanager
def _serving(answer: Answer) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answer), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _serve(listener: socket.socket, answer: Answer) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return  # the listener was shut
        with peer, suppress(ConnectionError):  # the client hangs up when it saw the version
            while message := peer.recv(65_536):
                peer.sendall(answer(message))
