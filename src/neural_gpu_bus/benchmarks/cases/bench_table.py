"""The table that the cases read: made-up bars of ten instruments, the same for every run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from neural_gpu_bus.benchmarks.case import Ground

#: Tables in it are dropped, also in a database that is somebody's own: nobody else uses the name.
SCHEMA = "ngb_bench"
INSTRUMENTS = 10
SEED = 7
START_US = 1_700_000_000_000_000
STEP_US = 60_000_000

#: What the cases read, in the order of the statement.
COLUMNS = ("ts", "open", "high", "low", "close", "volume")


def ensure(ground: Ground) -> str:
    """Name of the table, made where it is not there yet, vacuumed so that no read does it."""
    table = table_name(ground)
    ground.at_end.callback(remove, ground)
    with psycopg.connect(ground.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
        if found is None or found[0] is None:
            key = ("instrument_id", "ts")
            ground.plane.store(table, made_up_bars(ground.rows), key=key)
            connection.execute(f"VACUUM (ANALYZE) {table}")
    return table


def remove(ground: Ground) -> None:
    """The table, which is made again in seconds, and the schema unless somebody else uses it."""
    with psycopg.connect(ground.dsn, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table_name(ground)}")
        with suppress(psycopg.errors.DependentObjectsStillExist):
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}")


def table_name(ground: Ground) -> str:
    """One table for each number of rows."""
    return f"{SCHEMA}.bars_{ground.rows}"


def made_up_bars(rows: int) -> pa.Table:
    """Random walks; every row has a time of its own, so that rows can be put in one order."""
    random = np.random.default_rng(SEED)
    place = np.arange(rows)
    ts_us = START_US + place // INSTRUMENTS * STEP_US + place % INSTRUMENTS
    close = 100.0 + np.cumsum(random.normal(0, 0.01, rows))
    opened = close + random.normal(0, 0.01, rows)
    names = np.array([f"I{number:02d}" for number in range(INSTRUMENTS)], dtype=object)
    return pa.table(
        {
            "instrument_id": pa.array(names[place % INSTRUMENTS], pa.string()),
            "ts": pa.array(ts_us).cast(pa.timestamp("us", tz="UTC")),
            "open": pa.array(opened),
            "high": pa.array(np.maximum(opened, close) + 0.01),
            "low": pa.array(np.minimum(opened, close) - 0.01),
            "close": pa.array(close),
            "volume": pa.array(random.integers(1, 1000, rows).astype(np.float64)),
        }
    )


def by_time(columns: Any) -> Mapping[str, Any]:
    """Columns of a frame, table or mapping as numpy arrays, in the order of their time."""
    arrays = in_microseconds(columns)
    order = np.argsort(arrays["ts"], kind="stable")
    return {name: values[order] for name, values in arrays.items()}


def in_microseconds(columns: Any) -> dict[str, Any]:
    """Columns as numpy arrays, the time as int64 microseconds since 1970 UTC."""
    arrays: dict[str, Any] = {name: np.asarray(columns[name]) for name in COLUMNS}
    if arrays["ts"].dtype == object:
        naive = [moment.replace(tzinfo=None) for moment in arrays["ts"]]
        arrays["ts"] = np.array(naive, dtype="datetime64[us]")
    arrays["ts"] = arrays["ts"].astype("datetime64[us]").astype(np.int64)
    return arrays
