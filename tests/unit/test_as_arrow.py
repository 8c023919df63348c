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


@pytest.mark.parametrize(
    "columns",
    [
        pd.DataFrame({"fine": [1, 2], "a": [1, "x"]}),
        pd.DataFrame({"fine": [1, 2], "a": [1, object()]}),
        {"fine": [1, 2], "a": pd.Series([1, "x"])},
    ],
    ids=["pandas", "pandas object", "series in a mapping"],
)
def test_a_mixed_column_of_pandas_is_named(columns: object) -> None:
    message = (
        r"^column 'a' \(object\) is no column of one type: Could not convert .*\nhint: give it"
    )
    with pytest.raises(UnsupportedTypeError, match=message) as caught:
        as_table(columns)

    assert caught.value.column == "a"


@pytest.mark.parametrize(
    "one", [pd.Series([1, 2]), pl.Series("a", [1, 2]), pa.chunked_array([[1]])]
)
def test_one_column_is_no_table(one: object) -> None:
    with pytest.raises(
        BadParameterError, match="is one column, and no table\nhint: give the column"
    ):
        as_table(one)


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [(pl.Int128, "cast({'a': pl.Int64})"), (pl.Object, "leave it out: columns.drop('a')")],
)
def test_a_type_that_polars_alone_has_is_named(kind: type[pl.DataType], way_out: str) -> None:
    columns = pl.DataFrame({"fine": [1], "a": pl.Series([7], dtype=kind)})
    with pytest.raises(UnsupportedTypeError, match=rf"'a' is Polars's {kind}") as caught:
        as_table(columns)

    assert way_out in caught.value.hint


@pytest.mark.parametrize(
    ("unit", "fits"),
    [("M8[Y]", "M8[D]"), ("M8[M]", "M8[D]"), ("M8[h]", "M8[s]"), ("m8[D]", "m8[s]")],
)
def test_a_unit_that_arrow_lacks_is_told_with_one_that_fits(unit: str, fits: str) -> None:
    values = np.zeros(2, unit)
    with pytest.raises(UnsupportedTypeError, match="column 'a'") as caught:
        as_table({"a": values})

    assert f".astype('{fits}')" in caught.value.hint
    assert as_table({"a": values.astype(fits)}).num_rows == 2
