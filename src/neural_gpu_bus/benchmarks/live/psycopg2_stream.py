"""A replication stream by psycopg2's replication cursor, as most Python programs read one."""

from __future__ import annotations

import itertools
import os
import select
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import psycopg

from neural_gpu_bus.benchmarks.live.row_stream import Row, decoded

_OPENED = itertools.count()
#: Nobody tells the server that we are there.
_OPTIONS = "-c wal_sender_timeout=0"


class Psycopg2Stream:
    """A temporary slot of pgoutput in its binary form; each row is decoded by Python."""

    def __init__(self, dsn: str, table: str) -> None:
        import psycopg2
        from psycopg2.extras import LogicalReplicationConnection

        name = f"ngb_bench_psycopg2_{os.getpid()}_{next(_OPENED)}"
        with ExitStack() as failed:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"CREATE PUBLICATION {name} FOR TABLE {table}".encode())
            failed.callback(_drop_publication, dsn, name)
            connected: Any = psycopg2.connect(
                dsn, connection_factory=LogicalReplicationConnection, options=_OPTIONS
            )
            failed.callback(connected.close)
            self._cursor = connected.cursor()
            self._cursor.execute(
                f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
            )
            options = {"proto_version": "1", "publication_names": name, "binary": "true"}
            self._cursor.start_replication(slot_name=name, options=options, decode=False)
            #: The slot goes with its session.
            self._closing = failed.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing of it stays at the server."""
        self._closing.close()

    def receive(self, timeout_s: float) -> Iterator[Row]:
        """Rows that are there, or come within that time."""
        message = self._cursor.read_message()
        if message is None:
            select.select([self._cursor], [], [], timeout_s)
            message = self._cursor.read_message()
        while message is not None:
            if message.payload[:1] in {b"I", b"U"}:
                yield decoded(message.payload, 0)
            message = self._cursor.read_message()


def _drop_publication(dsn: str, name: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP PUBLICATION IF EXISTS {name}".encode())
