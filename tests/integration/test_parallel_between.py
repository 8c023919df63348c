"""Reads by several connections over TLS, through a pooler, and on a standby."""

from __future__ import annotations

from typing import Any

import pytest

from fix_postgres_extras import BARS_ROWS, BARS_SUM, PoolMode, pgbouncer
from fix_reader import open_reader
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader
from own_server import OwnServer, standby_of


def assert_reads(reader: PostgresReader, connections: int) -> None:
    """Alone, under a snapshot, and in batches."""
    alone: Any = reader.table("bars", connections=connections)
    with reader.snapshot() as snapshot:
        then: Any = reader.table("bars", connections=connections, snapshot=snapshot)
        asked: Any = reader.query("SELECT sum(i)::int8 AS s FROM bars", snapshot=snapshot)
    with reader.stream("SELECT i FROM bars", batch_rows=25_000) as batches:
        parts: list[Any] = [*batches]
    for found in (alone, then):
        assert found["i"].to_pylist() == list(range(1, BARS_ROWS + 1))
        report = reader.report(found)
        assert report is not None
        assert (report.connections, report.why_one) == (connections, "")
    assert asked["s"].to_pylist() == [BARS_SUM]
    assert [part.num_rows for part in parts] == [25_000, 25_000, 10_000]


def test_over_tls(tls_server: OwnServer) -> None:
    with open_reader(tls_server.dsn() + "&sslmode=require", connections_max=4) as reader:
        assert_reads(reader, 3)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_through_a_pooler(failing_server: OwnServer, mode: PoolMode) -> None:
    with (
        pgbouncer(failing_server, mode) as port,
        open_reader(failing_server.dsn(port=port), connections_max=4) as reader,
    ):
        for _ in range(3):
            assert_reads(reader, 3)


def test_on_a_standby(failing_server: OwnServer) -> None:
    with (
        standby_of(failing_server) as standby,
        open_reader(standby.dsn(), connections_max=4) as reader,
    ):
        assert_reads(reader, 3)
