"""VPIN: golden values by hand, conventions, and what is refused."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, stdtr

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.vpin_buckets import default_bucket_volume
from plain_columns import PlainColumns

SECOND = np.timedelta64(1, "s")


def stamps(count: int) -> Any:
    return np.datetime64("2024-01-01T10:00", "us") + np.arange(count) * SECOND


def trades(price: Any, size: Any, side: Any = None, **params: Any) -> list[dict[str, Any]]:
    extra = {} if side is None else {"aggressor_side": side}
    frame = PlainColumns(ts=stamps(len(price)), price=price, size=size, **extra)
    rows: list[dict[str, Any]] = compute(
        CpuEngine(), "vpin.trades", {"trades": frame}, **params
    ).to_pylist()
    return rows


def bars(opened: Any, closed: Any, volume: Any, **params: Any) -> list[dict[str, Any]]:
    frame = PlainColumns(ts=stamps(len(opened)), open=opened, close=closed, volume=volume)
    rows: list[dict[str, Any]] = compute(
        CpuEngine(), "vpin.bars", {"bars": frame}, **params
    ).to_pylist()
    return rows


def test_a_trade_is_split_over_buckets() -> None:
    """Buckets of 10: [buy 4, sell 6], [sell 10], [sell 4, buy 6]; 3 bought are left over."""
    rows = trades(
        [1.0, 1.0, 1.0], [4.0, 20.0, 9.0], ["BUY", "SELL", "BUY"], bucket_volume=10, window=2
    )

    assert [row["buy_volume"] for row in rows] == [4, 0, 6]
    assert [row["sell_volume"] for row in rows] == [6, 10, 4]
    assert [row["ts"].second for row in rows] == [1, 1, 2]
    # |6 - 4| = 2, |10 - 0| = 10, |4 - 6| = 2; two buckets of 10 in a window.
    assert math.isnan(rows[0]["vpin"])
    assert [row["vpin"] for row in rows[1:]] == pytest.approx([12 / 20, 12 / 20])


def test_the_tick_rule_follows_the_last_change() -> None:
    """First unknown (half), then up (buy), unchanged (buy), down (sell), unchanged (sell)."""
    rows = trades([10.0, 11.0, 11.0, 10.5, 10.5], [1.0] * 5, bucket_volume=1, window=1)

    assert [row["buy_volume"] for row in rows] == [0.5, 1, 1, 0, 0]
    assert [row["vpin"] for row in rows] == [0, 1, 1, 1, 1]


def test_an_unknown_side_falls_back_to_the_tick_rule_row_by_row() -> None:
    sides = ["SELL", None, "SELLER", "BUYER", "NO_AGGRESSOR"]
    rows = trades([1.0, 2.0, 3.0, 2.0, 2.0], [1.0] * 5, sides, bucket_volume=1, window=1)

    assert [row["buy_volume"] for row in rows] == [0, 1, 0, 1, 0]


def test_trades_of_no_size_move_no_volume() -> None:
    rows = trades([1.0, 5.0, 5.0], [0.0, 0.0, 2.0], bucket_volume=2, window=1)

    assert [row["buy_volume"] for row in rows] == [2]


def test_bars_are_classified_in_bulk_by_hand() -> None:
    """Changes +1, -1, 0: sample deviation 1, Z(1) = 0.8413, Z(-1) = 0.1587, Z(0) = 0.5."""
    rows = bars([10.0, 10, 10], [11.0, 9, 10], [10.0, 10, 10], bucket_volume=10, window=1)

    assert [row["buy_volume"] for row in rows] == pytest.approx([8.413447, 1.586553, 5], abs=1e-6)
    assert [row["vpin"] for row in rows] == pytest.approx([0.682689, 0.682689, 0], abs=1e-6)


def test_changes_may_be_from_close_to_close() -> None:
    """Opens do not count; changes are 0 (no close before), +2, -2."""
    rows = bars(
        [1.0, 50, 90], [10.0, 12, 10], [1.0, 1, 1],
        bucket_volume=1, window=1, price_change="close_to_close",
    )  # fmt: skip

    assert [row["buy_volume"] for row in rows] == pytest.approx([0.5, ndtr(1), ndtr(-1)])


def test_causal_sigma_does_not_look_ahead() -> None:
    opened, closed, volume = [10.0] * 6, [11.0, 9.5, 10.2, 10, 12, 10.1], [1.0] * 6
    early = bars(
        opened[:4], closed[:4], volume[:4], bucket_volume=1, window=1, sigma="causal", decay=0.5
    )
    late = bars(opened, closed, volume, bucket_volume=1, window=1, sigma="causal", decay=0.5)

    assert early == late[:4]
    # sigma^2: 1, then 0.5 * 1 + 0.5 * 0.25
    expected = [ndtr(1), ndtr(-0.5 / math.sqrt(0.625))]
    assert [row["buy_volume"] for row in early[:2]] == pytest.approx(expected)


@pytest.mark.parametrize("degrees", [0.25, 1, 2.5, 30, 1000])
def test_students_distribution_is_scipys(degrees: float) -> None:
    from neural_gpu_bus.workloads.vpin_compiled import bulk_shares

    values = np.concatenate([np.linspace(-40, 40, 401), [1e-4, -1e-4, 1e6, -1e6]])
    shares = np.empty(len(values))
    bulk_shares(values, np.array([1.0]), degrees, shares)
    expected = stdtr(degrees, values, where=values != 0, out=np.full(len(values), 0.5))

    np.testing.assert_allclose(shares, expected, rtol=1e-11, atol=1e-14)


def test_students_distribution_near_zero_is_exact() -> None:
    """One degree is Cauchy's distribution; scipy answers 0.5 here."""
    from neural_gpu_bus.workloads.vpin_compiled import bulk_shares

    share = np.empty(1)
    bulk_shares(np.array([1e-9]), np.array([1.0]), 1.0, share)

    assert share[0] - 0.5 == pytest.approx(math.atan(1e-9) / math.pi, rel=1e-6)


