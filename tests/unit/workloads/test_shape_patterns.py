"""patterns.shape: each shape finds itself, flat windows are flat, short inputs are refused."""

from __future__ import annotations

import numpy as np
import pytest

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.shape_patterns import SHAPES, WINDOW, templates
from plain_columns import PlainColumns


def rows(close: np.ndarray) -> list[dict[str, object]]:
    ts = np.arange(len(close)).astype("datetime64[us]")
    table = compute(CpuEngine(), "patterns.shape", {"bars": PlainColumns(ts=ts, close=close)})
    listed: list[dict[str, object]] = table.to_pylist()
    return listed


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_finds_itself_at_any_price_and_size(shape: str) -> None:
    row = rows(1000.0 + 3.0 * templates()[:, SHAPES.index(shape)])[0]

    assert row["shape"] == shape
    assert row["score"] == pytest.approx(1)


def test_a_window_without_movement_is_flat() -> None:
    row = rows(np.full(WINDOW, 0.1))[0]

    assert (row["shape"], row["score"]) == ("flat", 0)
    assert all(row[shape] == 0 for shape in SHAPES)


def test_templates_are_normalised_and_cannot_be_written() -> None:
    bank = templates()

    np.testing.assert_allclose(bank.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose((bank**2).sum(axis=0), 1)
    assert not bank.flags.writeable


def test_fewer_bars_than_a_window_are_refused() -> None:
    with pytest.raises(BadParameterError, match="input 'bars' has 31 rows and needs at least 32"):
        rows(np.ones(WINDOW - 1))
