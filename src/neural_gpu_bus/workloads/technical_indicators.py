"""Technical indicators of one series of bars, as TA-Lib computes them.

SMA and Bollinger bands (population standard deviation), EMA seeded with a simple average, RSI and
ATR with Wilder's smoothing (Wilder 1978), MACD with TA-Lib's alignment of its two averages. Shapes
are (n_bars,); the first values, before an indicator has its seed, are NaN exactly where TA-Lib's
are. NaN inputs are refused: TA-Lib would carry one to the end of the series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import Input
from neural_gpu_bus.workloads.linear_recurrence import linear_recurrence
from neural_gpu_bus.workloads.workload import Kernels, Workload, numeric_table, stamps_of

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.ports import ArrayBackend, Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

#: What is left of a smoothed average's seed after ``warm_up``.
SEED_SHARE_MAX = 1e-12

#: TA-Lib's own limit of a period.
Period = Annotated[int, Meta(ge=2, le=100_000)]

OUTPUTS = (
    "sma",
    "ema",
    "rsi",
    "macd",
    "macd_signal",
    "macd_histogram",
    "atr",
    "bollinger_upper",
    "bollinger_middle",
    "bollinger_lower",
)


class TechnicalIndicatorsParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ``indicators.technical``: periods in bars."""

    sma: Period = 20
    ema: Period = 20
    rsi: Period = 14
    macd_fast: Period = 12
    macd_slow: Period = 26
    macd_signal: Annotated[int, Meta(ge=1, le=100_000)] = 9
    atr: Period = 14
    bollinger: Period = 20
    #: Standard deviations between the middle and each band.
    bollinger_width: Annotated[float, Meta(gt=0, le=100)] = 2.0

    def __post_init__(self) -> None:
        if self.macd_fast >= self.macd_slow:
            raise BadParameterError(
                f"parameter 'macd_fast' is {self.macd_fast}: it has to be below macd_slow, "
                f"{self.macd_slow}",
                hint="the usual pair is 12 and 26",
                parameter="macd_fast",
            )


def warm_up(params: TechnicalIndicatorsParams) -> int:
    """Bars before the first one that is wanted, so that it does not matter where a series begins.

    An average of a window needs the window; one that is smoothed never forgets its seed, which is
    left with a share of 1e-12.
    """
    slow = params.macd_slow - 1 + _forgets(1.0 - 2.0 / (params.macd_slow + 1))
    signal = params.macd_signal - 1 + _forgets(1.0 - 2.0 / (params.macd_signal + 1))
    return max(
        params.sma - 1,
        params.bollinger - 1,
        params.ema - 1 + _forgets(1.0 - 2.0 / (params.ema + 1)),
        slow + signal,
        params.rsi + _forgets(1.0 - 1.0 / params.rsi),
        params.atr + _forgets(1.0 - 1.0 / params.atr),
    )


def _forgets(kept: float) -> int:
    """Bars after which an average that keeps such a share of itself has forgotten its seed."""
    return math.ceil(math.log(SEED_SHARE_MAX) / math.log(kept)) if kept > 0 else 0


def prepare(
    inputs: Mapping[str, Columns],
    params: TechnicalIndicatorsParams,  # noqa: ARG001
) -> dict[str, Array]:
    """``ts``, and ``high``, ``low``, ``close`` as finite float64."""
    bars = Input(inputs, "bars")
    return {
        **bars.stamps("ts", strictly=True),
        **{name: bars.floats(name) for name in ("high", "low", "close")},
    }


def cpu(arrays: Arrays, params: TechnicalIndicatorsParams) -> dict[str, Array]:
    """Compiled passes over the bars."""
    from neural_gpu_bus.workloads import technical_indicators_compiled as compiled

    close, high, low = arrays["close"], arrays["high"], arrays["low"]
    # One array each: a block of all ten goes back to the kernel after use, and a million bars then
    # pay 10 ms of page faults in every call (glibc maps more than 32 MiB anew each time).
    out = {name: np.empty(len(close)) for name in OUTPUTS}
    compiled.simple_average(close, params.sma, out["sma"])
    compiled.bollinger_bands(
        close,
        params.bollinger,
        params.bollinger_width,
        out["bollinger_upper"],
        out["bollinger_middle"],
        out["bollinger_lower"],
    )
    compiled.exponential_averages(
        close,
        params.ema,
        params.macd_fast,
        params.macd_slow,
        params.macd_signal,
        out["ema"],
        out["macd"],
        out["macd_signal"],
        out["macd_histogram"],
    )
    compiled.wilder_averages(high, low, close, params.rsi, params.atr, out["rsi"], out["atr"])
    return {**stamps_of(arrays), **out}


class _Series:
    """The indicators' parts on one backend: sums over windows, and seeded averages."""

    def __init__(self, backend: ArrayBackend, bars: int) -> None:
        self.backend, self.xp, self.bars = backend, backend.xp, bars

    def undefined(self, count: int) -> Any:
        return self.backend.from_numpy(np.full(min(count, self.bars), np.nan))

    def shown_from(self, first: int, values: Any) -> Any:
        """NaN up to bar ``first``, then those values."""
        if first >= self.bars:
            return self.undefined(self.bars)
        return self.xp.concatenate([self.undefined(first), values]) if first else values

    def window_mean(self, values: Any, period: int) -> Any:
        """Mean of each full window, by shifted sums: nothing is taken off, so nothing is lost."""
        full = values.shape[0] - period + 1
        total = values[:full]
        for shift in range(1, period):
            total = total + values[shift : shift + full]
        return total / period

    def averaged(self, values: Any, period: int, weight: float, start: int) -> Any:
        """From ``start`` on: the simple average of ``period`` values up to it, then smoothed."""
        xp = self.xp
        seed = xp.sum(values[start - period + 1 : start + 1]) / period
        rest = values[start + 1 :] * weight
        return linear_recurrence(
            self.backend, xp.concatenate([xp.reshape(seed, (1,)), rest]), 1.0 - weight
        )


