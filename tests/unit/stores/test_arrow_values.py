"""Arrow values in and out, as pyarrow's own conversions have them."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.stores.arrow_values import booleans, first_true, text_array


@settings(deadline=None, derandomize=True)
@given(
    values=st.lists(st.sampled_from([True, False, None]), max_size=40),
    start=st.integers(0, 40),
    length=st.integers(0, 40),
)
def test_booleans_of_any_slice(values: list[bool | None], start: int, length: int) -> None:
    array = pa.array(values, pa.bool_()).slice(min(start, len(values)), length)
    expected = [bool(value) for value in array.to_pylist()]

    assert booleans(array).tolist() == expected
    assert booleans(array.is_valid()).tolist() == [value.is_valid for value in array]
    assert first_true(array) == (expected.index(True) if any(expected) else None)


@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.text()))
def test_texts_are_what_was_given(values: list[str]) -> None:
    array = text_array(values)

    array.validate(full=True)
    assert array.to_pylist() == values
