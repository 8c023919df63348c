"""Row by row, with the first difference named."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.benchmarks.equality import first_difference, require_equal
from neural_gpu_bus.errors import ResultsDifferError

PLACE = {"workload": "w", "way": "the direct way", "place": "Redis", "reference": "the first way"}


def test_equal_rows_are_counted_and_nan_equals_nan() -> None:
    rows = {"desk": ["a", "b"], "value": np.array([1.0, np.nan])}

    assert require_equal(rows, {**rows, "value": np.array([1.0 + 1e-12, np.nan])}, **PLACE) == 2


def test_the_first_differing_row_is_named() -> None:
    expected = {"desk": ["a", "b", "c"], "value": np.array([1.0, 2.0, 3.0])}
    found = {"desk": ["a", "b", "x"], "value": np.array([1.0, 2.1, 3.0])}

    with pytest.raises(
        ResultsDifferError,
        match=r"differs from the first way in Redis at row 2, column 'value': .*2\.1",
    ):
        require_equal(expected, found, **PLACE)


def test_nan_against_a_number_differs() -> None:
    assert first_difference(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == 1


def test_a_missing_row_is_a_difference() -> None:
    with pytest.raises(ResultsDifferError, match="no row instead of 'b'"):
        require_equal({"desk": ["a", "b"]}, {"desk": ["a"]}, **PLACE)


def test_other_columns_are_refused() -> None:
    with pytest.raises(ResultsDifferError, match=r"stored columns \['b'\] in Redis, not \['a'\]"):
        require_equal({"a": [1]}, {"b": [1]}, **PLACE)


@pytest.mark.parametrize(("difference", "place"), [(1e-7, 0), (1e-12, None)])
def test_floats_near_zero_are_measured_by_their_column(
    difference: float, place: int | None
) -> None:
    expected = np.array([0.0, 10.0])

    assert first_difference(expected, np.array([difference, 10.0])) == place


def test_counts_are_exact() -> None:
    assert first_difference([10**15], [10**15 + 1]) == 0


def test_a_column_may_have_a_tolerance_of_its_own() -> None:
    expected, found = {"band": np.array([1000.0])}, {"band": np.array([1000.00001])}

    assert require_equal(expected, found, **PLACE, tolerances={"band": 1e-7}) == 1
    with pytest.raises(ResultsDifferError, match="band"):
        require_equal(expected, found, **PLACE)