def test_prices_that_never_move_are_half_and_half() -> None:
    rows = bars([5.0] * 4, [5.0] * 4, [1.0] * 4, bucket_volume=1, window=1)

    assert [row["vpin"] for row in rows] == [0, 0, 0, 0]


def test_the_default_is_a_fiftieth_of_an_average_day() -> None:
    midnight = np.datetime64("2024-01-02T00:00", "us")
    hour = np.timedelta64(1, "h")
    volume = np.array([100.0, 300.0, 0.0])
    three_dates = midnight + np.array([-30, 0, 30]) * hour
    across_midnight = midnight + np.array([-1, 0, 1]) * hour

    # The third date has no volume and does not count.
    assert default_bucket_volume(three_dates, volume) == 400 / 2 / 50
    assert default_bucket_volume(across_midnight, volume) == 400 / 1 / 50
    assert len(trades([1.0, 2.0], [3.0, 4.0])) == 50


@pytest.mark.parametrize(
    ("columns", "params", "sentence"),
    [
        ({"size": [0.0, 0.0]}, {}, "column 'size' of input 'trades' is 0 in every row"),
        ({"size": [1.0, -1.0]}, {}, "column 'size' of input 'trades' is -1 in row 2"),
        ({"price": [1.0, None]}, {}, "column 'price' of input 'trades' is NULL in row 2"),
        ({"ts": stamps(2)[::-1]}, {}, "'ts' of input 'trades' is earlier than the row before in r"),
        (
            {"aggressor_side": ["BUY", "buy"]},
            {},
            "column 'aggressor_side' of input 'trades' is 'buy' in row 2",
        ),
        (
            {},
            {"bucket_volume": 1e-9},
            "parameter 'bucket_volume' is 1e-09: a volume of 2 would fill 2e+09 buckets",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(
    columns: dict[str, Any], params: dict[str, Any], sentence: str
) -> None:
    whole = {"ts": stamps(2), "price": [1.0, 2.0], "size": [1.0, 1.0], **columns}
    with pytest.raises(BadParameterError, match=re.escape(sentence)) as caught:
        compute(CpuEngine(), "vpin.trades", {"trades": PlainColumns(**whole)}, **params)

    assert caught.value.hint


def test_bars_without_volume_say_so() -> None:
    with pytest.raises(BadParameterError, match="'volume' of input 'bars' is NULL in row 1"):
        bars([1.0, 2.0], [1.0, 2.0], [None, None])
