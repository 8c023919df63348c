"""Time bars: the plain twin, no invented bars, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import time_bars
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads import build_time_bars


def rows(ts: list[int], price: list[float], size: list[float], interval_ns: int) -> list[object]:
    bars = build_time_bars(
        np.array(ts, dtype=np.int64), np.array(price), np.array(size), interval_ns
    )
    assert list(bars) == ["ts", "open", "high", "low", "close", "volume"]
    return list(zip(*(values.tolist() for values in bars.values()), strict=True))


def test_by_hand() -> None:
    """An interval without a trade has no bar; a bar's time is its interval's start."""
    got = rows([10, 19, 20, 55], [5.0, 7.0, 6.0, 1.0], [1.0, 2.0, 4.0, 0.0], 10)

    assert got == [(10, 5, 7, 5, 7, 3), (20, 6, 6, 6, 6, 4), (50, 1, 1, 1, 1, 0)]


@given(
    trades=st.lists(
        st.tuples(st.integers(-(10**6), 10**6), st.floats(0.1, 9), st.integers(0, 9)), max_size=60
    ),
    interval_ns=st.integers(1, 10**5),
)
def test_equals_the_plain_twin(trades: list[tuple[int, float, int]], interval_ns: int) -> None:
    ordered = sorted(trades, key=lambda trade: trade[0])
    ts = [when for when, _, _ in ordered]
    price = [paid for _, paid, _ in ordered]
    size = [float(amount) for _, _, amount in ordered]

    assert rows(ts, price, size, interval_ns) == time_bars(ts, price, size, interval_ns)


def test_timestamps_of_numpy_and_read_only_columns_are_taken() -> None:
    ts = np.array([0, 1, 61], dtype="datetime64[s]").astype("datetime64[ns]")
    price = np.array([1.0, 2.0, 3.0])
    for column in (ts, price):
        column.flags.writeable = False

    assert build_time_bars(ts, price, price, 60_000_000_000)["close"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("ts", "price", "size", "interval_ns", "sentence"),
    [
        ([2, 1], [1.0, 1.0], [1.0, 1.0], 10, "ts_ns falls in row 2"),
        ([1, 2], [1.0, np.nan], [1.0, 1.0], 10, "price is nan in row 2"),
        ([1, 2], [1.0, 1.0], [np.inf, 1.0], 10, "size is inf in row 1"),
        ([1, 2], [1.0], [1.0, 1.0], 10, "price has 1 rows and ts_ns 2"),
        ([1, 2], [1.0, 1.0], [1.0, 1.0], 0, "interval_ns is 0, and has to be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(
    ts: list[int], price: list[float], size: list[float], interval_ns: int, sentence: str
) -> None:
    with pytest.raises(BadParameterError, match=sentence):
        rows(ts, price, size, interval_ns)


@pytest.mark.slow
def test_rebuilds_the_exchanges_own_minutes(market_data_folder: Path) -> None:
    """XRPETH on Binance: minutes from ticks equal the recorded minutes."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    pick = pc.field("instrument_id") == "XRPETH.BINANCE"
    trades = pq.read_table(market_data_folder / "trades.parquet", filters=pick)
    minutes = pq.read_table(
        market_data_folder / "bars.parquet",
        filters=pick & (pc.field("bar_type") == "1-MINUTE-LAST"),
    )
    built = build_time_bars(
        trades["ts"].to_numpy().astype("datetime64[ns]").view(np.int64),
        trades["price"].to_numpy(),
        trades["size"].to_numpy(),
        60_000_000_000,
    )
    ts_ns = minutes["ts"].to_numpy().astype("datetime64[ns]").view(np.int64)
    traded = minutes["volume"].to_numpy() > 0

    assert np.array_equal(built["ts"], ts_ns[traded])
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(built[name], minutes[name].to_numpy()[traded])
    np.testing.assert_allclose(built["volume"], minutes["volume"].to_numpy()[traded], rtol=1e-9)
