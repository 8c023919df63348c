"""Tables read by several connections, snapshots and streams, when servers, networks and poolers
do what they do: all rows of one moment, or a clear error; nothing left either way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from cutting_proxy import CuttingProxy
from fix_postgres_extras import BARS_ROWS, BARS_SUM, PoolMode, pgbouncer
from fix_servers import wait_until
from neural_gpu_bus.errors import NeuralGpuBusError, QueryTimeoutError, ServerUnreachableError
from neural_gpu_bus.memory import UnifiedMemory
from own_server import OwnServer, standby_of
from watched_store import WatchedStore, watched_store

LOST = r"cannot talk to PostgreSQL at 127\.0\.0\.1"


def assert_right(columns: Any) -> None:
    assert columns.rows == BARS_ROWS
    numbers = columns["i"]
    assert int(numbers.sum()) == BARS_SUM
    assert (columns["price"] == numbers * 0.5).all()


@pytest.fixture
def wide(
    failing_server: OwnServer, proxy: CuttingProxy, memory: UnifiedMemory
) -> Iterator[WatchedStore]:
    """Four connections through the network that fails."""
    dsn = failing_server.dsn(port=proxy.port)
    direct = failing_server.dsn()
    with watched_store(dsn, memory, direct_dsn=direct, connections_max=4) as opened:
        yield opened


@pytest.mark.parametrize("action", ["cut", "half_close"])
@pytest.mark.parametrize("place", [0, 5_000, 900_000])
def test_a_parallel_read_whose_network_fails_is_right_or_said(
    wide: WatchedStore, proxy: CuttingProxy, place: int, action: Any
) -> None:
    wide.assert_answers()
    fault = proxy.arm("to_client", place, action=action)
    try:
        assert_right(wide.store.reader.table("bars", connections=3))
    except ServerUnreachableError as error:
        assert error.hint  # noqa: PT017  (an answer is right too)
    assert fault.happened.is_set()
    wide.assert_nothing_left()
    assert_right(wide.store.reader.table("bars", connections=3))
    wide.assert_answers()


@pytest.mark.parametrize("place", [300_000])
def test_a_parallel_read_whose_network_hangs_ends_in_time(
    wide: WatchedStore, proxy: CuttingProxy, place: int
) -> None:
    wide.assert_answers()
    proxy.arm("to_client", place, action="stall")
    with pytest.raises(QueryTimeoutError, match=r"0\.5 s"):
        wide.store.reader.table("bars", connections=3, timeout_s=0.5)
    proxy.heal()
    wide.assert_nothing_left()
    wide.assert_answers()


@pytest.mark.parametrize("action", ["cut", "half_close"])
def test_a_stream_that_breaks_says_so_and_leaves_nothing(
    wide: WatchedStore, proxy: CuttingProxy, action: Any
) -> None:
    """Batches were handed out: it is not begun again."""
    wide.assert_answers()
    proxy.arm("to_client", 900_000, action=action)
    rows = 0
    with pytest.raises(ServerUnreachableError, match=LOST):  # noqa: PT012, SIM117
        with wide.store.reader.stream("SELECT i, price, t FROM bars", batch_rows=5_000) as batches:
            for batch in batches:
                rows += batch.rows
                del batch
    # None at all where the cut overtook the first batch: a reset discards what was not taken yet.
    assert rows < BARS_ROWS
    wide.assert_nothing_left()
    wide.assert_answers()


def test_more_rows_than_the_catalog_says_are_all_read(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    """The table grew tenfold since anybody looked at its pages."""
    name = f"grown_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint, t text) WITH (autovacuum_enabled = false)")
    fill = f"INSERT INTO {name} SELECT g, repeat('x', 80) FROM generate_series(%s::int, %s::int) g"
    failing_server.run(fill, 1, 5_000)
    failing_server.run(f"ANALYZE {name}")
    failing_server.run(fill, 5_001, 50_000)

    found = watched.store.reader.table(name, connections=2)

    assert found.rows == 50_000
    assert int(found["i"].sum()) == 50_000 * 50_001 // 2
    assert len(np.unique(found["i"])) == 50_000
    failing_server.run(f"DROP TABLE {name}")


def test_a_snapshot_whose_session_is_ended_is_said(
    watched: WatchedStore, failing_server: OwnServer
) -> None:
    gone = f"{LOST}|snapshot .* (gone|ended)"
    with pytest.raises(NeuralGpuBusError, match=gone) as caught:  # noqa: PT012, SIM117
        with watched.store.reader.snapshot() as snapshot:
            failing_server.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'neural_gpu_compute'"
            )
            wait_until(lambda: not failing_server.sessions(), "the session's end")
            watched.store.reader.table("bars", snapshot=snapshot)
    assert caught.value.hint
    watched.assert_nothing_left()
    watched.assert_answers()


def test_a_table_of_a_standby_is_read_by_several(
    failing_server: OwnServer, memory: UnifiedMemory
) -> None:
    with (
        standby_of(failing_server) as standby,
        watched_store(standby.dsn(), memory, connections_max=3) as watched,
    ):
        assert_right(watched.store.reader.table("bars", connections=3))
        with watched.store.reader.snapshot() as snapshot:
            assert_right(watched.store.reader.table("bars", snapshot=snapshot))
        watched.assert_nothing_left()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_tables_snapshots_streams_and_what_is_stored_later_go_through_a_pooler(
    failing_server: OwnServer, memory: UnifiedMemory, mode: PoolMode, tmp_path: Path
) -> None:
    name = f"later_{uuid.uuid4().hex[:12]}"
    failing_server.run(f"CREATE TABLE {name} (i bigint PRIMARY KEY, price float8)")
    with (
        pgbouncer(failing_server, mode) as port,
        watched_store(
            failing_server.dsn(port=port),
            memory,
            direct_dsn=failing_server.dsn(),
            connections_max=4,
        ) as watched,
    ):
        reader = watched.store.reader
        for _ in range(3):
            assert_right(reader.table("bars", connections=3))
        with reader.snapshot() as snapshot:
            with psycopg.connect(failing_server.dsn(), autocommit=True) as other:
                other.execute(f"INSERT INTO {name} VALUES (-1, 0)".encode())
            assert_right(reader.table("bars", snapshot=snapshot, connections=2))
            assert reader.table(name, snapshot=snapshot).rows == 0
        assert reader.table(name).rows == 1
        with reader.stream("SELECT i, price FROM bars", batch_rows=7_000) as batches:
            assert sum(int(batch["i"].sum()) for batch in batches) == BARS_SUM
        behind = watched.store.open_write_behind(
            tmp_path, is_private=False, bytes_max=64 << 20, close_timeout_s=10
        )
        for n in range(5):
            behind.store_later(name, {"i": np.arange(n * 10, n * 10 + 10), "price": np.zeros(10)})
        count = f"SELECT count(*) FROM {name}"
        behind.flush(20)
        assert failing_server.run(count) == [(51,)]
        behind.close()
        watched.assert_nothing_left()
        watched.assert_answers()
    failing_server.run(f"DROP TABLE {name}")
