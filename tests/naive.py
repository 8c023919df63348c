"""Plain twins of the workloads: slow, obvious loops, written from the definitions."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any


def portfolio_risk(
    prices: Sequence[tuple[Any, str, float]],
    positions: Sequence[tuple[str, str, float]],
    confidence: float = 0.95,
    window_days: int | None = None,
) -> dict[str, tuple[float, float, float, int]]:
    """Desk -> value, value at risk, expected shortfall, scenarios."""
    held = sorted({asset for _, asset, _ in positions})
    by_date: dict[Any, dict[str, float]] = defaultdict(dict)
    for date, asset, price in prices:
        by_date[date][asset] = price
    days = [by_date[date] for date in sorted(by_date) if set(held) <= set(by_date[date])]
    if window_days is not None:
        days = days[-window_days - 1 :]
    result = {}
    for desk in [*sorted({desk for desk, _, _ in positions}), "TOTAL"]:
        worth: dict[str, float] = defaultdict(float)
        for owner, asset, quantity in positions:
            if desk in (owner, "TOTAL"):
                worth[asset] += quantity * days[-1][asset]
        losses = sorted(
            (
                -sum(worth[asset] * (new[asset] / old[asset] - 1) for asset in worth)
                for old, new in itertools.pairwise(days)
            ),
            reverse=True,
        )
        k = (1 - confidence) * len(losses)
        at_risk = losses[min(len(losses) - 1, math.floor(k + 1e-9))]
        whole = max(0, math.ceil(k) - 1)
        shortfall = (sum(losses[:whole]) + (k - whole) * losses[whole]) / k
        result[desk] = (sum(worth.values()), at_risk, shortfall, len(losses))
    return result


def correlation(columns: Sequence[Sequence[float]]) -> list[list[float]]:
    """Pearson's correlation of columns, rows with a NaN left out; NaN for a constant column."""
    rows = [row for row in zip(*columns, strict=True) if not any(math.isnan(x) for x in row)]
    complete = list(zip(*rows, strict=True))
    return [[_pearson(a, b) for b in complete] for a in complete]


def _pearson(a: Sequence[float], b: Sequence[float]) -> float:
    if len(set(a)) == 1 or len(set(b)) == 1:
        return math.nan
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    covariance = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a = math.fsum((x - mean_a) ** 2 for x in a)
    square_b = math.fsum((y - mean_b) ** 2 for y in b)
    return covariance / math.sqrt(square_a) / math.sqrt(square_b)


