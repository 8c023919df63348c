"""factor.correlation: every engine equals the plain twin and numpy.corrcoef."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every_engine import compute, engine_for, every_engine_of, relative_tolerance
from naive import correlation
from neural_gpu_bus.engines import CpuEngine
from plain_columns import PlainColumns


def factors(seed: int, rows: int, count: int, gaps: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=rows)
    columns = {}
    for place in range(count):
        values = common * rng.normal() + rng.normal(size=rows) + 1000 * rng.normal()
        values[rng.random(rows) < gaps] = math.nan
        values[:2] = rng.normal(size=2)
        columns[f"factor {place}"] = values
    return columns


def matrix(engine: object, columns: dict[str, np.ndarray]) -> np.ndarray:
    table = compute(engine, "factor.correlation", {"factors": PlainColumns(**columns)})
    assert list(columns) == table["factor"].to_pylist()
    return np.stack([table[name].to_numpy() for name in columns], axis=1)


@every_engine_of("factor.correlation")
@pytest.mark.parametrize(("rows", "count"), [(2, 1), (2, 3), (40, 5), (7, 20)])
def test_every_engine_equals_the_plain_twin(engine_name: str, rows: int, count: int) -> None:
    engine = engine_for(engine_name)
    columns = factors(3, rows, count, gaps=0.02)
    expected = np.array(correlation([column.tolist() for column in columns.values()]))

    np.testing.assert_allclose(
        matrix(engine, columns), expected, rtol=relative_tolerance(engine), atol=1e-9
    )


@every_engine_of("factor.correlation")
def test_a_constant_factor_has_no_correlation(engine_name: str) -> None:
    """0.1 has no exact mean: numpy would call its rounding a movement."""
    engine = engine_for(engine_name)
    columns = {**factors(5, 50, 2, gaps=0), "still": np.full(50, 0.1)}
    got = matrix(engine, columns)

    assert np.isnan(got[2]).all()
    assert np.isnan(got[:, 2]).all()
    assert not np.isnan(got[:2, :2]).any()


@given(seed=st.integers(0, 2**32), rows=st.integers(3, 200), count=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_cpu_equals_numpy(seed: int, rows: int, count: int) -> None:
    columns = factors(seed, rows, count, gaps=0)
    expected = np.atleast_2d(np.corrcoef(np.stack(list(columns.values()))))
    got = matrix(CpuEngine(), columns)

    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-9)
    assert (np.diagonal(got) == 1).all()
    assert np.array_equal(got, got.T)
