"""Reading from PostgreSQL into columns: a whole table, and the newest bars of one instrument."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground
from neural_gpu_bus.benchmarks.cases import bench_table
from neural_gpu_bus.benchmarks.cases.addresses import asyncpg_arguments, connectorx_url
from neural_gpu_bus.benchmarks.removal import remove_datasets

LAST_BARS = 10_000
NEWEST_NAME = "ngb_bench/last_bars"
NAMES = ", ".join(bench_table.COLUMNS)
SELECT = "SELECT {} FROM {}"
NEWEST = " WHERE instrument_id = 'I03' ORDER BY ts DESC LIMIT {}"


def whole_table(ground: Ground, closing: ExitStack) -> Case:
    """All rows, six fixed-width columns, in the order in which they come."""
    table = bench_table.ensure(ground)
    entrants = _readers(ground, closing, SELECT.format(NAMES, table))
    return Case(f"Reading {ground.rows:,} rows of 6 columns into columns", entrants)


def last_bars(ground: Ground, closing: ExitStack) -> Case:
    """The newest rows of one instrument through the index; resident columns beside."""
    table = bench_table.ensure(ground)
    statement = SELECT.format(NAMES, table) + NEWEST.format(LAST_BARS)
    closing.callback(remove_datasets, ground.plane, [NEWEST_NAME])
    ground.plane.query(statement, name=NEWEST_NAME)
    loops = 1000

    def resident() -> Any:
        for _ in range(loops):
            frame = ground.plane.get(NEWEST_NAME)
            close = frame["close"]
        assert close.size  # noqa: S101 - the view is used
        return frame

    note = "found by name and viewed; read from the database once, before"
    entrants = [
        *_readers(ground, closing, statement),
        Entrant("direct, resident", resident, bench_table.by_time, factor=1 / loops, note=note),
    ]
    return Case(f"The last {LAST_BARS:,} bars of one instrument", entrants)


def _readers(ground: Ground, closing: ExitStack, statement: str) -> list[Entrant]:
    makers = (_pandas, _asyncpg, _connectorx, _adbc)
    rivals = [make(ground, closing, statement) for make in makers]
    return [*rivals, Entrant("direct", lambda: ground.plane.query(statement), bench_table.by_time)]


def _pandas(ground: Ground, closing: ExitStack, statement: str) -> Entrant:
    import pandas as pd
    import psycopg2
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(ground.dsn, options="-c timezone=UTC"),
    )
    closing.callback(engine.dispose)
    connection = closing.enter_context(engine.connect())
    return Entrant(
        "pandas.read_sql", lambda: pd.read_sql(statement, connection), bench_table.by_time
    )


def _asyncpg(ground: Ground, closing: ExitStack, statement: str) -> Entrant:
    import asyncpg

    runner = closing.enter_context(asyncio.Runner())
    connection = runner.run(asyncpg.connect(**asyncpg_arguments(ground.dsn)))
    closing.callback(lambda: runner.run(connection.close()))

    def rows(records: Any) -> Mapping[str, Any]:
        columns = zip(*records, strict=True)
        return bench_table.by_time(
            dict(zip(bench_table.COLUMNS, map(np.array, columns), strict=True))
        )

    async def fetch() -> Any:
        return await connection.fetch(statement)

    note = "ends with Record objects, not columns"
    return Entrant("asyncpg fetch", lambda: runner.run(fetch()), rows, note=note)


def _connectorx(ground: Ground, closing: ExitStack, statement: str) -> Entrant:  # noqa: ARG001
    import connectorx

    url = connectorx_url(ground.dsn)

    def read() -> Any:
        return connectorx.read_sql(url, statement, return_type="arrow")

    note = "opens a connection in every call; one partition"
    return Entrant("ConnectorX", read, bench_table.by_time, note=note)


def _adbc(ground: Ground, closing: ExitStack, statement: str) -> Entrant:
    from adbc_driver_postgresql import dbapi

    connection = closing.enter_context(dbapi.connect(ground.dsn))
    cursor = closing.enter_context(connection.cursor())

    def read() -> Any:
        cursor.execute(statement)
        return cursor.fetch_arrow_table()

    return Entrant("ADBC to Arrow", read, bench_table.by_time)
