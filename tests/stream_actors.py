"""Who follows a stream in tests: plain tables that changes are applied to, one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.type_catalog import TypeCatalog
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.transactions import (
    Relation,
    RowChanges,
    StreamBatch,
    Transaction,
    Truncated,
)
from neural_gpu_bus.stores.postgres.replication.tuple_rows import key_hashes, rows_of
from neural_gpu_bus.stores.postgres.wire.messages import Field

WAIT_S = 20.0
Row = dict[str, Any]


@contextmanager
def published(dsn: str, *tables: str) -> Iterator[psycopg.Connection]:
    """Tables of these definitions (``t (i int8 PRIMARY KEY)``) in a schema and a publication of
    the name ``stream_test``, and a connection whose search path is there.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS stream_test CASCADE")
        connection.execute("DROP PUBLICATION IF EXISTS stream_test")
        connection.execute("CREATE SCHEMA stream_test; SET search_path = stream_test, public")
        for table in tables:
            connection.execute(f"CREATE TABLE {table}".encode())
        connection.execute("CREATE PUBLICATION stream_test FOR TABLES IN SCHEMA stream_test")
        try:
            yield connection
        finally:
            connection.execute("DROP SCHEMA stream_test CASCADE; DROP PUBLICATION stream_test")


@contextmanager
def streaming(dsn: str, **options: Any) -> Iterator[StreamSession]:
    """A stream of that publication by a temporary slot."""
    with StreamSession.connect(dsn, timeout_s=10, **options) as session:
        position = session.create_slot("stream_test_slot", temporary=True)
        session.start("stream_test_slot", position, ["stream_test"])
        yield session


def log_end(connection: psycopg.Connection) -> int:
    """Behind all that is committed."""
    row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8").fetchone()
    assert row is not None
    return int(row[0])


def batches(
    session: StreamSession, end_lsn: int, *, limit_s: float = WAIT_S
) -> Iterator[StreamBatch]:
    """Until the log has come so far."""
    deadline_s = time.monotonic() + limit_s
    while True:
        batch = session.receive(0.5)
        if batch is not None:
            yield batch
            if batch.end_lsn >= end_lsn:
                return
        if time.monotonic() > deadline_s:
            pytest.fail(f"the stream did not come to {end_lsn:X} within {limit_s} s")


def transactions(session: StreamSession, end_lsn: int) -> list[Transaction]:
    """All until the log has come so far, in memory of their own."""
    return [found.kept() for batch in batches(session, end_lsn) for found in batch.transactions]


class PlainTables:
    """Rows by their key's hash, as changes make them."""

    def __init__(self, dsn: str, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._catalog = TypeCatalog(postgres_address(dsn))
        self.rows: dict[str, dict[bytes, Row]] = {}
        self._columns: dict[int, list[SourceColumn]] = {}
        self._names: dict[int, str] = {}

    def apply(self, steps: Sequence[object]) -> None:
        """Change by change."""
        for step in steps:
            if isinstance(step, RowChanges):
                self._change(step)
            elif isinstance(step, Truncated):
                for oid in step.relations:
                    self.rows[self._names[oid]].clear()
            elif isinstance(step, Relation):
                self.columns_of(step)

    def columns_of(self, relation: Relation) -> list[SourceColumn]:
        """As the server describes its types now."""
        fields = [Field(found.name, found.type_oid, found.modifier) for found in relation.columns]
        with psycopg.connect(
            self._connection.info.dsn, password=self._connection.info.password, autocommit=True
        ) as other:
            self._catalog.learn(other, [field.oid for field in fields])
        columns = self._catalog.columns(fields, ReadOptions(texts="plain"))
        self._columns[relation.oid] = columns
        self._names[relation.oid] = relation.name
        self.rows.setdefault(relation.name, {})
        return columns

    def _change(self, changes: RowChanges) -> None:
        columns = self._columns[changes.relation.oid]
        relation = changes.relation
        keys = [
            place
            for place, column in enumerate(relation.columns)
            if column.in_key or relation.identity == "f"
        ]
        rows = self.rows[relation.name]
        with_new = np.flatnonzero(changes.new_at >= 0)
        with_old = np.flatnonzero(changes.old_at >= 0)
        every = range(len(columns))
        table, unchanged = rows_of(changes, "new", with_new, columns, every)
        new = dict(zip(with_new.tolist(), table.to_pylist(), strict=True))
        new_keys = _keys(changes, "new", with_new, keys)
        old_keys = _keys(changes, "old", with_old, keys)
        missing = {} if unchanged is None else dict(zip(with_new.tolist(), unchanged, strict=True))
        for number, kind in enumerate(changes.kinds.tolist()):
            before = None
            if kind != ord("I"):
                before = rows.pop(old_keys.get(number) or new_keys[number])
            if kind != ord("D"):
                row = new[number]
                for place in np.flatnonzero(missing.get(number, ())).tolist():
                    assert before is not None
                    row[columns[place].name] = before[columns[place].name]
                rows[new_keys[number]] = row


def _keys(changes: RowChanges, which: Any, rows: Any, places: list[int]) -> dict[int, bytes]:
    found = key_hashes(changes, which, rows, places)
    return {row: key.tobytes() for row, key in zip(rows.tolist(), found, strict=True)}
