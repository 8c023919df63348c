"""Measure reading 1,000,000 rows x 6 and the last 10,000 bars of one instrument: ADBC against
ours, on one connection and several, equality first, turns taken in one run.

Usage: python tools/measure_reading.py 'host=/run/x port=5439 user=ngb dbname=ngb'
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import conninfo_to_dict

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.reading.reader import PostgresReader

Query = Callable[[str], Any]

TABLE = "ngb_measure_reading"
MAKE = f"""
CREATE TABLE {TABLE} AS SELECT 'I' || i / 100000 AS instrument_id,
  timestamptz '2024-01-01' + i % 100000 * interval '1 minute' AS ts, random() AS open,
  random() AS high, random() AS low, random() AS close, floor(random() * 1000)::float8 AS volume
FROM generate_series(0, 999999) AS i;
CREATE UNIQUE INDEX ON {TABLE} (instrument_id, ts);
"""
COLUMNS = "ts, open, high, low, close, volume"
WHOLE_TABLE = "1,000,000 rows x 6"
CONNECTIONS = (1, 2, 4)
CASES = {
    WHOLE_TABLE: (f"SELECT {COLUMNS} FROM {TABLE}", 11),
    "last 10,000 bars": (
        f"SELECT {COLUMNS} FROM {TABLE} WHERE instrument_id = 'I7' ORDER BY ts DESC LIMIT 10000",
        41,
    ),
}


def main(dsn: str) -> None:
    """Make the table, measure, drop it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(MAKE.encode())
        try:
            connection.execute(f"VACUUM ANALYZE {TABLE}".encode())
            measure(dsn)
        finally:
            connection.execute(f"DROP TABLE {TABLE}".encode())


def measure(dsn: str) -> None:
    """Print a line for each way and case: median, quickest, own CPU, all in ms."""
    pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=5, wait_timeout_s=5)
    options = {key: quote(str(value), safe="") for key, value in conninfo_to_dict(dsn).items()}
    uri = "postgresql:///?" + "&".join(f"{key}={value}" for key, value in options.items())
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ngb-measure-") as folder,
        dbapi.connect(uri) as adbc,
    ):
        memory = UnifiedMemory(Path(folder), 2 << 30)
        reader = _reader(pool, memory, dsn, direct=True)
        through_libpq = _reader(pool, memory, dsn, direct=False)

        def by_adbc(statement: str) -> Any:
            with adbc.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetch_arrow_table()

        ways: dict[str, Query] = {
            "ADBC": by_adbc,
            "ours": reader.query,
            "ours, libpq": through_libpq.query,
        }
        several: dict[str, Query] = {
            f"ours, {count} connections": partial(_by_table, reader, count) for count in CONNECTIONS
        }
        for case, (statement, turns) in CASES.items():
            expected = by_adbc(statement)
            queries: list[Query] = [reader.query, through_libpq.query]
            queries += several.values() if case == WHOLE_TABLE else []
            for query in queries:
                assert query(statement).arrow().cast(expected.schema).equals(expected)
            print(case)
            compare(ways | several if case == WHOLE_TABLE else ways, statement, turns)
        memory.close()
    pool.close()


def _reader(pool: Pool, memory: UnifiedMemory, dsn: str, *, direct: bool) -> PostgresReader:
    return PostgresReader(
        pool,
        partial(memory.reserve, cleared=False),
        address=postgres_address(dsn),
        timeout_s=60,
        received_bytes_max=1 << 30,
        direct=direct,
    )


def _by_table(reader: PostgresReader, connections: int, statement: str) -> Any:
    """The same rows by ranges of pages; ``statement`` says which."""
    assert statement == CASES[WHOLE_TABLE][0]
    return reader.table(TABLE, columns=COLUMNS.split(", "), connections=connections)


def compare(ways: dict[str, Query], statement: str, turns: int) -> None:
    """Ways take turns, so that noise meets them all."""
    times_ms: dict[str, list[float]] = {name: [] for name in ways}
    cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, query in ways.items():
            cpu, start = _cpu_s(), time.perf_counter()
            result = query(statement)
            times_ms[name].append((time.perf_counter() - start) * 1e3)
            cpu_ms[name].append((_cpu_s() - cpu) * 1e3)
            del result
    base = statistics.median(times_ms["ADBC"])
    for name, times in times_ms.items():
        median = statistics.median(times)
        print(
            f"  {name:20} median {median:8.2f}  quickest {min(times):8.2f}  "
            f"own CPU {statistics.median(cpu_ms[name]):7.2f}  x{base / median:.2f}"
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1])