def time_bars(
    ts_ns: Sequence[int], price: Sequence[float], size: Sequence[float], interval_ns: int
) -> list[tuple[int, float, float, float, float, float]]:
    """Start, open, high, low, close, volume of each interval with a trade."""
    groups: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for when, paid, amount in zip(ts_ns, price, size, strict=True):
        groups[when // interval_ns * interval_ns].append((paid, amount))
    bars = []
    for start in sorted(groups):
        paid_in_order = [paid for paid, _ in groups[start]]
        volume = sum(amount for _, amount in groups[start])
        high, low = max(paid_in_order), min(paid_in_order)
        bars.append((start, paid_in_order[0], high, low, paid_in_order[-1], volume))
    return bars


def indicators(
    high: Sequence[float],
    low: Sequence[float],
    close: Sequence[float],
    *,
    sma: int,
    ema: int,
    rsi: int,
    macd_fast: int,
    macd_slow: int,
    macd_signal: int,
    atr: int,
    bollinger: int,
    bollinger_width: float,
) -> dict[str, list[float]]:
    """Every indicator of every bar, NaN before it is defined."""
    bars = len(close)
    change = [b - a for a, b in itertools.pairwise(close)]
    ranges = [
        max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
        for i in range(1, bars)
    ]
    gain = _wilder([max(step, 0.0) for step in change], rsi)
    loss = _wilder([max(-step, 0.0) for step in change], rsi)
    strength = [
        100 * up / (up + down) if up + down else 0.0 * up
        for up, down in zip(gain, loss, strict=True)
    ]
    slow = _exponential(close, macd_slow)
    late = close[macd_slow - macd_fast :] if bars >= macd_slow else []
    fast = [math.nan] * (macd_slow - macd_fast) + _exponential(late, macd_fast)
    line = [a - b for a, b in zip(fast, slow, strict=True)] if bars >= macd_slow else []
    signal = [math.nan] * (macd_slow - 1) + _exponential(line[macd_slow - 1 :], macd_signal)
    signal = signal[:bars]
    shown = min(bars, macd_slow + macd_signal - 2)
    hidden = [math.nan] * shown
    middle = _means(close, bollinger)
    spread = [
        bollinger_width * math.sqrt(sum((x - mean) ** 2 for x in window) / bollinger)
        for window, mean in zip(_windows(close, bollinger), middle[bollinger - 1 :], strict=True)
    ]
    spread = [math.nan] * (bars - len(spread)) + spread
    return {
        "sma": _means(close, sma),
        "ema": _exponential(close, ema),
        "rsi": [math.nan, *strength],
        "macd": hidden + list(line[shown:]),
        "macd_signal": hidden + signal[shown:],
        "macd_histogram": hidden
        + [a - b for a, b in zip(line[shown:], signal[shown:], strict=True)],
        "atr": [math.nan, *_wilder(ranges, atr)],
        "bollinger_upper": [a + b for a, b in zip(middle, spread, strict=True)],
        "bollinger_middle": middle,
        "bollinger_lower": [a - b for a, b in zip(middle, spread, strict=True)],
    }


def _windows(values: Sequence[float], period: int) -> list[Sequence[float]]:
    return [values[i - period + 1 : i + 1] for i in range(period - 1, len(values))]


def _means(values: Sequence[float], period: int) -> list[float]:
    means = [sum(window) / period for window in _windows(values, period)]
    return [math.nan] * (len(values) - len(means)) + means


def _smoothed(values: Sequence[float], period: int, weight: float) -> list[float]:
    out = [math.nan] * min(period - 1, len(values))
    if len(values) >= period:
        out.append(sum(values[:period]) / period)
        for value in values[period:]:
            out.append(out[-1] + (value - out[-1]) * weight)
    return out


def _exponential(values: Sequence[float], period: int) -> list[float]:
    return _smoothed(values, period, 2 / (period + 1))


def _wilder(values: Sequence[float], period: int) -> list[float]:
    return _smoothed(values, period, 1 / period)


def trade_shares(price: Sequence[float], side: Sequence[str | None]) -> list[float]:
    """Bought share of each trade: by its side, else by the last change of the price."""
    shares, last = [], 0.5
    for row, known in enumerate(side):
        if row and price[row] != price[row - 1]:
            last = 1.0 if price[row] > price[row - 1] else 0.0
        shares.append({"BUY": 1.0, "SELL": 0.0}.get(known or "", last))
    return shares


def bulk_shares(change: Sequence[float]) -> list[float]:
    """Normal distribution function of each change over the sample's standard deviation."""
    mean = math.fsum(change) / len(change)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in change) / (len(change) - 1))
    return [0.5 * (1 + math.erf(x / sigma / math.sqrt(2))) if sigma else 0.5 for x in change]


def vpin(
    volume: Sequence[float], buy_share: Sequence[float], bucket_volume: float, window: int
) -> list[tuple[float, float, float, int]]:
    """Bought and sold volume, VPIN, and last row of each filled bucket."""
    buckets: list[tuple[float, float, int]] = []
    bought = sold = 0.0
    for row, (amount, share) in enumerate(zip(volume, buy_share, strict=True)):
        left = amount
        while left > 0:
            part = min(left, bucket_volume - bought - sold)
            bought += part * share
            sold += part * (1 - share)
            left -= part
            if bought + sold >= bucket_volume * (1 - 1e-9):
                buckets.append((bought, sold, row))
                bought = sold = 0.0
    rows = []
    for place, (bought, sold, row) in enumerate(buckets):
        last = buckets[max(0, place - window + 1) : place + 1]
        imbalance = sum(abs(b - s) for b, s, _ in last) / (window * bucket_volume)
        rows.append((bought, sold, imbalance if len(last) == window else math.nan, row))
    return rows


def shape_scores(
    close: Sequence[float], shapes: dict[str, Sequence[float]]
) -> list[tuple[str, dict[str, float]]]:
    """Best shape, and Pearson's correlation with every shape, of each window."""
    rows = []
    for window in _windows(close, len(next(iter(shapes.values())))):
        scores = {name: _pearson(window, shape) for name, shape in shapes.items()}
        if len(set(window)) == 1:
            rows.append(("flat", dict.fromkeys(shapes, 0.0)))
        else:
            rows.append((max(scores, key=lambda name: scores[name]), scores))
    return rows
