"""A replication stream read as others do: psycopg's messages, each row decoded by Python; and read
by nobody, for the server's own speed.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.stores.postgres.replication.replication_commands import start_command

#: Of the log's last message, which ends a reading.
MARK = "ngb_bench_live_measured"
_MARK = MARK.encode() + b"\0"
_BUFFER_BYTES = 1 << 20
#: Bytes of one chunk's end in which the mark is looked for: keepalives may follow it.
_TAIL_BYTES = 300
#: Of a CopyData frame: its letter, two positions and a time.
_HEAD_BYTES = 25
_OPENED = itertools.count()
#: Nobody reads it while others are measured.
_NEVER = "-c wal_sender_timeout=0"

Row = tuple[Any, ...]


class RowStream:
    """A temporary slot and its stream, begun now; nothing is received until it is asked for."""

    def __init__(self, dsn: str, table: str) -> None:
        name = f"ngb_bench_live_{os.getpid()}_{next(_OPENED)}"
        self._name = name
        self._dsn = dsn
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE PUBLICATION {name} FOR TABLE {table}".encode())
        self._connection = psycopg.connect(
            make_conninfo(dsn, replication="database", options=_NEVER, sslmode="disable"),
            autocommit=True,
        )
        pgconn = self._connection.pgconn
        made = pgconn.exec_(
            f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT".encode()
        )
        if made.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(made.error_message.decode(errors="replace"))
        pgconn.send_query(start_command(name, 0, [name]).encode())
        while pgconn.is_busy():
            pgconn.consume_input()
        pgconn.get_result()
        #: Of the server's process that sends.
        self.server_pid = pgconn.backend_pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The slot goes with its session."""
        self._connection.close()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"DROP PUBLICATION IF EXISTS {self._name}".encode())

    def receive(self, timeout_s: float) -> Iterator[Row]:
        """Rows that are there, or come within that time."""
        pgconn = self._connection.pgconn
        size, message = pgconn.get_copy_data(1)
        if size == 0:
            select.select([pgconn.socket], [], [], timeout_s)
            pgconn.consume_input()
            size, message = pgconn.get_copy_data(1)
        while size > 0:
            if size > _HEAD_BYTES and message[_HEAD_BYTES] in b"IU":
                yield decoded(message)
            size, message = pgconn.get_copy_data(1)

    def drain_rows(self) -> int:
        """Decode every row up to the mark; how many."""
        pgconn, rows = self._connection.pgconn, 0
        while True:
            size, message = pgconn.get_copy_data(0)
            if size <= _HEAD_BYTES:
                continue
            if message[_HEAD_BYTES] in b"IU":
                decoded(message)
                rows += 1
            elif message[_HEAD_BYTES] == ord("M") and _MARK in bytes(message[:_TAIL_BYTES]):
                return rows

    def drop_all(self) -> None:
        """Receive up to the mark into one place, and look at nothing else."""
        plain = socket.socket(fileno=self._connection.pgconn.socket)
        place, tail = bytearray(_BUFFER_BYTES), b""
        try:
            plain.setblocking(True)
            while True:
                count = plain.recv_into(place)
                end = bytes(place[max(0, count - _TAIL_BYTES) : count])
                if _MARK in tail + end:
                    return
                if count == 0:
                    raise ConnectionError("the server closed the connection")
                tail = (tail + end)[-_TAIL_BYTES:]
        finally:
            plain.detach()


def decoded(message: memoryview | bytes, head_bytes: int = _HEAD_BYTES) -> Row:
    """The new row of an insert or update of the benchmarks' table, as Python's objects."""
    at = head_bytes + 5
    if message[at] != ord("N"):
        raise ValueError(f"expected a new row, found {bytes(message[at : at + 1])!r}")
    (count,) = struct.unpack_from("!h", message, at + 1)
    at += 3
    values: list[Any] = []
    for place in range(count):
        kind = message[at]
        at += 1
        if kind != ord("b"):
            values.append(None)
            continue
        (size,) = struct.unpack_from("!i", message, at)
        values.append(_value(place, message, at + 4, size))
        at += 4 + size
    return tuple(values)


def _value(place: int, message: memoryview | bytes, at: int, size: int) -> Any:
    if place == 1:
        return bytes(message[at : at + size]).decode()
    if place == 3:
        return struct.unpack_from("!d", message, at)[0]
    return int.from_bytes(message[at : at + size], signed=True)
