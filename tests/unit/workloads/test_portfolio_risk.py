"""risk.portfolio: conventions small enough to check by hand, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.portfolio_risk import DAY_TABLE_MAX, tail_places
from plain_columns import PlainColumns

DAYS = np.arange(5).astype("datetime64[D]")


def risk(prices: Any, positions: Any, **params: Any) -> Any:
    date, asset, price = zip(*prices, strict=True)
    desk, held, quantity = zip(*positions, strict=True)
    inputs = {
        "prices": PlainColumns(date=np.array(date), asset=list(asset), price=list(price)),
        "positions": PlainColumns(desk=list(desk), asset=list(held), quantity=list(quantity)),
    }
    return compute(CpuEngine(), "risk.portfolio", inputs, **params)


def test_two_assets_by_hand() -> None:
    """Returns of A: +10 %, -10 %; of B: 0, +100 %. Last prices 99 and 20."""
    prices = [
        (DAYS[0], "A", 100.0), (DAYS[1], "A", 110.0), (DAYS[2], "A", 99.0),
        (DAYS[0], "B", 10.0), (DAYS[1], "B", 10.0), (DAYS[2], "B", 20.0),
    ]  # fmt: skip
    rows = risk(prices, [("x", "A", 2.0), ("y", "B", -1.0)], confidence=0.5).to_pylist()

    assert [row["desk"] for row in rows] == ["x", "y", "TOTAL"]
    assert [row["value"] for row in rows] == pytest.approx([198, -20, 178])
    # x gains 19.8 or loses 19.8; y gains 0 or loses 20; k = 1: VaR is the second largest loss.
    assert [row["value_at_risk"] for row in rows] == pytest.approx([-19.8, 0, -19.8])
    assert [row["expected_shortfall"] for row in rows] == pytest.approx([19.8, 20, 39.8])
    assert {row["observations"] for row in rows} == {2}


def test_positions_of_one_desk_and_asset_add_up() -> None:
    prices = [(day, "A", 10.0 + place) for place, day in enumerate(DAYS)]
    whole = risk(prices, [("x", "A", 3.0)])

    assert risk(prices, [("x", "A", 1.0), ("x", "A", 2.0)]).equals(whole)


def test_desks_may_be_numbers() -> None:
    prices = [(day, "A", 10.0 + place) for place, day in enumerate(DAYS)]
    named, numbered = ([(desk, "A", 3.0)] for desk in ("7", 7))

    assert risk(prices, numbered).equals(risk(prices, named))


def test_dates_without_a_price_of_every_held_asset_are_left_out() -> None:
    prices = [
        (day, asset, 10.0) for day in DAYS for asset in "AB" if (day, asset) != (DAYS[2], "B")
    ]
    table = risk(prices, [("x", "A", 1.0), ("x", "B", 1.0)])

    assert table["observations"].to_pylist() == [3, 3]
    assert table.schema.metadata == {b"dates_left_out": b"1"}


def test_assets_that_nobody_holds_do_not_matter() -> None:
    prices = [(day, "A", 10.0 + place) for place, day in enumerate(DAYS)]
    positions = [("x", "A", 1.0)]

    assert risk([*prices, (DAYS[3], "Z", 1.0)], positions).equals(risk(prices, positions))


@pytest.mark.parametrize("unit", ["D", "us", "ns"])
def test_dates_may_be_of_any_unit_and_span(unit: str) -> None:
    """Microseconds span more than the table of days, and go by sorting."""
    days = DAYS.astype(f"datetime64[{unit}]")
    prices = [(day, "A", 10.0 + place) for place, day in enumerate(days)]
    table = risk(prices[::-1], [("x", "A", 1.0)], confidence=0.5)

    assert (days[-1] - days[0]).astype(int) > DAY_TABLE_MAX or unit == "D"
    assert table["value"].to_pylist() == [14.0, 14.0]
    assert table["observations"].to_pylist() == [4, 4]


@pytest.mark.parametrize(
    ("prices", "positions", "sentence"),
    [
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 1.0)],
            [("x", "B", 1.0), ("x", "C", 1.0)],
            "input 'prices' has no row for 2 held asset(s): 'B', 'C'",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 1.0), (DAYS[1], "A", 2.0)],
            [("x", "A", 1.0)],
            "'price' of input 'prices' has two rows for 'A' on 1970-01-02, the second in row 3",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "B", 1.0)],
            [("x", "A", 1.0), ("x", "B", 1.0)],
            "has 0 dates on which all 2 held assets have a price, and needs at least 2",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 0.0)],
            [("x", "A", 1.0)],
            "column 'price' of input 'prices' is 0 in row 2",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 1.0)],
            [("x", "A", float("nan"))],
            "column 'quantity' of input 'positions' is nan in row 1",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 1.0)],
            [("TOTAL", "A", 1.0)],
            "a desk is named 'TOTAL', the label of the row over all desks",
        ),
        (
            [(DAYS[0], "A", 1.0), (DAYS[1], "A", 1.0)],
            [("x", None, 1.0)],
            "column 'asset' of input 'positions' is NULL in row 1",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(
    prices: Any, positions: Any, sentence: str
) -> None:
    with pytest.raises(BadParameterError, match=re.escape(sentence)) as caught:
        risk(prices, positions)

    assert caught.value.hint


def test_rounding_of_k_does_not_move_the_value_at_risk() -> None:
    """(1 - 0.9) * 10 is 0.9999999999999998 in binary; the second largest loss is meant."""
    assert tail_places(10, 0.9)[0] == 1
    assert tail_places(100, 0.95)[0] == 5
    assert tail_places(1, 0.99)[:2] == (0, 0)
