"""Everything that holds columns becomes the same Arrow table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError

EXPECTED = {"a": [1, 2], "b": ["x", None]}


@pytest.mark.parametrize(
    "columns",
    [
        pa.table(EXPECTED),
        pa.record_batch(EXPECTED),
        {"a": np.array([1, 2]), "b": ["x", None]},
        {"a": np.array([1, 2], ">i8"), "b": pa.array(["x", None])},
        pl.DataFrame(EXPECTED),
        pd.DataFrame(EXPECTED),
        pd.DataFrame(EXPECTED, index=["r", "s"]),
        pd.DataFrame(EXPECTED, index=[7, 8]).iloc[::1],
    ],
    ids=["table", "batch", "mapping", "big-endian", "polars", "pandas", "text index", "int index"],
)
def test_every_source_gives_the_same_columns(columns: object) -> None:
    assert as_table(columns).to_pydict() == EXPECTED


def test_a_named_pandas_index_becomes_a_column() -> None:
    frame = pd.DataFrame(EXPECTED).set_index("b")

    assert as_table(frame).column_names == ["a", "b"]


def test_nan_of_numpy_stays_nan_and_nat_is_null() -> None:
    table = as_table(
        {"f": np.array([np.nan, np.inf]), "t": np.array(["NaT", "2024-01-01"], "datetime64[us]")}
    )

    assert table["f"].null_count == 0
    assert table["t"].null_count == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": [1, 2]}, r"columns have different lengths \(a: 1, b: 2\)"),
        ({}, "there are no columns"),
        ({"a": np.zeros((2, 2))}, "column 'a' has 2 dimensions"),
        (pa.table([[1], [2]], ["a", "a"]), "two columns are named 'a'"),
        (42, "columns cannot be taken from a int"),
    ],
)
def test_what_is_no_table_is_refused(columns: object, message: str) -> None:
    with pytest.raises(BadParameterError, match=message):
        as_table(columns)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (np.array([1, "x"], dtype=object), "object"),
        ([1, "x"], "list"),
        ([1 << 70], "list"),
        (5, "int"),
    ],
)
def test_values_of_no_one_type_are_refused_by_column(values: object, held: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=rf"column 'a' \({held}\) is no column of one"):
        as_table({"a": values})
