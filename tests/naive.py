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
