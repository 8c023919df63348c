"""The server that is asked again and again: one connection, one snapshot for each look."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import BadParameterError, ServerError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.applying.set_up import column_names
from neural_gpu_bus.live.asking.trigger_log import channel
from neural_gpu_bus.live.mirror.source import OPTIONS
from neural_gpu_bus.stores.postgres.connections.connection import connect, translated
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.reading.type_catalog import TypeCatalog
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.table_shapes import DEFAULT, TableShape
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions
from neural_gpu_bus.stores.postgres.wire.messages import Field

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.ports import Progress
    from neural_gpu_bus.stores.postgres import PostgresStore
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

_POSITION = b"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
_TAKE = (
    b"SELECT pg_current_snapshot()::text, pg_export_snapshot(), pg_postmaster_start_time()::text"
)
_KEY = b"""
SELECT a.attname::text FROM pg_index x
CROSS JOIN unnest((x.indkey::int2[])[0:x.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
WHERE x.indrelid = %s::oid AND x.indisprimary AND x.indisvalid ORDER BY k.place
"""
#: Positions that are not known to be passed: there are more only where a transaction runs for long.
_POSITIONS_MAX = 1000


class Look(msgspec.Struct, frozen=True):
    """One snapshot, for as long as its transaction runs."""

    connection: Any
    #: The host's clock just before it was taken: what was committed before is in it.
    at_ns: int
    #: Whatever has its commit before this position of the WAL is in it, and maybe more.
    lsn: int
    snapshot: Snapshot
    visible: VisibleTransactions


class PassedPositions:
    """Up to where a snapshot surely has everything. A commit is in the WAL before it is seen, so a
    position counts once all that ran when it was asked for have ended.
    """

    def __init__(self) -> None:
        self._asked: deque[tuple[int, int]] = deque()
        self._passed = 0

    def passed(self, lsn: int, visible: VisibleTransactions) -> int:
        """``lsn``: asked just before that snapshot was taken."""
        if len(self._asked) < _POSITIONS_MAX:
            self._asked.append((visible.xmax, lsn))
        while self._asked and self._asked[0][0] <= visible.xmin:
            self._passed = self._asked.popleft()[1]
        return self._passed


class AskedDatabase:
    """For one thread."""

    def __init__(
        self, dsn: str, home: str, store: PostgresStore, *, connect_timeout_s: float
    ) -> None:
        self.home = home
        self.address = postgres_address(dsn)
        self._dsn, self._store, self._timeout_s = dsn, store, connect_timeout_s
        self._types = TypeCatalog(self.address)
        self._connection: psycopg.Connection | None = None
        self._positions = PassedPositions()
        #: Moves on with each connection: what was known of the server may not hold any more.
        self.session = 0

    def close(self) -> None:
        """Let go of the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """The connection, outside of a transaction. Raises ServerError."""
        with translated(self.address):
            found = self._connection
            if found is None or found.closed or found.broken:
                found = connect(self._dsn, timeout_s=self._timeout_s)
                found.execute(f"LISTEN {channel(self.home)}".encode())
                self._connection, self._positions = found, PassedPositions()
                self.session += 1
            yield found

    def wait(self, timeout_s: float) -> bool:
        """Whether somebody notified within that time."""
        connection = self._connection
        if connection is None or connection.closed:
            time.sleep(timeout_s)
            return False
        with translated(self.address):
            return any(True for _ in connection.notifies(timeout=timeout_s, stop_after=1))

    @contextmanager
    def look(self) -> Iterator[Look]:
        """A snapshot for the body."""
        with self.connected() as connection:
            at_ns, taken_ns = host_clock_ns(), time.time_ns()
            (lsn,) = _one(connection, _POSITION)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                text, exported, server = _one(connection, _TAKE)
                visible = VisibleTransactions.parse(text)
                passed = self._positions.passed(lsn, visible)
                yield Look(connection, at_ns, passed, Snapshot(exported, taken_ns, server), visible)
            finally:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")

    # ---- tables

    def shape(self, connection: psycopg.Connection, definition: LiveDefinition) -> TableShape:
        """The table, its primary key as its identity. Raises QueryError, BadParameterError."""
        found = read_shape(connection, definition.table)
        key = tuple(name for (name,) in connection.execute(_KEY, (found.oid,)).fetchall())
        if not key:
            raise BadParameterError(
                f"table {found} has no primary key: which rows changed cannot be told",
                hint="give it one, or follow it by the stream: how='stream', append_only=True",
                parameter="table",
            )
        if found.partitioned and definition.how == "trigger":
            raise BadParameterError(
                f"table {found} is partitioned: triggers do not see what changes partitions",
                hint="poll it (how='poll', watermark=...), or follow it by the stream",
                parameter="how",
            )
        return msgspec.structs.replace(found, identity=DEFAULT, identity_columns=key)

    def columns(self, definition: LiveDefinition, shape: TableShape) -> list[SourceColumn]:
        """How its columns are read."""
        assert self._connection is not None  # noqa: S101  within a look
        fields = [
            Field(one.name, one.type_oid, one.modifier)
            for one in shape.columns
            if one.name in column_names(shape, definition)
        ]
        self._types.learn(self._connection, [field.oid for field in fields])
        return self._types.columns(fields, OPTIONS)

    def copy(
        self, definition: LiveDefinition, shape: TableShape, look: Look, progress: Progress
    ) -> pa.Table:
        """All rows, by as many connections as cores and table suggest."""
        found: Any = self._store.reader.table(
            definition.table,
            columns=column_names(shape, definition),
            where=definition.where,
            snapshot=look.snapshot,
            options=OPTIONS,
            progress=progress,
        )
        table: pa.Table = found
        return table

    def read(self, statement: str, look: Look) -> pa.Table:
        """What a statement answers in that snapshot."""
        found: Any = self._store.reader.query(statement, snapshot=look.snapshot, options=OPTIONS)
        table: pa.Table = found
        return table


def _one(connection: psycopg.Connection, statement: bytes) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    if row is None:
        raise ServerError(f"{statement!r} answered nothing", hint="is it PostgreSQL?")
    return row
