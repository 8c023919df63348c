"""Compiled loops of the VPIN workloads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import (
    BYTES,
    FLOAT,
    FLOATS,
    INT,
    OUT_FLOATS,
    OUT_INTS,
    VOID,
)

#: Steps of the continued fraction; it converges in well under 100 for any argument.
FRACTION_STEPS_MAX = 300


@njit(VOID(FLOATS, BYTES, OUT_FLOATS), cache=True, nogil=True)
def classify_trades(price: Any, side: Any, buy_share: Any) -> None:
    """1 for a buy, 0 for a sell: the side where known (1, -1), else the tick rule.

    Tick rule: up is a buy, down a sell, unchanged as the change before. Before the first change
    nothing is known, and half counts as bought.
    """
    tick = 0.5
    before = price[0]
    for row in range(price.size):
        change = price[row] - before
        before = price[row]
        # Choices, not branches: a processor cannot foresee which way a price ticks.
        tick = 1.0 if change > 0.0 else tick
        tick = 0.0 if change < 0.0 else tick
        known = side[row]
        buy_share[row] = tick if known == 0 else 0.5 + 0.5 * known


@njit(VOID(FLOATS, FLOATS, FLOAT, OUT_FLOATS, OUT_INTS), cache=True, nogil=True)
def fill_buckets(
    volume: Any, buy_share: Any, bucket_volume: Any, buy: Any, row_at_end: Any
) -> None:
    """Bought volume of each bucket, and the row that filled it.

    Ends of buckets are multiples of the bucket volume on the axis of all volume, so that their
    rounding does not add up. What the last bucket misses through rounding is spread evenly.
    """
    buckets = buy.size
    bucket = 0
    end = bucket_volume
    at = 0.0
    bought = 0.0
    for row in range(volume.size):
        after = at + volume[row]
        while bucket < buckets and after >= end:
            bought += (end - at) * buy_share[row]
            buy[bucket] = min(max(bought, 0.0), bucket_volume)
            row_at_end[bucket] = row
            bucket += 1
            at = end
            end = bucket_volume * (bucket + 1)
            bought = 0.0
        bought += (after - at) * buy_share[row]
        at = after
    while bucket < buckets:
        buy[bucket] = min(max(bought, 0.0), bucket_volume)
        row_at_end[bucket] = volume.size - 1
        bucket += 1


@njit(VOID(FLOATS, FLOAT, INT, OUT_FLOATS), cache=True, nogil=True)
def rolling_vpin(buy: Any, bucket_volume: Any, window: Any, vpin: Any) -> None:
    """Mean of |sell - buy| / V over the last ``window`` buckets, 0 to 1; NaN before."""
    total = 0.0
    for bucket in range(buy.size):
        total += abs(bucket_volume - 2.0 * buy[bucket])
        if bucket >= window:
            total -= abs(bucket_volume - 2.0 * buy[bucket - window])
        if bucket >= window - 1:
            vpin[bucket] = min(max(total / (window * bucket_volume), 0.0), 1.0)
        else:
            vpin[bucket] = np.nan


@njit(VOID(FLOATS, FLOAT, OUT_FLOATS), cache=True, nogil=True)
def causal_sigma(change: Any, decay: Any, sigma: Any) -> None:
    """Root of the exponentially weighted mean of squared changes up to and with each row."""
    variance = 0.0
    for row in range(change.size):
        square = change[row] * change[row]
        variance = square if row == 0 else decay * variance + (1.0 - decay) * square
        sigma[row] = math.sqrt(variance)


@njit(FLOAT(FLOAT, FLOAT, FLOAT, FLOAT), cache=True, nogil=True)
def incomplete_beta(at: float, rest: float, a: float, b: float) -> float:
    """Regularised incomplete beta function (DLMF 8.17.22); ``rest`` is 1 - at without rounding."""
    if at <= 0.0 or rest <= 0.0:
        return 0.0 if at <= 0.0 else 1.0
    mirrored = at > (a + 1.0) / (a + b + 2.0)
    if mirrored:
        at, rest, a, b = rest, at, b, a
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(at) + b * math.log(rest)
    )
    # Lentz's way of evaluating the continued fraction 1 / (1 + d1 / (1 + d2 / ...)).
    upper, lower = 1.0, 1.0 / (1.0 - (a + b) * at / (a + 1.0))
    fraction = lower
    for m in range(1, FRACTION_STEPS_MAX):
        even = m * (b - m) * at / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1.0 / (1.0 + even * lower)
        upper = 1.0 + even / upper
        fraction *= lower * upper
        odd = -(a + m) * (a + b + m) * at / ((a + 2 * m) * (a + 2 * m + 1))
        lower = 1.0 / (1.0 + odd * lower)
        upper = 1.0 + odd / upper
        fraction *= lower * upper
        if abs(lower * upper - 1.0) < 1e-15:
            break
    share: float = front * fraction / a
    return 1.0 - share if mirrored else share


@njit(FLOAT(FLOAT, FLOAT), cache=True, nogil=True)
def student_share(value: float, degrees: float) -> float:
    """CDF of Student's t: half the regularised incomplete beta function of n / (n + t^2)."""
    square = value * value
    at, rest = degrees / (degrees + square), square / (degrees + square)
    tail: float = 0.5 * incomplete_beta(at, rest, degrees / 2.0, 0.5)
    return 1.0 - tail if value > 0.0 else tail


@njit(VOID(FLOATS, FLOATS, FLOAT, OUT_FLOATS), cache=True, nogil=True)
def bulk_shares(change: Any, sigma: Any, degrees: Any, buy_share: Any) -> None:
    """CDF of change / sigma: normal for ``degrees`` 0, else Student's t; one half for sigma 0.

    ``sigma`` has one value for all, or one a row.
    """
    step = 1 if sigma.size > 1 else 0
    for row in range(change.size):
        spread = sigma[row * step]
        if spread <= 0.0 or change[row] == 0.0:
            buy_share[row] = 0.5
        elif degrees == 0.0:
            buy_share[row] = 0.5 * math.erfc(-change[row] / spread * math.sqrt(0.5))
        else:
            buy_share[row] = student_share(change[row] / spread, degrees)
