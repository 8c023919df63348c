"""Daily prices and factors that ship inside skfolio, read from its folder without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from neural_gpu_bus.benchmarks.data.sources import SourceTables
from neural_gpu_bus.errors import MissingDependencyError

STOCKS, FACTOR_FUNDS, INDEX = (
    "sp500_dataset.csv.gz",
    "factors_dataset.csv.gz",
    "sp500_index.csv.gz",
)

NOTES = (
    "Daily prices: 20 US stocks, five factor funds and the S&P 500 index, 1990 to 2022, as shipped "
    "with skfolio (BSD-3-Clause). They are adjusted prices of companies that survived, so risk "
    "looks smaller than it was.",
    "Factors: daily returns of the funds MTUM, QUAL, SIZE, USMV and VLUE, and of the S&P 500 index "
    "as the market, 2014 to 2022.",
)


def folder() -> Path:
    """Where skfolio keeps its data sets; raises MissingDependencyError when it is not installed."""
    found = importlib.util.find_spec("skfolio")
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "the demo's daily prices ship with skfolio, which is not installed",
            hint="pip install 'neural-gpu-bus[demo]', or give your own files with --data DIR",
            library="skfolio",
            extra="demo",
        )
    return Path(found.origin).parent / "datasets" / "data"


def source_files() -> list[Path]:
    """The files that ``read`` uses."""
    return [folder() / name for name in (STOCKS, FACTOR_FUNDS, INDEX)]


def read() -> SourceTables:
    """Prices in long form and factor returns in wide form."""
    stocks, funds, index = (csv.read_csv(path) for path in source_files())
    return SourceTables(
        tables={
            "daily_prices": pa.concat_tables(
                [
                    long_prices(stocks, panel="us_stocks_20", field="adj_close"),
                    long_prices(funds, panel="factor_etf_5", field="adj_close"),
                    long_prices(index, panel="sp500_index", field="close"),
                ]
            ),
            "factors": factor_returns(funds, index),
        },
        notes=NOTES,
    )


def long_prices(wide: pa.Table, *, panel: str, field: str) -> pa.Table:
    """One row a date and asset; a missing price has no row. ``wide``: Date, then assets."""
    assets = wide.column_names[1:]
    days = wide.num_rows
    dates = wide["Date"].cast(pa.date32()).combine_chunks().to_numpy(zero_copy_only=False)
    prices = np.column_stack([wide[asset].cast(pa.float64()).to_numpy() for asset in assets])
    rows = days * len(assets)
    long = pa.table(
        {
            "date": pa.array(np.repeat(dates, len(assets)), pa.date32()),
            "asset": pa.array(np.tile(np.array(assets, dtype=object), days), pa.string()),
            "price": pa.array(prices.ravel(), from_pandas=True),
            "panel": pa.array([panel] * rows, pa.string()),
            "field": pa.array([field] * rows, pa.string()),
            "currency": pa.array(["USD"] * rows, pa.string()),
            "source": pa.array(["skfolio"] * rows, pa.string()),
        }
    )
    return long.filter(pc.is_valid(long["price"]))


def factor_returns(funds: pa.Table, index: pa.Table) -> pa.Table:
    """Simple daily returns, ``market`` first; only dates that both tables have, in order."""
    market = index.rename_columns(["Date", "market"])
    joined = market.join(funds, keys="Date", join_type="inner").sort_by("Date")
    columns: dict[str, Any] = {"date": joined["Date"].cast(pa.date32()).combine_chunks().slice(1)}
    for name in joined.column_names[1:]:
        prices = joined[name].to_numpy()
        columns[name.lower()] = pa.array(prices[1:] / prices[:-1] - 1.0)
    return pa.table(columns)
