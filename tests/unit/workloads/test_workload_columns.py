"""Bad columns are refused by input, column and row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import Input, day_ticks
from plain_columns import PlainColumns


def given(**columns: Any) -> Input:
    return Input({"bars": PlainColumns(**columns)}, "bars")


def test_float64_is_not_copied() -> None:
    frame = PlainColumns(close=np.ones(5))

    assert np.shares_memory(frame["close"], Input({"bars": frame}, "bars").floats("close"))


def test_integers_become_floats() -> None:
    assert given(close=[1, 2]).floats("close").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1.0, float("nan"), 2.0], "column 'close' of input 'bars' is nan in row 2"),
        ([1.0, 2.0, float("inf")], "column 'close' of input 'bars' is inf in row 3"),
        ([float("-inf"), float("inf")], "column 'close' of input 'bars' is -inf in row 1"),
        ([1.0, None], "column 'close' of input 'bars' is NULL in row 2"),
        (["1.0"], "column 'close' of input 'bars' is string, not a number"),
    ],
)
def test_bad_numbers_are_refused_with_their_row(values: list[Any], sentence: str) -> None:
    with pytest.raises(BadParameterError, match=re.escape(sentence)) as caught:
        given(close=values).floats("close")

    assert caught.value.parameter == "bars.close"
    assert caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_way_out_of_nan_is_not_the_one_of_null(value: float) -> None:
    """In PostgreSQL NaN is not NULL, equals itself and is above Infinity."""
    with pytest.raises(BadParameterError, match="in row 2") as caught:
        given(close=[1.0, value]).floats("close")

    assert caught.value.hint == "leave such rows out: WHERE abs(close) < 'Infinity'"


def test_integers_count_as_texts() -> None:
    column = given(desk=pa.array([9, None, 7, 9], pa.int16()))

    codes, texts = column.texts("desk")
    assert [texts[code] if code >= 0 else None for code in codes] == ["9", None, "7", "9"]
    assert codes.dtype == np.int32


def test_large_finite_numbers_are_not_mistaken_for_infinite_ones() -> None:
    assert len(given(close=[1.7e308, 1.7e308]).floats("close")) == 2


def test_signs_are_checked_where_they_matter() -> None:
    with pytest.raises(BadParameterError, match="'close' of input 'bars' is 0 in row 2"):
        given(close=[1.0, 0.0]).floats("close", positive=True)
    with pytest.raises(BadParameterError, match="'close' of input 'bars' is -3 in row 1"):
        given(close=[-3.0, 0.0]).floats("close", negative=False)


def test_order_is_checked() -> None:
    with pytest.raises(BadParameterError, match="'ts' of input 'bars' is not later than the row"):
        given(ts=np.array([1, 2, 2])).ordered_times("ts", strictly=True)
    with pytest.raises(BadParameterError, match=r"'ts' .* is earlier than the row before in row 3"):
        given(ts=np.array([1, 2, 1])).ordered_times("ts", strictly=False)
    assert len(given(ts=np.array([1, 2, 2])).ordered_times("ts", strictly=False)) == 3


def test_times_are_dates_timestamps_or_integers() -> None:
    with pytest.raises(BadParameterError, match="'ts' of input 'bars' is double, not a date"):
        given(ts=np.ones(2)).times("ts")


def test_texts_may_be_null_only_where_that_has_a_meaning() -> None:
    column = given(desk=["a", None, "b"])

    assert column.texts("desk")[0].tolist() == [0, -1, 1]
    with pytest.raises(BadParameterError, match="'desk' of input 'bars' is NULL in row 2"):
        column.complete_texts("desk")


@pytest.mark.parametrize(
    ("dtype", "ticks"),
    [("datetime64[D]", 1), ("datetime64[us]", 86_400_000_000), ("int64", 86_400_000_000_000)],
)
def test_ticks_of_a_day_follow_the_unit(dtype: str, ticks: int) -> None:
    assert ticks == day_ticks(np.zeros(1, dtype=dtype))


@pytest.mark.parametrize("values", [["unused", "b", "a", "b"], [9, 2, 1, 2]], ids=["texts", "ints"])
def test_codes_of_categories_are_those_of_the_texts_that_appear(values: list[Any]) -> None:
    """A dictionary may hold a value that no row has, and one twice."""
    indices = pa.array([2, 1, None, 3, 2], pa.int8())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(values))
    given(c=column).check_type("c", "text")
    codes, texts = given(c=column).texts("c")

    assert codes.tolist() == [0, 1, -1, 1, 0]
    assert texts == [str(values[2]), str(values[1])]


def test_a_column_of_no_type_has_no_texts() -> None:
    codes, texts = given(c=pa.nulls(3)).texts("c")

    assert (codes.tolist(), texts) == ([-1, -1, -1], [])


def test_categories_of_fractions_are_no_texts() -> None:
    column = pa.array([0.5]).dictionary_encode()
    with pytest.raises(BadParameterError, match=r"column 'c' .* is dictionary<values=double"):
        given(c=column).check_type("c", "text")
