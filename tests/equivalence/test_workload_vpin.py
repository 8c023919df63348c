"""vpin.trades and vpin.bars: every engine equals the plain twin; volume is conserved."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every_engine import compute, engine_for, every_engine_of
from naive import bulk_shares, trade_shares, vpin
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns

START = np.datetime64("2024-01-01T00:00", "ns")


def trades(seed: int, count: int) -> dict[str, list[object]]:
    """Trades on a price grid with ties, sizes of which some are 0 and some huge."""
    rng = random.Random(seed)
    price = [100.0]
    for _ in range(count - 1):
        price.append(price[-1] + rng.choice([-0.25, 0.0, 0.0, 0.25]))
    size = [rng.choice([0, 1, 2, 5, 0.5, 40]) for _ in range(count)]
    size[0] = 1
    return {
        "price": price,
        "size": size,
        "side": [rng.choice(["BUY", "SELL", None]) for _ in price],
    }


def stamps(count: int) -> np.ndarray:
    return START + np.arange(count) * np.timedelta64(1, "s")


def assert_equal(
    table: object, expected: list[tuple[float, float, float, int]], count: int
) -> None:
    rows = table.to_pylist()
    assert list(range(len(expected))) == [row["bucket"] for row in rows]
    ends = table["ts"].to_numpy()
    assert np.array_equal(stamps(count)[[row for *_, row in expected]], ends)
    for row, (bought, sold, imbalance, _) in zip(rows, expected, strict=True):
        assert bought == pytest.approx(row["buy_volume"], rel=1e-10, abs=1e-8)
        assert sold == pytest.approx(row["sell_volume"], rel=1e-10, abs=1e-8)
        assert imbalance == pytest.approx(row["vpin"], rel=1e-10, abs=1e-9, nan_ok=True)


@every_engine_of("vpin.trades")
@pytest.mark.parametrize("with_side", [True, False])
def test_trades_equal_the_plain_twin(engine_name: str, with_side: bool) -> None:
    engine = engine_for(engine_name)
    for seed in range(5):
        columns = trades(seed, 300)
        side = columns["side"] if with_side else [None] * 300
        given_side = {"aggressor_side": side} if with_side else {}
        frame = PlainColumns(
            ts=stamps(300), price=columns["price"], size=columns["size"], **given_side
        )
        table = compute(engine, "vpin.trades", {"trades": frame}, bucket_volume=7.5, window=3)
        shares = trade_shares(columns["price"], side)

        assert_equal(table, vpin(columns["size"], shares, 7.5, 3), 300)


@given(
    sizes=st.lists(st.floats(0, 1e6), min_size=1, max_size=80).filter(lambda s: sum(s) > 1e-3),
    buckets=st.floats(0.3, 200),
    window=st.integers(1, 10),
)
@settings(max_examples=80, deadline=None)
def test_volume_is_conserved_and_vpin_lies_between_0_and_1(
    sizes: list[float], buckets: float, window: int
) -> None:
    total = math.fsum(sizes)
    bucket_volume = total / buckets
    frame = PlainColumns(
        ts=stamps(len(sizes)),
        price=np.arange(len(sizes), dtype=float) % 3,
        size=np.array(sizes),
    )
    table = compute(
        CpuEngine(), "vpin.trades", {"trades": frame}, bucket_volume=bucket_volume, window=window
    )
    bought, sold = table["buy_volume"].to_numpy(), table["sell_volume"].to_numpy()
    shown = table["vpin"].to_numpy()

    assert math.floor(buckets) - 1 <= len(bought) <= math.floor(buckets) + 1
    np.testing.assert_allclose(bought + sold, bucket_volume, rtol=1e-12)
    rest = total - math.fsum(bought) - math.fsum(sold)
    assert -1e-6 * total <= rest < bucket_volume * (1 + 1e-6)
    assert (bought >= 0).all()
    assert (sold >= 0).all()
    assert np.isnan(shown[: window - 1]).all()
    assert ((shown[window - 1 :] >= 0) & (shown[window - 1 :] <= 1)).all()


@every_engine_of("vpin.bars")
def test_bars_equal_the_plain_twin(engine_name: str) -> None:
    engine = engine_for(engine_name)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        opened = 100 + rng.normal(size=200).cumsum()
        closed = opened + rng.normal(size=200).round(1)
        volume = rng.integers(0, 50, 200).astype(float)
        frame = PlainColumns(ts=stamps(200), open=opened, close=closed, volume=volume)
        table = compute(engine, "vpin.bars", {"bars": frame}, bucket_volume=33.0, window=5)
        shares = bulk_shares((closed - opened).tolist())

        assert_equal(table, vpin(volume.tolist(), shares, 33.0, 5), 200)
