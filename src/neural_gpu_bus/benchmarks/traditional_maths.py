"""The workloads in pandas and numpy as one writes them today; no compiled code of one's own.

Definitions are those of ``docs/explanation/workloads.md``. Each takes the frames as read and the
workload's parameters, and returns the result as a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import ndtr

from neural_gpu_bus.workloads.shape_patterns import FLAT, SHAPES, templates


def portfolio_risk(
    prices: pd.DataFrame, positions: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Historical simulation of today's positions, by desk and in total."""
    wide = prices.pivot(index="date", columns="asset", values="price").sort_index()
    held = positions.pivot_table(
        index="desk", columns="asset", values="quantity", aggfunc="sum", fill_value=0.0
    )
    wide = wide[held.columns].dropna()
    exposure = held * wide.iloc[-1]
    exposure.loc["TOTAL"] = exposure.sum()
    pnl = wide.pct_change().iloc[1:] @ exposure.T
    tail_rows = (1 - confidence) * len(pnl)
    worst = np.sort(pnl.to_numpy(), axis=0)
    at_risk = math.floor(tail_rows + 1e-9)
    whole = math.ceil(tail_rows) - 1
    shortfall = -(worst[:whole].sum(axis=0) + worst[whole] * (tail_rows - whole)) / tail_rows
    return pd.DataFrame(
        {
            "desk": exposure.index,
            "value": exposure.sum(axis=1).to_numpy(),
            "value_at_risk": -worst[at_risk],
            "expected_shortfall": shortfall,
            "observations": len(pnl),
        }
    )


def factor_correlation(factors: pd.DataFrame) -> pd.DataFrame:
    """Pearson's correlation over the rows without holes."""
    matrix = factors.select_dtypes("float").dropna().corr()
    return matrix.rename_axis("factor").reset_index()


def technical_indicators(bars: pd.DataFrame) -> pd.DataFrame:
    """TA-Lib's definitions, with its seeds and warm-up, by rolling and ewm."""
    close = bars["close"]
    fast, slow = _seeded_ema(close, 12, start=26 - 12), _seeded_ema(close, 26)
    macd = fast - slow
    signal = _seeded_ema(macd, 9, start=25)
    macd = macd.where(signal.notna())
    change = close.diff()
    gain, loss = _wilder(change.clip(lower=0), 14), _wilder(-change.clip(upper=0), 14)
    previous = close.shift()
    ranges = pd.concat(
        [
            bars["high"] - bars["low"],
            (bars["high"] - previous).abs(),
            (bars["low"] - previous).abs(),
        ],
        axis=1,
    )
    true_range = ranges.max(axis=1).where(previous.notna())
    middle = close.rolling(20).mean()
    width = 2.0 * close.rolling(20).std(ddof=0)
    return pd.DataFrame(
        {
            "ts": bars["ts"],
            "sma": middle,
            "ema": _seeded_ema(close, 20),
            "rsi": (100 * gain / (gain + loss)).where((gain + loss) != 0, 0.0).where(gain.notna()),
            "macd": macd,
            "macd_signal": signal,
            "macd_histogram": macd - signal,
            "atr": _wilder(true_range, 14),
            "bollinger_upper": middle + width,
            "bollinger_middle": middle,
            "bollinger_lower": middle - width,
        }
    )


def _seeded_ema(values: pd.Series, period: int, start: int = 0) -> pd.Series:
    """EMA whose first value, ``period`` rows after ``start``, is the plain mean of those rows."""
    seeded = values.copy()
    seeded.iloc[: start + period] = np.nan
    seeded.iloc[start + period - 1] = values.iloc[start : start + period].mean()
    return seeded.ewm(span=period, adjust=False).mean()


def _wilder(values: pd.Series, period: int) -> pd.Series:
    """Wilder's smoothing, seeded with the mean of rows 1 to ``period`` (row 0 has no change)."""
    seeded = values.copy()
    seeded.iloc[: period + 1] = np.nan
    seeded.iloc[period] = values.iloc[1 : period + 1].mean()
    return seeded.ewm(alpha=1 / period, adjust=False).mean()


def vpin_trades(trades: pd.DataFrame, bucket_volume: float, window: int) -> pd.DataFrame:
    """Signed volume by the tick rule (or the side given), cut into equal-volume buckets."""
    if "aggressor_side" in trades:
        share = trades["aggressor_side"].eq("BUY").astype(float)
    else:
        step = np.sign(trades["price"].diff()).replace(0, np.nan).ffill()
        share = (step.fillna(0.0) + 1) / 2
    return _buckets(trades["ts"], trades["size"], trades["size"] * share, bucket_volume, window)


def vpin_bars(bars: pd.DataFrame, bucket_volume: float, window: int) -> pd.DataFrame:
    """Bulk volume classification: a bar's share of buys is the normal CDF of its price change."""
    change = bars["close"] - bars["open"]
    share = ndtr(change / change.std())
    return _buckets(bars["ts"], bars["volume"], bars["volume"] * share, bucket_volume, window)


def _buckets(
    ts: pd.Series, volume: pd.Series, bought: pd.Series, bucket_volume: float, window: int
) -> pd.DataFrame:
    """Full buckets only; a trade or bar on an edge is split in proportion."""
    total, buys = np.cumsum(volume.to_numpy()), np.cumsum(bought.to_numpy())
    edges = np.arange(int(total[-1] / bucket_volume + 1e-9) + 1) * bucket_volume
    at_edges = np.interp(edges, np.r_[0.0, total], np.r_[0.0, buys])
    buy_volume = np.diff(at_edges)
    sell_volume = bucket_volume - buy_volume
    imbalance = pd.Series(np.abs(buy_volume - sell_volume))
    last_rows = np.searchsorted(total, edges[1:])
    return pd.DataFrame(
        {
            "bucket": np.arange(len(buy_volume)),
            "ts": ts.iloc[last_rows].array,
            "buy_volume": buy_volume,
            "sell_volume": sell_volume,
            "vpin": imbalance.rolling(window).sum() / (window * bucket_volume),
        }
    )


def shape_patterns(bars: pd.DataFrame) -> pd.DataFrame:
    """Correlation of every window of closes with every shape, windows as a strided matrix."""
    bank = templates()
    windows = np.lib.stride_tricks.sliding_window_view(bars["close"].to_numpy(), len(bank))
    centred = windows - windows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    flat = length[:, 0] == 0
    scores = pd.DataFrame(centred @ bank / np.where(length == 0, 1, length), columns=list(SHAPES))
    scores.insert(0, "ts", bars["ts"].iloc[len(bank) - 1 :].array)
    shapes = scores[list(SHAPES)]
    scores.insert(1, "shape", shapes.idxmax(axis=1).mask(flat, FLAT))
    scores.insert(2, "score", shapes.max(axis=1).mask(flat, 0.0))
    return scores


COMPUTE: dict[str, Callable[..., pd.DataFrame]] = {
    "risk.portfolio": portfolio_risk,
    "factor.correlation": factor_correlation,
    "indicators.technical": technical_indicators,
    "vpin.trades": vpin_trades,
    "vpin.bars": vpin_bars,
    "patterns.shape": shape_patterns,
}
