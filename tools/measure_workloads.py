"""Measure each compiled kernel against the package that a user would pick; equality comes first.

    python tools/measure_workloads.py

Made-up data of a fixed seed. Both sides get the same arrays, ready in memory, and run in turns;
the best of 25 runs counts. A side that differs from the other is an error, not a row.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import talib
from skfolio.measures import cvar, value_at_risk

from neural_gpu_bus.workloads import build_time_bars, check_params, find
from neural_gpu_bus.workloads.shape_patterns import WINDOW, templates

SEED, REPEATS = 20_261_122, 25
RNG = np.random.default_rng(SEED)
NO_ZONE = np.array([""], dtype=object)


def kernel(name: str, arrays: Mapping[str, Any], **params: Any) -> Callable[[], dict[str, Any]]:
    """The workload's cpu kernel on those arrays."""
    workload = find(name)
    checked = check_params(workload, params)
    return lambda: workload.kernels.cpu(arrays, checked)


def report(what: str, rival: str, mine: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """One line of the table: the fastest of alternating runs, after one of each to warm up."""
    best_ms = {mine: math.inf, theirs: math.inf}
    for repeat in range(REPEATS + 1):
        for function in (mine, theirs):
            start = time.perf_counter()
            function()
            spent_ms = (time.perf_counter() - start) * 1e3
            if repeat:
                best_ms[function] = min(spent_ms, best_ms[function])
    own_ms, rival_ms = best_ms[mine], best_ms[theirs]
    print(f"| {what} | {own_ms:.2f} ms | {rival}: {rival_ms:.2f} ms | {rival_ms / own_ms:.1f} |")


def portfolio_risk() -> None:
    """20 assets, 8,313 dates, 5 desks and the total."""
    price = np.exp(np.cumsum(RNG.normal(0, 0.01, (8313, 20)), axis=0))
    exposure = RNG.normal(size=(20, 6)) * 1e6
    arrays = {"price": price, "exposure": exposure, "desk": NO_ZONE, "dates_left_out": NO_ZONE}
    mine = kernel("risk.portfolio", arrays)

    def theirs() -> Any:
        pnl = (price[1:] / price[:-1] - 1) @ exposure
        return value_at_risk(pnl), cvar(pnl)

    np.testing.assert_allclose(mine()["value_at_risk"], theirs()[0], rtol=1e-10)
    np.testing.assert_allclose(mine()["expected_shortfall"], theirs()[1], rtol=1e-10)
    report("risk.portfolio, 8,313 dates x 20 assets, 6 desks", "numpy + skfolio", mine, theirs)


def factor_correlation(factors: int, rows: int) -> None:
    """Independent factors."""
    values = RNG.normal(size=(factors, rows))
    mine = kernel("factor.correlation", {"values": values, "factor": NO_ZONE})
    np.testing.assert_allclose(mine()["correlation"], np.corrcoef(values), rtol=1e-9, atol=1e-12)
    what = f"factor.correlation, {rows:,} rows x {factors} factors"
    report(what, "numpy.corrcoef", mine, lambda: np.corrcoef(values))


def technical_indicators(bars: int) -> None:
    """A random walk on a price grid."""
    close = 1600 + 0.25 * RNG.integers(-1, 2, bars).cumsum()
    high, low = close + RNG.random(bars), close - RNG.random(bars)
    arrays = {"close": close, "high": high, "low": low, "ts": close, "ts_zone": NO_ZONE}
    mine = kernel("indicators.technical", arrays)

    def theirs() -> Any:
        return (
            talib.SMA(close, 20),
            talib.EMA(close, 20),
            talib.RSI(close, 14),
            *talib.MACD(close, 12, 26, 9),
            talib.ATR(high, low, close, 14),
            *talib.BBANDS(close, 20, 2.0, 2.0),
        )

    for got, expected in zip(list(mine().values())[2:], theirs(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-8)
    report(f"indicators.technical, {bars:,} bars", "TA-Lib", mine, theirs)


def vpin_trades() -> None:
    """A grid walk of prices; numpy by cumulative sums and interpolation."""
    trades, bucket_volume, window = 400_000, 2000.0, 50
    price = 1600 + 0.25 * RNG.integers(-1, 2, trades).cumsum()
    volume = RNG.integers(1, 9, trades).astype(float)
    buckets = int(volume.sum() / bucket_volume + 1e-9)
    arrays = {
        "price": price,
        "volume": volume,
        "side": np.zeros(trades, dtype=np.int8),
        "bucket_volume": np.array([bucket_volume]),
        "buckets": np.array([buckets]),
        "ts": np.arange(trades),
        "ts_zone": NO_ZONE,
    }
    mine = kernel("vpin.trades", arrays, window=window)

    def theirs() -> Any:
        step = np.sign(np.diff(price, prepend=price[0]))
        last = np.maximum.accumulate(np.where(step != 0, np.arange(trades), 0))
        share = 0.5 + 0.5 * step[last]
        ends = bucket_volume * np.arange(1, buckets + 1)
        bought = np.interp(ends, np.cumsum(volume), np.cumsum(volume * share))
        imbalance = np.abs(bucket_volume - 2 * np.diff(bought, prepend=0))
        total = np.cumsum(imbalance)
        total[window:] -= total[:-window].copy()
        return total[window - 1 :] / (window * bucket_volume)

    np.testing.assert_allclose(mine()["vpin"][window - 1 :], theirs(), rtol=1e-9)
    report(f"vpin.trades, {trades:,} trades", "numpy", mine, theirs)


def vpin_bars() -> None:
    """Bulk classification of 100,000 bars, the shares by scipy."""
    from scipy.special import ndtr

    change, volume = RNG.normal(size=100_000), np.full(100_000, 7.0)
    arrays = {
        "change": change,
        "volume": volume,
        "bucket_volume": np.array([100.0]),
        "buckets": np.array([7000]),
        "ts": np.arange(100_000),
        "ts_zone": NO_ZONE,
    }
    mine = kernel("vpin.bars", arrays)

    def theirs() -> Any:
        bought = np.cumsum(volume * ndtr(change / change.std(ddof=1)))
        ends = np.interp(100.0 * np.arange(1, 7001), np.cumsum(volume), bought)
        total = np.cumsum(np.abs(100.0 - 2 * np.diff(ends, prepend=0)))
        total[50:] -= total[:-50].copy()
        return total[49:] / 5000

    np.testing.assert_allclose(mine()["vpin"][49:], theirs(), rtol=1e-9)
    report("vpin.bars, 100,000 bars", "numpy + scipy", mine, theirs)


def shape_patterns(bars: int) -> None:
    """numpy: every window laid out, normalised, and multiplied with the bank."""
    close = 1600 + 0.25 * RNG.integers(-1, 2, bars).cumsum()
    mine = kernel("patterns.shape", {"close": close, "ts": close, "ts_zone": NO_ZONE})

    def theirs() -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(close, WINDOW)
        centred = windows - windows.mean(axis=1, keepdims=True)
        length = np.sqrt((centred * centred).sum(axis=1, keepdims=True))
        scores = centred @ templates() / np.where(length > 0, length, 1.0)
        return scores, scores.argmax(axis=1)

    np.testing.assert_allclose(mine()["scores"], theirs()[0], atol=1e-9)
    report(f"patterns.shape, {bars:,} bars", "numpy", mine, theirs)


def time_bars() -> None:
    """Minutes of 400,000 trades, pandas with its index ready."""
    import pandas as pd

    ts = np.sort(RNG.integers(0, 86_400_000_000_000, 400_000))
    price, size = RNG.random(400_000), RNG.random(400_000)
    frame = pd.DataFrame({"price": price, "size": size}, index=pd.DatetimeIndex(ts))

    def mine() -> Any:
        return build_time_bars(ts, price, size, 60_000_000_000)

    def theirs() -> Any:
        minutes = frame.resample("60s")
        return minutes["price"].ohlc(), minutes["size"].sum()

    np.testing.assert_array_equal(mine()["high"], theirs()[0]["high"])
    np.testing.assert_allclose(mine()["volume"], theirs()[1])
    report("time bars, 400,000 trades to minutes", "pandas", mine, theirs)


def main() -> int:
    """Print the table."""
    print(f"seed {SEED}, best of {REPEATS}\n")
    print("| kernel | ours | rival | times faster |\n|---|---|---|---|")
    portfolio_risk()
    factor_correlation(6, 25_000)
    factor_correlation(431, 2_517)
    for bars in (10_000, 1_000_000):
        technical_indicators(bars)
    vpin_trades()
    vpin_bars()
    for bars in (10_000, 100_000):
        shape_patterns(bars)
    time_bars()
    return 0


if __name__ == "__main__":
    sys.exit(main())
