"""Array kernels on a float32 device, as Metal is: MLX's CPU told to forget float64."""

from __future__ import annotations

import numpy as np
import pytest

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine, GpuEngine, array_mlx
from neural_gpu_bus.ports import Engine
from plain_columns import PlainColumns

BARS = 5000
RNG = np.random.default_rng(20261122)
TS = np.arange(BARS).astype("datetime64[s]").astype("datetime64[us]")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The gpu engine on a backend whose widest float is float32."""
    backend = array_mlx.open_backend(accelerated=False)
    if backend is None:
        pytest.skip("mlx is not installed")
    backend.float_type = "float32"
    monkeypatch.setattr(array_mlx, "open_backend", lambda *, accelerated: backend)
    engine = GpuEngine("mlx")
    assert engine.backend() == "mlx:cpu:float32"
    return engine


def test_portfolio_risk_keeps_four_digits(narrow: Engine) -> None:
    assets = [f"asset {place}" for place in range(10)]
    price = 50 * np.exp(np.cumsum(RNG.normal(0, 0.01, (1000, 10)), axis=0))
    prices = PlainColumns(
        date=np.repeat(np.arange(1000), 10).astype("datetime64[D]"),
        asset=assets * 1000,
        price=price.ravel(),
    )
    positions = PlainColumns(desk=["d"] * 10, asset=assets, quantity=RNG.normal(0, 1e4, 10))
    inputs = {"prices": prices, "positions": positions}
    wide, thin = (compute(engine, "risk.portfolio", inputs) for engine in (CpuEngine(), narrow))

    for name in ("value", "value_at_risk", "expected_shortfall"):
        np.testing.assert_allclose(thin[name].to_numpy(), wide[name].to_numpy(), rtol=1e-4)


def test_correlations_keep_five_digits(narrow: Engine) -> None:
    inputs = {"factors": PlainColumns(**{name: RNG.normal(5, 1, BARS) for name in "abcde"})}
    wide, thin = (compute(engine, "factor.correlation", inputs) for engine in (CpuEngine(), narrow))

    for name in "abcde":
        np.testing.assert_allclose(thin[name].to_numpy(), wide[name].to_numpy(), atol=1e-5)


def test_indicators_keep_a_millionth_of_the_price(narrow: Engine) -> None:
    close = 1600 * np.exp(np.cumsum(RNG.normal(0, 1e-3, BARS)))
    bars = PlainColumns(ts=TS, close=close, high=close + RNG.random(BARS), low=close - 1)
    wide, thin = (
        compute(engine, "indicators.technical", {"bars": bars}) for engine in (CpuEngine(), narrow)
    )

    for name in wide.column_names[1:]:
        # The RSI is no price: it runs from 0 to 100.
        exact = 1e-2 if name == "rsi" else 1e-6 * close.max()
        got, expected = thin[name].to_numpy(), wide[name].to_numpy()
        np.testing.assert_allclose(got, expected, rtol=0, atol=exact, err_msg=name)


def test_shapes_keep_five_digits(narrow: Engine) -> None:
    close = 1.23456 + 1e-5 * RNG.integers(-1, 2, BARS).cumsum()
    bars = {"bars": PlainColumns(ts=TS, close=close)}
    wide, thin = (compute(engine, "patterns.shape", bars) for engine in (CpuEngine(), narrow))

    np.testing.assert_allclose(thin["score"].to_numpy(), wide["score"].to_numpy(), atol=1e-5)
