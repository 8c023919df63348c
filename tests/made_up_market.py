"""A small made-up market as files that ``--data`` takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

START_US = 1_700_000_000_000_000
ALL = ("daily_prices", "factors", "trades", "bars")


def write_market(folder: Path, seed: int = 7, only: Sequence[str] = ALL) -> None:
    """One Parquet file a table."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    makers = {"daily_prices": prices, "factors": factors, "trades": trades, "bars": bars}
    for name in only:
        pq.write_table(makers[name](random), folder / f"{name}.parquet")


def prices(random: np.random.Generator, days: int = 300, assets: int = 6) -> pa.Table:
    dates = [dt.date(2020, 1, 1) + dt.timedelta(days=day) for day in range(days)]
    walks = 100 * np.exp(np.cumsum(random.normal(0, 0.01, (days, assets)), axis=0))
    return pa.table(
        {
            "date": pa.array([date for date in dates for _ in range(assets)]),
            "asset": [f"A{number}" for _ in range(days) for number in range(assets)],
            "price": walks.ravel(),
        }
    )


def factors(random: np.random.Generator, days: int = 300) -> pa.Table:
    dates = [dt.date(2020, 1, 1) + dt.timedelta(days=day) for day in range(days)]
    columns = {name: random.normal(0, 0.01, days) for name in ("mkt", "smb", "hml")}
    return pa.table({"date": pa.array(dates), **columns})


def trades(random: np.random.Generator, rows: int = 20_000) -> pa.Table:
    ts_us = START_US + np.cumsum(random.integers(0, 400_000, rows))
    return pa.table(
        {
            "instrument_id": ["X.TEST"] * rows,
            "ts": pa.array(ts_us).cast(pa.timestamp("us", tz="UTC")),
            "price": 100 + np.cumsum(random.integers(-1, 2, rows)) * 0.25,
            "size": random.integers(1, 20, rows).astype(float),
        }
    )


def bars(random: np.random.Generator, rows: int = 1500) -> pa.Table:
    close = 100 + np.cumsum(random.normal(0, 0.1, rows))
    opened = close + random.normal(0, 0.1, rows)
    return pa.table(
        {
            "instrument_id": ["X.TEST"] * rows,
            "bar_type": ["1-MINUTE-LAST"] * rows,
            "ts": pa.array(START_US + 60_000_000 * np.arange(rows)).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "open": opened,
            "high": np.maximum(opened, close) + 0.1,
            "low": np.minimum(opened, close) - 0.1,
            "close": close,
            "volume": random.integers(1, 500, rows).astype(float),
        }
    )
