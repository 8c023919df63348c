"""Readers of queries into plain memory: straight from the socket, and through libpq."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader
from plain_reservation import reserve


@contextmanager
def open_reader(
    dsn: str, *, direct: bool = True, received_bytes_max: int = 1 << 28, connections_max: int = 1
) -> Iterator[PostgresReader]:
    """A reader with a pool of its own."""
    pool = Pool(
        lambda: connect(dsn, timeout_s=5), connections_max=connections_max, wait_timeout_s=20
    )
    reader = PostgresReader(
        pool,
        reserve,
        address=postgres_address(dsn),
        timeout_s=30,
        received_bytes_max=received_bytes_max,
        direct=direct,
    )
    try:
        yield reader
    finally:
        reader.close()
        pool.close()


@pytest.fixture(params=[True, False], ids=["direct", "libpq"])
def reader(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[PostgresReader]:
    """Every test with it runs both ways; one connection, so a bad reply would meet the next."""
    with open_reader(postgres_dsn, direct=request.param) as made:
        yield made
