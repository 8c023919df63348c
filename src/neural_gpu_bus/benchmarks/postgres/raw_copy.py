"""What the server can do: the same rows in binary, received and thrown away.

The socket is read into one buffer that is used again and again, and between two looks at it the
client sleeps, so that it neither decodes nor takes the server's core: nobody can do less. Who takes
about as long as this has the server as its limit.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg

from neural_gpu_bus.benchmarks.memory.answers import Kind
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader

BUFFER_BYTES = 1 << 20
#: Waking for each 8 KiB that the server sends costs both sides more than the bytes: 1,000,000 rows
#: x 6 took 440 ms with waking and 320 with pauses (docs/decisions/003-reading.md).
PAUSE_S = 0.000_05
#: ReadyForQuery, outside of a transaction: the last six bytes of every reply.
_READY = b"Z\x00\x00\x00\x05I"


class RawCopy(Reader):
    """``connections`` at once, each with a part of the table's pages."""

    how: ClassVar[str] = "COPY BINARY from the socket into nowhere: the server's own speed"
    named: ClassVar[str] = "receive only, COPY"
    kind: ClassVar[Kind] = "limit"

    def __init__(self, dsn: str, connections: int = 1) -> None:
        super().__init__(dsn)
        self._count = connections

    @property
    def title(self) -> str:  # type: ignore[override]
        """Says how many connections."""
        return self.named + (f" x {self._count}" if self._count > 1 else "")

    def open(self) -> None:
        """Connect."""
        self._connections = [
            psycopg.connect(self.dsn, autocommit=True, sslmode="disable", prepare_threshold=None)
            for _ in range(self._count)
        ]
        self._buffers = [bytearray(BUFFER_BYTES) for _ in range(self._count)]
        self._pages: dict[str, int] = {}

    def read(self, asked: Asked) -> int:
        """Bytes received."""
        if self._count == 1:
            return self._receive(0, asked.statement)
        received = [0] * self._count
        statements = self._parts(asked)

        def part(at: int) -> None:
            received[at] = self._receive(at, statements[at])

        threads = [threading.Thread(target=part, args=(at,)) for at in range(self._count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(received)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:  # noqa: ARG002
        """None."""
        return {}

    def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            connection.close()

    def _parts(self, asked: Asked) -> list[str]:
        pages = self._pages.get(asked.table) or self._ask_pages(asked.table)
        cuts = [pages * at // self._count for at in range(self._count + 1)]
        # Open at the end: rows may have come since the pages were counted.
        ranges = [
            f"ctid >= '({start},0)'" + (f" AND ctid < '({stop},0)'" if stop < pages else "")
            for start, stop in itertools.pairwise(cuts)
        ]
        return [f"{asked.statement} WHERE {wanted}" for wanted in ranges]

    def _ask_pages(self, table: str) -> int:
        row = self._connections[0].execute(
            "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int8", (table,)
        ).fetchone()  # fmt: skip
        pages = max(int(row[0]), 1) if row else 1
        self._pages[table] = pages
        return pages

    def _receive(self, at: int, statement: str) -> int:
        opened = socket.socket(fileno=self._connections[at].fileno())
        try:
            opened.setblocking(False)
            opened.sendall(self._request(statement))
            return until_ready(opened, self._buffers[at])
        finally:
            opened.detach()

    def _request(self, statement: str) -> bytes:
        return _message(b"Q", f"COPY ({statement}) TO STDOUT (FORMAT BINARY)".encode() + b"\0")


class RawRows(RawCopy):
    """The same by the extended protocol: a row is a message, its values binary."""

    how: ClassVar[str] = "binary rows of the extended protocol, from the socket into nowhere"
    named: ClassVar[str] = "receive only, rows"

    def _request(self, statement: str) -> bytes:
        return b"".join(
            [
                _message(b"P", b"\0" + statement.encode() + b"\0" + b"\0\0"),
                # No name, no name, no parameters; one format for all results, binary.
                _message(b"B", b"\0\0" + b"\0\0" + b"\0\0" + b"\0\1\0\1"),
                _message(b"E", b"\0" + b"\0\0\0\0"),
                _message(b"S", b""),
            ]
        )


def _message(tag: bytes, body: bytes) -> bytes:
    return tag + (len(body) + 4).to_bytes(4) + body


def until_ready(opened: socket.socket, buffer: bytearray) -> int:
    """Bytes up to ReadyForQuery, which nothing follows."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    poll.poll()
    received, last = 0, b""
    while last != _READY:
        try:
            count = opened.recv_into(buffer)
        except BlockingIOError:
            time.sleep(PAUSE_S)
            continue
        if count == 0:
            raise ConnectionError("the server closed the connection")
        received += count
        last = (last + bytes(buffer[max(count - 6, 0) : count]))[-6:]
    return received