def array(
    backend: ArrayBackend, arrays: Arrays, params: TechnicalIndicatorsParams
) -> dict[str, Any]:
    """The same over whole arrays: shifted sums, and recursions as matrix products.

    Prices are taken relative to the first close, which keeps float32 devices useful. A device that
    has float64 takes them itself: then a column that it has from an earlier job need not be sent.
    """
    first = arrays["close"][0]
    close, high, low = (
        backend.from_numpy(arrays[name]) - first
        if backend.float_type == "float64"
        else backend.from_numpy(arrays[name] - first)
        for name in ("close", "high", "low")
    )
    series = _Series(backend, len(arrays["close"]))
    out = {**_averages(series, close, float(first), params), **_macd(series, close, params)}
    out |= _wilder(series, high, low, close, params)
    return {**stamps_of(arrays), **{name: out[name] for name in OUTPUTS}}


def _averages(
    series: _Series, close: Any, first: float, params: TechnicalIndicatorsParams
) -> dict[str, Any]:
    out = {}
    bars, xp = series.bars, series.xp
    values = close[:0]
    if bars >= params.sma:
        values = series.window_mean(close, params.sma) + first
    out["sma"] = series.shown_from(params.sma - 1, values)
    if bars >= params.ema:
        weight = 2.0 / (params.ema + 1)
        values = series.averaged(close, params.ema, weight, params.ema - 1) + first
    out["ema"] = series.shown_from(params.ema - 1, values)
    mean = distance = close[:0]
    if bars >= params.bollinger:
        mean = series.window_mean(close, params.bollinger)
        distance = xp.sqrt(_window_variance(close, mean, params.bollinger)) * params.bollinger_width
        mean = mean + first
    shown = params.bollinger - 1
    out["bollinger_upper"] = series.shown_from(shown, mean + distance)
    out["bollinger_middle"] = series.shown_from(shown, mean)
    out["bollinger_lower"] = series.shown_from(shown, mean - distance)
    return out


def _window_variance(values: Any, mean: Any, period: int) -> Any:
    full = mean.shape[0]
    total = (values[:full] - mean) ** 2
    for shift in range(1, period):
        total = total + (values[shift : shift + full] - mean) ** 2
    return total / period


def _macd(series: _Series, close: Any, params: TechnicalIndicatorsParams) -> dict[str, Any]:
    line = signal = close[:0]
    start, delay = params.macd_slow - 1, params.macd_signal - 1
    if series.bars > start + delay:
        fast = series.averaged(close, params.macd_fast, 2.0 / (params.macd_fast + 1), start)
        slow = series.averaged(close, params.macd_slow, 2.0 / (params.macd_slow + 1), start)
        line = fast - slow
        weight = 2.0 / (params.macd_signal + 1)
        signal = series.averaged(line, params.macd_signal, weight, delay)
        line = line[delay:]
    return {
        "macd": series.shown_from(start + delay, line),
        "macd_signal": series.shown_from(start + delay, signal),
        "macd_histogram": series.shown_from(start + delay, line - signal),
    }


def _wilder(
    series: _Series, high: Any, low: Any, close: Any, params: TechnicalIndicatorsParams
) -> dict[str, Any]:
    xp = series.xp
    change = close[1:] - close[:-1]
    zero = xp.zeros_like(change)
    rsi = atr = close[:0]
    if series.bars > params.rsi:
        gains, losses = xp.where(change > 0, change, zero), xp.where(change < 0, -change, zero)
        gain = series.averaged(gains, params.rsi, 1.0 / params.rsi, params.rsi - 1)
        loss = series.averaged(losses, params.rsi, 1.0 / params.rsi, params.rsi - 1)
        both = gain + loss
        some = both >= 1e-14
        rsi = xp.where(some, 100.0 * gain / xp.where(some, both, xp.ones_like(both)), both * 0.0)
    if series.bars > params.atr:
        true_range = xp.maximum(high[1:] - low[1:], xp.abs(close[:-1] - high[1:]))
        true_range = xp.maximum(true_range, xp.abs(close[:-1] - low[1:]))
        atr = series.averaged(true_range, params.atr, 1.0 / params.atr, params.atr - 1)
    return {
        "rsi": series.shown_from(params.rsi, rsi),
        "atr": series.shown_from(params.atr, atr),
    }


def table(
    outputs: Mapping[str, Array],
    params: TechnicalIndicatorsParams,  # noqa: ARG001
) -> pa.Table:
    """One row a bar."""
    return numeric_table(outputs, ("ts", *OUTPUTS))


def cost(arrays: Arrays, params: TechnicalIndicatorsParams) -> float:  # noqa: ARG001
    """About 60 operations a bar."""
    return 60.0 * len(arrays["close"])


WORKLOAD = Workload(
    name="indicators.technical",
    summary="SMA, EMA, RSI, MACD, ATR and Bollinger bands of one series of bars, as in TA-Lib.",
    params_type=TechnicalIndicatorsParams,
    inputs={"bars": {"ts": "time", "high": "float", "low": "float", "close": "float"}},
    prepare=prepare,
    kernels=Kernels(cpu=cpu, array=array),
    table=table,
    cost=cost,
)
