"""Writing columns into an empty PostgreSQL table, committed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground
from neural_gpu_bus.benchmarks.cases import bench_table
from neural_gpu_bus.benchmarks.cases.addresses import asyncpg_arguments

NAMES = ("ts", "open", "high", "low", "close")
READ_BACK = "SELECT extract(epoch FROM ts)::float8, {} FROM {} ORDER BY 1"
#: executemany gets a tenth of the rows, and its time counts ten times: it would hold up the rest.
SHARE = 10


class Target:
    """The table that everybody writes to, emptied before each run."""

    def __init__(self, ground: Ground, closing: ExitStack) -> None:
        ground.at_end.callback(bench_table.remove, ground)
        self.connection = closing.enter_context(psycopg.connect(ground.dsn, autocommit=True))
        self.table = f"{bench_table.SCHEMA}.written"
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {bench_table.SCHEMA}")
        self.connection.execute(f"DROP TABLE IF EXISTS {self.table}")
        floats = ", ".join(f"{name} float8 NOT NULL" for name in NAMES[1:])
        self.connection.execute(f"CREATE TABLE {self.table} (ts timestamptz NOT NULL, {floats})")
        closing.callback(self.connection.execute, f"DROP TABLE IF EXISTS {self.table}")

    def empty(self) -> None:
        """Untimed."""
        self.connection.execute(f"TRUNCATE {self.table}")

    def rows(self, _result: object) -> Mapping[str, Any]:
        """What stands in the table, by time."""
        with self.connection.cursor(binary=True) as cursor:
            cursor.execute(READ_BACK.format(", ".join(NAMES[1:]), self.table))
            columns = zip(*cursor.fetchall(), strict=True)
        return dict(zip(NAMES, map(np.array, columns), strict=True))


def bulk_write(ground: Ground, closing: ExitStack) -> Case:
    """100,000 rows of a time and four floats; the rivals start from their own best form."""
    rows = max(ground.rows // 10, SHARE)
    table = bench_table.made_up_bars(rows).select(list(NAMES))
    target = Target(ground, closing)
    entrants = [
        _executemany(target, table),
        _asyncpg(ground, closing, target, table),
        _adbc(ground, closing, target, table),
        Entrant(
            "direct",
            lambda: ground.plane.store(target.table, table),
            target.rows,
            target.empty,
            note="from Arrow columns",
        ),
    ]
    return Case(f"Writing {rows:,} rows of 5 columns, committed", entrants)


def _executemany(target: Target, table: pa.Table) -> Entrant:
    records = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    part = records[: len(records) // SHARE]
    places = ", ".join(["%s"] * len(NAMES))
    statement = f"INSERT INTO {target.table} VALUES ({places})"  # noqa: S608

    def write() -> None:
        with target.connection.transaction(), target.connection.cursor() as cursor:
            cursor.executemany(statement, part)

    note = f"psycopg 3, {len(part):,} rows, time scaled by {SHARE}"
    return Entrant("executemany", write, None, target.empty, float(SHARE), note)


def _asyncpg(ground: Ground, closing: ExitStack, target: Target, table: pa.Table) -> Entrant:
    import asyncpg

    records = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    runner = closing.enter_context(asyncio.Runner())
    connection = runner.run(asyncpg.connect(**asyncpg_arguments(ground.dsn)))
    closing.callback(lambda: runner.run(connection.close()))
    schema, _, name = target.table.partition(".")

    async def copy() -> Any:
        return await connection.copy_records_to_table(name, records=records, schema_name=schema)

    note = "from ready-made tuples"
    return Entrant(
        "asyncpg copy_records", lambda: runner.run(copy()), target.rows, target.empty, note=note
    )


def _adbc(ground: Ground, closing: ExitStack, target: Target, table: pa.Table) -> Entrant:
    from adbc_driver_postgresql import dbapi

    connection = closing.enter_context(dbapi.connect(ground.dsn))
    cursor = closing.enter_context(connection.cursor())
    schema, _, name = target.table.partition(".")

    def ingest() -> None:
        cursor.adbc_ingest(name, table, mode="append", db_schema_name=schema)
        connection.commit()

    return Entrant("ADBC ingest", ingest, target.rows, target.empty, note="from Arrow columns")
