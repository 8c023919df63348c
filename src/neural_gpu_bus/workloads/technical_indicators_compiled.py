"""Compiled loops of ``technical_indicators``: TA-Lib's order of operations in four passes.

A pass carries several recursions at once, so that the processor works on one while another waits
for its last result. SMA, EMA and MACD's line equal TA-Lib's to the last bit. The others agree to
a relative 1e-12: TA-Lib itself fuses multiply and add on some processors and not on others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neural_gpu_bus.workloads.signatures import FLOAT, FLOATS, INT, OUT_FLOATS, VOID

#: TA-Lib's limit below which a sum of gains and losses counts as zero (ta_utility.h).
ALMOST_ZERO = 1e-14

#: Bars whose squares are summed together: 3 columns of 512 float64 are 12 KiB of 32.
BLOCK = 512

OUT = OUT_FLOATS


@njit(VOID(FLOATS, INT, OUT), cache=True, nogil=True)
def simple_average(close: Any, period: Any, sma: Any) -> None:
    """SMA: a running sum, the oldest value taken off after use."""
    total = 0.0
    for bar in range(close.size):
        total += close[bar]
        if bar >= period - 1:
            sma[bar] = total / period
            total -= close[bar - period + 1]
        else:
            sma[bar] = np.nan


@njit(VOID(FLOATS, INT, FLOAT, OUT, OUT, OUT), cache=True, nogil=True)
def bollinger_bands(
    close: Any, period: Any, width: Any, upper: Any, middle: Any, lower: Any
) -> None:
    """SMA plus and minus ``width`` population standard deviations, each about its own mean.

    The mean of squares less the square of the mean would lose all digits on quiet prices (TA-Lib
    left it in 0.8.1 for that). Blocks of bars stay in the first cache, and neighbouring bars are
    summed side by side: about 5 ns a bar for a period of 20.
    """
    simple_average(close, period, middle)
    bars = close.size
    for bar in range(min(period - 1, bars)):
        upper[bar] = lower[bar] = np.nan
    for start in range(period - 1, bars, BLOCK):
        stop = min(start + BLOCK, bars)
        mean, squares, below = middle[start:stop], upper[start:stop], lower[start:stop]
        squares[:] = 0.0
        for age in range(0, period - 1, 2):
            aged = close[start - age : stop - age]
            older = close[start - age - 1 : stop - age - 1]
            for bar in range(mean.size):
                squares[bar] += (aged[bar] - mean[bar]) ** 2 + (older[bar] - mean[bar]) ** 2
        if period % 2:
            oldest = close[start - period + 1 : stop - period + 1]
            for bar in range(mean.size):
                squares[bar] += (oldest[bar] - mean[bar]) ** 2
        for bar in range(mean.size):
            distance = np.sqrt(squares[bar] / period) * width
            squares[bar] = mean[bar] + distance
            below[bar] = mean[bar] - distance


@njit(VOID(FLOATS, INT, INT, INT, INT, OUT, OUT, OUT, OUT), cache=True, nogil=True)
def exponential_averages(
    close: Any,
    period: Any,
    fast: Any,
    slow: Any,
    signal: Any,
    ema: Any,
    macd: Any,
    macd_signal: Any,
    histogram: Any,
) -> None:
    """EMA, and MACD of two more; each is seeded with the simple average of its first values.

    MACD's fast average starts at the slow one's first bar, and its line is shown from the bar on
    which the signal line has its seed.
    """
    ema_weight, fast_weight = 2.0 / (period + 1), 2.0 / (fast + 1)
    slow_weight, signal_weight = 2.0 / (slow + 1), 2.0 / (signal + 1)
    shown = slow + signal - 2
    ema_now = fast_now = slow_now = signal_now = 0.0
    for bar in range(close.size):
        value = close[bar]
        ema[bar] = macd[bar] = macd_signal[bar] = histogram[bar] = np.nan
        if bar >= period:
            ema_now = (value - ema_now) * ema_weight + ema_now
        else:
            ema_now += value
            if bar == period - 1:
                ema_now /= period
        if bar >= period - 1:
            ema[bar] = ema_now
        if bar < slow - 1:
            slow_now += value
            if bar >= slow - fast:
                fast_now += value
            continue
        if bar == slow - 1:
            slow_now = (slow_now + value) / slow
            fast_now = (fast_now + value) / fast
        else:
            slow_now = (value - slow_now) * slow_weight + slow_now
            fast_now = (value - fast_now) * fast_weight + fast_now
        line = fast_now - slow_now
        if bar <= shown:
            signal_now += line
            if bar == shown:
                signal_now /= signal
        else:
            signal_now = (line - signal_now) * signal_weight + signal_now
        if bar >= shown:
            macd[bar] = line
            macd_signal[bar] = signal_now
            histogram[bar] = line - signal_now


@njit(VOID(FLOATS, FLOATS, FLOATS, INT, INT, OUT, OUT), cache=True, nogil=True)
def wilder_averages(
    high: Any, low: Any, close: Any, rsi_period: Any, atr_period: Any, rsi: Any, atr: Any
) -> None:
    """RSI and ATR: Wilder's smoothing, seeded with the simple average of the first values."""
    # Wilder's (average * (n - 1) + value) / n without a division in the chain of bars.
    rsi_weight, atr_weight = 1.0 / rsi_period, 1.0 / atr_period
    rsi_kept, atr_kept = (rsi_period - 1) / rsi_period, (atr_period - 1) / atr_period
    gain = loss = range_now = 0.0
    if close.size:
        rsi[0] = atr[0] = np.nan
    for bar in range(1, close.size):
        before = close[bar - 1]
        change = close[bar] - before
        if bar > rsi_period:
            gain = gain * rsi_kept + max(change, 0.0) * rsi_weight
            loss = loss * rsi_kept - min(change, 0.0) * rsi_weight
        else:
            gain += max(change, 0.0)
            loss -= min(change, 0.0)
            if bar == rsi_period:
                gain /= rsi_period
                loss /= rsi_period
        both = gain + loss
        shown = 100.0 * (gain / both) if both >= ALMOST_ZERO else 0.0
        rsi[bar] = shown if bar >= rsi_period else np.nan
        true_range = high[bar] - low[bar]
        true_range = max(true_range, abs(before - high[bar]))
        true_range = max(true_range, abs(before - low[bar]))
        if bar > atr_period:
            range_now = range_now * atr_kept + true_range * atr_weight
        else:
            range_now += true_range
            if bar == atr_period:
                range_now /= atr_period
        atr[bar] = range_now if bar >= atr_period else np.nan
