"""Live tables on a real server: what is committed is seen, whole, in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import neural_gpu_bus as ngb
from neural_gpu_bus import embedded
from neural_gpu_bus.errors import BadParameterError

pytestmark = pytest.mark.slow

Run = Callable[..., None]


@pytest.fixture(scope="module")
def plane(private_servers: embedded.Attachment) -> Iterator[ngb.DataPlane]:
    with ngb.open(home=private_servers.settings.home) as opened:
        yield opened


@pytest.fixture
def run(postgres_dsn: str) -> Iterator[Run]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:

        def executed(statement: str, *values: Any) -> None:
            connection.execute(statement.encode(), values or None)

        yield executed


def test_a_table_follows_every_commit(plane: ngb.DataPlane, run: Run) -> None:
    run(
        "CREATE TABLE bars (id bigserial PRIMARY KEY, instrument_id text NOT NULL, "
        "ts bigint NOT NULL, close float8)"
    )
    run(
        "INSERT INTO bars (instrument_id, ts, close) "
        "SELECT 'I' || g % 3, g, g * 0.5 FROM generate_series(1, 3000) g"
    )
    bars = plane.live("bars", key=["instrument_id"], order_by="ts", timeout_s=30)
    try:
        assert bars.last(2, instrument_id="I0")["ts"].tolist() == [2997, 3000]

        receipt = plane.store(
            "bars", {"instrument_id": ["I0"], "ts": [4000], "close": [1.5], "id": [100_000]}
        )
        bars.wait_for(receipt, timeout_s=5)
        assert bars.last(1, instrument_id="I0")["close"].tolist() == [1.5]

        run("UPDATE bars SET close = -1 WHERE ts = 3000")
        run("DELETE FROM bars WHERE ts = 2997")
        run("UPDATE bars SET instrument_id = 'I1' WHERE ts = 4000")
        with psycopg.connect(plane.addresses.postgres_dsn.get_secret_value()) as connection:
            lsn = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert lsn is not None
        bars.wait_for(lsn[0], timeout_s=5)
        assert bars.last(2, instrument_id="I0")["ts"].tolist() == [2994, 3000]
        assert bars.last(1, instrument_id="I0")["close"].tolist() == [-1.0]
        assert bars.last(1, instrument_id="I1")["ts"].tolist() == [4000]
        counted = plane.live_view.counted("bars")
        assert counted is not None
        assert (counted.changes, counted.transactions) == (4, 4)
        assert counted.stream_bytes > 4 * 40
    finally:
        plane.drop_live("bars")
        run("DROP TABLE bars")


PARTITIONS = """
CREATE TABLE parts (id int PRIMARY KEY, k text, v float8) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
INSERT INTO parts SELECT g, 'x' || g % 3, g FROM generate_series(1, 150) g
"""

STEPS = [
    "UPDATE parts SET v = -v WHERE id % 7 = 0",
    "UPDATE parts SET id = id + 120 WHERE id BETWEEN 40 AND 50",
    "CREATE TABLE parts3 PARTITION OF parts FOR VALUES FROM (200) TO (300)",
    "INSERT INTO parts SELECT g, NULL, g FROM generate_series(200, 220) g",
    "ALTER TABLE parts DETACH PARTITION parts2",
    "ALTER TABLE parts ATTACH PARTITION parts2 FOR VALUES FROM (100) TO (200)",
    "TRUNCATE parts1",
    "ALTER TABLE parts ADD COLUMN more int DEFAULT 7",
    "ALTER TABLE parts ALTER COLUMN more TYPE bigint",
    "ALTER TABLE parts RENAME COLUMN more TO most",
    "DROP TABLE parts2",
    "TRUNCATE parts",
]


def test_what_alters_a_partitioned_table_is_never_served_as_it_was(
    plane: ngb.DataPlane, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(PARTITIONS.encode())
        parts = plane.live("parts", timeout_s=30)
        try:
            for step in STEPS:
                connection.execute(step.encode())
                assert_equal(parts, connection, "parts")
        finally:
            plane.drop_live("parts")
            connection.execute("DROP TABLE parts")


def assert_equal(live: Any, connection: psycopg.Connection, table: str) -> None:
    """As of the last commit, row by row."""
    lsn = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    assert lsn is not None
    live.wait_for(lsn[0], timeout_s=15)
    found = sorted(map(str, live.arrow().to_pylist()))
    cursor = connection.execute(f"SELECT * FROM {table}".encode())
    names = [column.name for column in cursor.description or ()]
    assert found == sorted(str(dict(zip(names, row, strict=True))) for row in cursor)


def test_one_table_is_published_in_one_way(plane: ngb.DataPlane, run: Run) -> None:
    run("CREATE TABLE once (id int PRIMARY KEY)")
    plane.live("once", timeout_s=30)
    try:
        with pytest.raises(BadParameterError, match="is live as 'once' with another where"):
            plane.live("once", name="grown", append_only=True, timeout_s=30)
        assert "grown" not in plane.live_definitions.all()
    finally:
        plane.drop_live("once")
        run("DROP TABLE once")
