"""The workloads by the best libraries: TA-Lib, skfolio.measures, Polars, numpy on Arrow buffers.

Each takes Arrow tables as read and the workload's parameters, and returns an Arrow table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import talib
from scipy.special import ndtr
from skfolio.measures import cvar, value_at_risk

from neural_gpu_bus.workloads.shape_patterns import FLAT, SHAPES, templates

Floats = npt.NDArray[np.float64]


def _table(columns: Mapping[str, Any]) -> pa.Table:
    """numpy arrays are columns too, which the stubs of ``pyarrow.table`` do not know."""
    return pa.table(dict(columns))


def portfolio_risk(prices: pa.Table, positions: pa.Table, confidence: float = 0.95) -> pa.Table:
    """Polars pivots, one matrix product makes all scenarios, skfolio measures their tails."""
    held: Any = pl.from_arrow(positions)
    exposures = (
        held.pivot(
            on="asset", index="desk", values="quantity", aggregate_function="sum", sort_columns=True
        )
        .sort("desk")
        .fill_null(0.0)
    )
    assets = exposures.columns[1:]
    long: Any = pl.from_arrow(prices)
    wide = long.pivot(on="asset", index="date", values="price").select("date", *assets)
    matrix: Floats = wide.drop_nulls().sort("date").drop("date").to_numpy()
    exposure = exposures.drop("desk").to_numpy() * matrix[-1]
    exposure = np.vstack([exposure, exposure.sum(axis=0)])
    pnl = (matrix[1:] / matrix[:-1] - 1.0) @ exposure.T
    return _table(
        {
            "desk": pa.array([*exposures["desk"].to_list(), "TOTAL"]),
            "value": exposure.sum(axis=1),
            "value_at_risk": np.asarray(value_at_risk(pnl, beta=confidence)),
            "expected_shortfall": np.asarray(cvar(pnl, beta=confidence)),
            "observations": np.full(len(exposure), len(pnl)),
        }
    )


def factor_correlation(factors: pa.Table) -> pa.Table:
    """numpy.corrcoef over the rows without holes."""
    names = [f.name for f in factors.schema if pa.types.is_floating(f.type)]
    whole = factors.select(names).drop_null()
    matrix = np.corrcoef(np.vstack([whole[name].to_numpy() for name in names]))
    return _table({"factor": pa.array(names), **dict(zip(names, matrix, strict=True))})


def technical_indicators(bars: pa.Table) -> pa.Table:
    """TA-Lib's C code on the Arrow buffers."""
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    return _table(
        {
            "ts": bars["ts"],
            "sma": talib.SMA(close, 20),
            "ema": talib.EMA(close, 20),
            "rsi": talib.RSI(close, 14),
            "macd": macd,
            "macd_signal": signal,
            "macd_histogram": histogram,
            "atr": talib.ATR(high, low, close, 14),
            "bollinger_upper": upper,
            "bollinger_middle": middle,
            "bollinger_lower": lower,
        }
    )


def vpin_trades(trades: pa.Table, bucket_volume: float, window: int) -> pa.Table:
    """Tick rule (or the side given) and equal-volume buckets by cumulative sums."""
    price, size = trades["price"].to_numpy(), trades["size"].to_numpy()
    if "aggressor_side" in trades.column_names:
        side: Any = pl.from_arrow(trades["aggressor_side"])
        share = (side == "BUY").cast(pl.Float64).to_numpy()
    else:
        share = _tick_rule(price)
    return _buckets(trades["ts"], size, size * share, bucket_volume, window)


def _tick_rule(price: Floats) -> Floats:
    """1 where the last change of price was up, 0 where it was down; a half before the first."""
    up = np.full(len(price), 0.5)
    moves = np.flatnonzero(price[1:] != price[:-1]) + 1
    if moves.size:
        runs = np.diff(np.r_[moves, len(price)])
        up[moves[0] :] = np.repeat(price[moves] > price[moves - 1], runs)
    return up


def vpin_bars(bars: pa.Table, bucket_volume: float, window: int) -> pa.Table:
    """Bulk volume classification with scipy's normal CDF."""
    volume = bars["volume"].to_numpy()
    change = bars["close"].to_numpy() - bars["open"].to_numpy()
    share = ndtr(change / change.std(ddof=1))
    return _buckets(bars["ts"], volume, volume * share, bucket_volume, window)


def _buckets(
    ts: Any, volume: Floats, bought: Floats, bucket_volume: float, window: int
) -> pa.Table:
    total, buys = np.cumsum(volume), np.cumsum(bought)
    edges = np.arange(int(total[-1] / bucket_volume + 1e-9) + 1) * bucket_volume
    buy_volume = np.diff(np.interp(edges, np.r_[0.0, total], np.r_[0.0, buys]))
    sell_volume = bucket_volume - buy_volume
    imbalance = np.cumsum(np.r_[0.0, np.abs(buy_volume - sell_volume)])
    vpin = np.full(len(buy_volume), np.nan)
    vpin[window - 1 :] = (imbalance[window:] - imbalance[:-window]) / (window * bucket_volume)
    return _table(
        {
            "bucket": np.arange(len(buy_volume)),
            "ts": ts.take(np.searchsorted(total, edges[1:])),
            "buy_volume": buy_volume,
            "sell_volume": sell_volume,
            "vpin": vpin,
        }
    )


def shape_patterns(bars: pa.Table) -> pa.Table:
    """One matrix product for all windows and shapes."""
    bank, close = templates(), bars["close"].to_numpy()
    windows = np.lib.stride_tricks.sliding_window_view(close, len(bank))
    moved = windows - windows[:, :1]
    centred = moved - moved.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    flat = length == 0
    scores = (centred @ bank) / np.where(flat, 1.0, length)[:, None]
    names: Any = pa.array([*SHAPES, FLAT])
    best = np.where(flat, len(SHAPES), scores.argmax(axis=1))
    columns: dict[str, Any] = {
        "ts": bars["ts"].slice(len(bank) - 1),
        "shape": names.take(best),
        "score": np.where(flat, 0.0, scores.max(axis=1)),
    }
    return _table(columns | {name: scores[:, place] for place, name in enumerate(SHAPES)})


COMPUTE: dict[str, Callable[..., pa.Table]] = {
    "risk.portfolio": portfolio_risk,
    "factor.correlation": factor_correlation,
    "indicators.technical": technical_indicators,
    "vpin.trades": vpin_trades,
    "vpin.bars": vpin_bars,
    "patterns.shape": shape_patterns,
}
