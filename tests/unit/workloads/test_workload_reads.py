"""A workload reads the columns it computes with, and no text as objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns


class Watched(PlainColumns):
    """Notes which columns were built as numpy arrays."""

    def __init__(self, **columns: Any) -> None:
        super().__init__(**columns)
        self.built: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.built.add(name)
        return super().__getitem__(name)


def test_texts_are_read_as_codes_alone() -> None:
    """A million asset names as Python strings take longer than the workload."""
    prices = Watched(
        date=np.arange(3).astype("datetime64[D]"),
        asset=["A"] * 3,
        price=[1.0, 2.0, 3.0],
        note=[1, 2, 3],
    )
    positions = Watched(desk=["d"], asset=["A"], quantity=[1.0])
    compute(CpuEngine(), "risk.portfolio", {"prices": prices, "positions": positions})

    assert prices.built == {"date", "price"}
    assert positions.built == {"quantity"}


def test_sides_that_are_all_null_are_not_encoded() -> None:
    trades = Watched(ts=np.arange(3), price=[1.0, 2, 3], size=[1.0] * 3, aggressor_side=[None] * 3)
    trades.codes = [].index

    assert compute(CpuEngine(), "vpin.trades", {"trades": trades}).num_rows == 50
