"""A stream over TLS, which only libpq can read, of an older server."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import psycopg
import pytest

from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.stream_sources import LibpqSource
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges
from own_server import OwnServer
from read_tuples import tuples
from stream_actors import batches, log_end, published, streaming

SEED = int(os.environ.get("NGB_TEST_SEED", str(random.randrange(1 << 32))))


@pytest.fixture
def logical_server(tls_server: OwnServer) -> Iterator[OwnServer]:
    tls_server.stop()
    tls_server.start(wal_level="logical")
    yield tls_server
    tls_server.stop()
    tls_server.start()


def test_values_of_all_sizes_come_through(logical_server: OwnServer) -> None:
    """Among them those that fill a record of TLS, and libpq's buffer, to the byte."""
    print(f"NGB_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    dsn = logical_server.dsn() + "&sslmode=require"
    sizes = [rng.randrange(100) for _ in range(300)]
    sizes += [1 << rng.randrange(13, 18) for _ in range(10)]
    sizes += [(1 << 14) - rng.randrange(200) for _ in range(60)] + [3 << 20]
    with (
        published(dsn, "t (id int8 PRIMARY KEY, x text)") as connection,
        streaming(dsn, received_bytes_max=16 << 20) as session,
    ):
        assert isinstance(session._source, LibpqSource)
        seen = []
        for first in range(0, len(sizes), 53):
            with connection.transaction():
                for place, size in enumerate(sizes[first : first + 53], first):
                    row = (place, chr(97 + place % 26) * size)
                    connection.execute("INSERT INTO t VALUES (%s, %s)", row)
            for batch in batches(session, log_end(connection)):
                for found in batch.transactions:
                    for step in found.steps:
                        if isinstance(step, RowChanges):
                            seen += [row[1] for row in tuples(step, "new") if row]
                session.acknowledge(batch.end_lsn)

        assert [len(value or b"") for value in seen] == sizes
        assert [bytes(set(value)) for value in seen if isinstance(value, bytes) and value] == [
            bytes([97 + place % 26]) for place, size in enumerate(sizes) if size
        ]


def test_a_single_value_is_received_when_it_is_there(logical_server: OwnServer) -> None:
    dsn = logical_server.dsn() + "&sslmode=require"
    with (
        published(dsn, "t (id int8 PRIMARY KEY)") as connection,
        StreamSession.connect(dsn, timeout_s=10) as session,
    ):
        session.start("slot", session.create_slot("slot", temporary=True), ["stream_test"])
        while session.receive(0.1) is not None:
            pass
        insert_one(connection)

        batch = session.receive(0.9)  # before the next status asks for an answer

        assert batch is not None


def insert_one(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO t VALUES (1)")
