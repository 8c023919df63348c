"""What a caller may choose about types, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions, decimal_digits


def test_a_mapping_chooses_by_column() -> None:
    options = ReadOptions(numeric={"price": "float64"})

    assert (options.numeric_of("price"), options.numeric_of("size")) == ("float64", "exact")
    assert ReadOptions(numeric="text").numeric_of("price") == "text"


def test_a_decimal_is_bits_precision_and_scale() -> None:
    assert decimal_digits("decimal128(38, 6)") == (128, 38, 6)
    assert decimal_digits("decimal256(76,-3)") == (256, 76, -3)


@pytest.mark.parametrize(
    "numeric",
    ["float32", "decimal128", "decimal128(39, 0)", "decimal256(0, 0)", {"a": "double"}, {"a": 1}],
)
def test_an_unknown_choice_of_numeric_is_refused(numeric: Any) -> None:
    with pytest.raises(BadParameterError, match="numeric is"):
        ReadOptions(numeric=numeric)


def test_an_unknown_choice_of_texts_is_refused() -> None:
    with pytest.raises(BadParameterError, match="texts is 'codes'"):
        ReadOptions(texts="codes")  # type: ignore[arg-type]
