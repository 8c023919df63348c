"""What the server can do: COPY BINARY of the same rows, received and thrown away.

The socket is read into one buffer that is used again and again, so the client does the least that
anybody can do. Who takes about as long as this has the server as its limit.
"""

from __future__ import annotations

import itertools
import select
import socket
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg

from neural_gpu_bus.benchmarks.memory.answers import Kind
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader

BUFFER_BYTES = 1 << 20
#: ReadyForQuery, outside of a transaction: the last six bytes of every reply.
_READY = b"Z\x00\x00\x00\x05I"


class RawCopy(Reader):
    """``connections`` at once, each with a part of the table's pages."""

    how: ClassVar[str] = "COPY BINARY from the socket into nowhere: the server's own speed"
    kind: ClassVar[Kind] = "limit"

    def __init__(self, dsn: str, connections: int = 1) -> None:
        super().__init__(dsn)
        self._count = connections

    @property
    def title(self) -> str:  # type: ignore[override]
        """Says how many connections."""
        return "receive and discard" + (f", {self._count} conn." if self._count > 1 else "")

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
        descriptor = self._connections[at].fileno()
        query = f"COPY ({statement}) TO STDOUT (FORMAT BINARY)".encode() + b"\x00"
        opened = socket.socket(fileno=descriptor)
        try:
            opened.setblocking(False)
            opened.sendall(b"Q" + (len(query) + 4).to_bytes(4) + query)
            return _until_ready(opened, self._buffers[at])
        finally:
            opened.detach()


def _until_ready(opened: socket.socket, buffer: bytearray) -> int:
    """Bytes up to ReadyForQuery, which nothing follows."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    received, last = 0, b""
    while last != _READY:
        poll.poll()
        count = opened.recv_into(buffer)
        if count == 0:
            raise ConnectionError("the server closed the connection")
        received += count
        last = (last + bytes(buffer[max(count - 6, 0) : count]))[-6:]
    return received
