"""risk.portfolio: every engine equals the plain twin and skfolio's measures."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.measures import cvar, value_at_risk

from every_engine import compute, engine_for, every_engine_of, relative_tolerance
from naive import portfolio_risk
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns

Price = tuple[np.datetime64, str, float]
Position = tuple[str, str, float]


def portfolio(seed: int, days: int, assets: int, gaps: float) -> tuple[list[Price], list[Position]]:
    """Prices in random order with missing rows, and positions over three desks."""
    rng = random.Random(seed)
    start = np.datetime64("2020-01-01")
    names = [f"asset {place}" for place in range(assets)]
    prices = [
        (start + day, name, rng.uniform(5, 50))
        for day in range(days)
        for name in names
        if day < 2 or rng.random() >= gaps
    ]
    rng.shuffle(prices)
    count = rng.randint(1, 8)
    return prices, [
        (rng.choice("xyz"), rng.choice(names), float(rng.randint(-9, 9))) for _ in range(count)
    ]


def frames(prices: list[Price], positions: list[Position]) -> dict[str, PlainColumns]:
    date, asset, price = zip(*prices, strict=True)
    desk, held, quantity = zip(*positions, strict=True)
    return {
        "prices": PlainColumns(date=np.array(date), asset=list(asset), price=list(price)),
        "positions": PlainColumns(desk=list(desk), asset=list(held), quantity=list(quantity)),
    }


def assert_equal_to_twin(engine: Any, seed: int, days: int, assets: int, **params: Any) -> None:
    prices, positions = portfolio(seed, days, assets, gaps=0.1)
    rows = compute(engine, "risk.portfolio", frames(prices, positions), **params).to_pylist()
    expected = portfolio_risk(prices, positions, **params)

    assert list(expected) == [row["desk"] for row in rows]
    for row in rows:
        value, at_risk, shortfall, scenarios = expected[row["desk"]]
        assert scenarios == row["observations"]
        tolerance = {
            "rel": relative_tolerance(engine),
            "abs": 1e-6 * relative_tolerance(engine) * 1e4,
        }
        got = (row["value"], row["value_at_risk"], row["expected_shortfall"])
        assert (value, at_risk, shortfall) == pytest.approx(got, **tolerance)


@every_engine_of("risk.portfolio")
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("window_days", [None, 1, 20, 10_000])
def test_every_engine_equals_the_plain_twin(
    engine_name: str, confidence: float, window_days: int | None
) -> None:
    engine = engine_for(engine_name)
    for seed in range(3):
        assert_equal_to_twin(engine, seed, 101, 4, confidence=confidence, window_days=window_days)


@given(
    seed=st.integers(0, 2**32),
    days=st.integers(2, 60),
    assets=st.integers(1, 6),
    confidence=st.floats(0.01, 0.995),
)
@settings(max_examples=60, deadline=None)
def test_cpu_equals_the_plain_twin_on_random_portfolios(
    seed: int, days: int, assets: int, confidence: float
) -> None:
    assert_equal_to_twin(CpuEngine(), seed, days, assets, confidence=confidence)


@pytest.mark.parametrize("scenarios", [1, 10, 100, 137, 2000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975])
def test_measures_are_skfolios(scenarios: int, confidence: float) -> None:
    """One asset, quantity 1 and last price 1: profit and loss are the returns themselves."""
    returns = np.random.default_rng(7).normal(0, 0.01, scenarios)
    price = np.concatenate([[1.0], np.cumprod(1 + returns)])
    price /= price[-1]
    date = np.arange(scenarios + 1).astype("datetime64[D]")
    prices = PlainColumns(date=date, asset=["A"] * len(date), price=price)
    positions = PlainColumns(desk=["d"], asset=["A"], quantity=[1.0])
    inputs = {"prices": prices, "positions": positions}
    row = compute(CpuEngine(), "risk.portfolio", inputs, confidence=confidence).to_pylist()[0]

    simple = price[1:] / price[:-1] - 1
    assert value_at_risk(simple, beta=confidence) == pytest.approx(row["value_at_risk"], rel=1e-12)
    assert cvar(simple, beta=confidence) == pytest.approx(row["expected_shortfall"], rel=1e-12)
