"""Sources to files ready to load, kept in the home's cache: a second demo only reads one record.

Bars are built from the trades where the source has none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from neural_gpu_bus.benchmarks.data import emini_trades, folder, skfolio_prices
from neural_gpu_bus.benchmarks.data.sources import SourceTables
from neural_gpu_bus.errors import BadParameterError

#: Goes into the fingerprint: prepared files of another version are made again.
PREPARATION = "2"
RECORD = "data.json"

#: Schema of the built-in data; a folder's has the start of its hash behind it. Tables in it are
#: replaced and dropped, also in a database that is somebody's own: a name that nobody else uses.
SCHEMA = "ngb_demo"

INTERVALS_NS = {"1-SECOND-LAST": 1_000_000_000, "1-MINUTE-LAST": 60_000_000_000}

#: The volume clock's bars by preference: the papers on VPIN use minutes.
VOLUME_BAR_TYPE = "1-MINUTE-LAST"
VOLUME_BARS_MIN = 500


class BarSeries(msgspec.Struct, frozen=True):
    """One series of the table ``bars``."""

    instrument_id: str
    bar_type: str
    rows: int
    #: Sum over all bars; 0 where the source does not know it.
    volume: float


class DemoData(msgspec.Struct, frozen=True):
    """What was prepared, and where it goes."""

    #: Schema of the tables in PostgreSQL.
    schema: str
    #: Table to its file.
    files: dict[str, str]
    notes: list[str]
    #: Table that is not there -> why.
    missing: dict[str, str]
    price_panel: str = ""
    price_assets: list[str] = []
    #: Longest series; None without bars.
    bars: BarSeries | None = None
    #: Series with volume; None where no bars know theirs.
    volume_bars: BarSeries | None = None
    trades_instrument: str = ""
    trades_rows: int = 0
    trades_volume: float = 0.0
    #: True when every trade says who was the aggressor.
    trades_have_side: bool = False


def prepare(cache: Path, data: Path | None, told: Callable[[str], None]) -> DemoData:
    """Built-in data, or the folder ``data``; made once and then taken from the cache.

    Raises what the sources raise; BadParameterError when ``data`` is no folder.
    """
    if data is not None and not data.is_dir():
        raise BadParameterError(
            f"{str(data)!r} is no folder", hint="--data takes a folder of files", parameter="data"
        )
    if data is None:
        wheel = emini_trades.wheel(cache / "downloads", told)
        fingerprint = _fingerprint([*skfolio_prices.source_files(), wheel])
        return _prepared(cache / fingerprint, SCHEMA, partial(_built_in, wheel), told)
    fingerprint = _fingerprint(_files_below(data))
    schema = f"{SCHEMA}_{fingerprint[:8]}"
    return _prepared(cache / fingerprint, schema, partial(folder.read, data), told)


def _prepared(
    target: Path, schema: str, read: Callable[[], SourceTables], told: Callable[[str], None]
) -> DemoData:
    """What lies in ``target``; read and put there where nothing does yet."""
    if not (target / RECORD).exists():
        told("preparing the data")
        _write(with_bars(read()), target, schema)
    return msgspec.json.decode((target / RECORD).read_bytes(), type=DemoData)


def _built_in(wheel: Path) -> SourceTables:
    prices, trades = skfolio_prices.read(), emini_trades.read(wheel)
    return SourceTables(
        tables={**prices.tables, **trades.tables}, notes=(*prices.notes, *trades.notes)
    )


def _files_below(data: Path) -> list[Path]:
    return sorted(path for path in data.iterdir() if path.is_file())


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(PREPARATION.encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def with_bars(source: SourceTables) -> SourceTables:
    """The same with bars built from the trades, where it has trades and no bars."""
    trades = source.tables.get("trades")
    if "bars" in source.tables or trades is None:
        return source
    instrument = trades["instrument_id"][0].as_py()
    parts = [bars_of(trades, kind, interval) for kind, interval in INTERVALS_NS.items()]
    counted = " and ".join(
        f"{part.num_rows:,} {kind}" for part, kind in zip(parts, INTERVALS_NS, strict=True)
    )
    return SourceTables(
        tables={**source.tables, "bars": pa.concat_tables(parts)},
        notes=(*source.notes, f"Bars: {counted} bars of {instrument}, built from its trades."),
        missing={name: why for name, why in source.missing.items() if name != "bars"},
    )


def bars_of(trades: pa.Table, bar_type: str, interval_ns: int) -> pa.Table:
    """Bars of one interval, stamped with their open; an interval without trades has no bar."""
    from neural_gpu_bus.workloads.time_bars import build_time_bars

    ts_ns = trades["ts"].cast(pa.timestamp("ns", tz="UTC")).to_numpy().astype(np.int64)
    built = build_time_bars(
        ts_ns, trades["price"].to_numpy(), trades["size"].to_numpy(), interval_ns
    )
    rows = len(built["ts"])
    ts_us = np.asarray(built["ts"]).astype(np.int64) // 1000
    prices = {name: pa.array(built[name]) for name in ("open", "high", "low", "close", "volume")}
    return pa.table(
        {
            "instrument_id": pa.array([trades["instrument_id"][0].as_py()] * rows, pa.string()),
            "bar_type": pa.array([bar_type] * rows, pa.string()),
            "ts": pa.array(ts_us).cast(pa.timestamp("us", tz="UTC")),
            **prices,
        }
    )


def _write(source: SourceTables, target: Path, schema: str) -> None:
    """All files and the record appear at once: a folder is renamed into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=target.parent))
    try:
        for name, table in source.tables.items():
            pq.write_table(table, draft / f"{name}.parquet", compression="zstd")
        record = describe(source, schema, target)
        (draft / RECORD).write_bytes(msgspec.json.encode(record))
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)  # noqa: PTH105 - a folder onto a folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def describe(source: SourceTables, schema: str, target: Path) -> DemoData:
    """The record of these tables, once their files lie in ``target``."""
    facts: dict[str, Any] = {}
    if (prices := source.tables.get("daily_prices")) is not None:
        panel = prices["panel"][0].as_py()
        kept = prices.filter(pc.equal(prices["panel"], panel))
        facts |= {
            "price_panel": panel,
            "price_assets": sorted(map(str, pc.unique(kept["asset"]).to_pylist())),
        }
    if (trades := source.tables.get("trades")) is not None:
        facts |= {
            "trades_instrument": trades["instrument_id"][0].as_py(),
            "trades_rows": trades.num_rows,
            "trades_volume": float(pc.sum(trades["size"]).as_py()),
            "trades_have_side": "aggressor_side" in trades.column_names,
        }
    if (bars := source.tables.get("bars")) is not None:
        series = bar_series(bars)
        facts |= {"bars": series[0], "volume_bars": volume_series(series)}
    return DemoData(
        schema=schema,
        files={name: str(target / f"{name}.parquet") for name in source.tables},
        notes=list(source.notes),
        missing=dict(source.missing),
        **facts,
    )


def bar_series(bars: pa.Table) -> list[BarSeries]:
    """Series of the table, the longest first."""
    counted = bars.group_by(["instrument_id", "bar_type"]).aggregate(
        [("close", "count"), ("volume", "sum")]
    )
    found = [
        BarSeries(
            row["instrument_id"], row["bar_type"], row["close_count"], row["volume_sum"] or 0.0
        )
        for row in counted.to_pylist()
    ]
    return sorted(found, key=lambda series: -series.rows)


def volume_series(series: list[BarSeries]) -> BarSeries | None:
    """Minutes where there are enough of them, else the longest that know their volume."""
    known = [one for one in series if one.volume > 0]
    minutes = [
        one for one in known if one.bar_type == VOLUME_BAR_TYPE and one.rows >= VOLUME_BARS_MIN
    ]
    return next(iter(minutes + known), None)
