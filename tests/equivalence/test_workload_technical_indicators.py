"""indicators.technical: every engine equals the plain twin and TA-Lib, warm-up included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from every_engine import compute, engine_for, every_engine_of, relative_tolerance
from naive import indicators
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns

DEFAULTS: dict[str, Any] = {
    "sma": 20, "ema": 20, "rsi": 14, "macd_fast": 12, "macd_slow": 26, "macd_signal": 9,
    "atr": 14, "bollinger": 20, "bollinger_width": 2.0,
}  # fmt: skip

#: TA-Lib's own bits; the others depend on whether it fused multiply and add on this processor.
BIT_FOR_BIT = ("sma", "ema", "macd", "bollinger_middle")


def bars(seed: int, count: int, kind: str = "walk") -> dict[str, np.ndarray]:
    """A random walk, one on a price grid with ties, or no movement at all."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, count)))
    if kind == "grid":
        close = 1600 + 0.25 * np.cumsum(rng.integers(-1, 2, count))
    if kind == "constant":
        close = np.full(count, 1.1)
    spread = 0.0 if kind == "constant" else 0.5
    high, low = close + spread * rng.random(count), close - spread * rng.random(count)
    return {"high": high, "low": low, "close": close}


def computed(
    engine: Any, given_bars: dict[str, np.ndarray], **params: Any
) -> dict[str, np.ndarray]:
    ts = np.datetime64("2024-01-01T00:00", "us") + np.arange(
        len(given_bars["close"])
    ) * np.timedelta64(60, "s")
    table = compute(
        engine, "indicators.technical", {"bars": PlainColumns(ts=ts, **given_bars)}, **params
    )
    assert np.array_equal(table["ts"].to_numpy(), ts)
    return {name: table[name].to_numpy() for name in table.column_names if name != "ts"}


def oracle(given_bars: dict[str, np.ndarray], p: dict[str, Any]) -> dict[str, np.ndarray]:
    high, low, close = given_bars["high"], given_bars["low"], given_bars["close"]
    macd = talib.MACD(close, p["macd_fast"], p["macd_slow"], p["macd_signal"])
    width = p["bollinger_width"]
    bands = talib.BBANDS(close, p["bollinger"], width, width, 0)
    return {
        "sma": talib.SMA(close, p["sma"]),
        "ema": talib.EMA(close, p["ema"]),
        "rsi": talib.RSI(close, p["rsi"]),
        **dict(zip(("macd", "macd_signal", "macd_histogram"), macd, strict=True)),
        "atr": talib.ATR(high, low, close, p["atr"]),
        **dict(zip(("bollinger_upper", "bollinger_middle", "bollinger_lower"), bands, strict=True)),
    }


def assert_same(got: dict[str, Any], expected: dict[str, Any], rtol: float, scale: float) -> None:
    assert sorted(expected) == sorted(got)
    for name, values in expected.items():
        # Differences of prices (MACD, RSI) are as exact as the prices: relative to those.
        np.testing.assert_allclose(got[name], values, rtol=rtol, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("count", [1, 2, 14, 15, 19, 20, 25, 26, 33, 34, 35, 400])
@pytest.mark.parametrize("kind", ["walk", "grid", "constant"])
def test_cpu_equals_talib(count: int, kind: str) -> None:
    given_bars = bars(count, count, kind)
    got, expected = computed(CpuEngine(), given_bars), oracle(given_bars, DEFAULTS)

    for name in BIT_FOR_BIT:
        assert np.array_equal(got[name], expected[name], equal_nan=True), name
    assert_same(got, expected, rtol=1e-12, scale=float(given_bars["close"].max()))


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 300),
    periods=st.tuples(*[st.integers(2, 40)] * 7),
    signal=st.integers(1, 12),
    width=st.floats(0.5, 4),
)
@settings(max_examples=60, deadline=None)
def test_cpu_equals_talib_and_the_twin_for_any_periods(
    seed: int, count: int, periods: tuple[int, ...], signal: int, width: float
) -> None:
    sma, ema, rsi, fast, more, atr, bollinger = periods
    params = {
        "sma": sma, "ema": ema, "rsi": rsi, "macd_fast": fast, "macd_slow": fast + more,
        "macd_signal": signal, "atr": atr, "bollinger": bollinger, "bollinger_width": width,
    }  # fmt: skip
    given_bars = bars(seed, count)
    got = computed(CpuEngine(), given_bars, **params)
    lists = {name: values.tolist() for name, values in given_bars.items()}

    assert_same(got, oracle(given_bars, params), rtol=1e-11, scale=100)
    assert_same(got, indicators(**lists, **params), rtol=1e-10, scale=100)


@every_engine_of("indicators.technical")
@pytest.mark.parametrize("count", [1, 20, 33, 34, 65, 300, 5000])
@pytest.mark.parametrize("kind", ["walk", "grid"])
def test_every_engine_equals_talib(engine_name: str, count: int, kind: str) -> None:
    engine = engine_for(engine_name)
    given_bars = bars(11, count, kind)

    assert_same(
        computed(engine, given_bars),
        oracle(given_bars, DEFAULTS),
        rtol=relative_tolerance(engine),
        scale=float(given_bars["close"].max()),
    )
