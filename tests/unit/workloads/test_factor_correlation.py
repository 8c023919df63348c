"""factor.correlation: which columns count, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from every_engine import compute
from neural_gpu_bus.engines import CpuEngine
from neural_gpu_bus.errors import BadParameterError
from plain_columns import PlainColumns


def correlation(frame: PlainColumns, **params: Any) -> Any:
    return compute(CpuEngine(), "factor.correlation", {"factors": frame}, **params)


FRAME = PlainColumns(
    date=np.arange(4).astype("datetime64[D]"),
    size=[1.0, 2.0, 3.0, None],
    value=[2.0, 4.0, 6.0, 9.0],
    count=[3, 2, 1, 7],
)


def test_every_float_column_is_a_factor_and_gaps_leave_the_row_out() -> None:
    table = correlation(FRAME)

    assert table.column_names == ["factor", "size", "value"]
    assert table["size"].to_pylist() == pytest.approx([1.0, 1.0])


def test_rows_in_which_an_integer_factor_is_null_are_left_out() -> None:
    frame = PlainColumns(a=[1.0, 2.0, 3.0, 5.0], n=pa.array([2, None, 6, 10]))

    table = correlation(frame, columns=["a", "n"])

    assert table["n"].to_pylist() == pytest.approx([1.0, 1.0])


def test_named_columns_keep_their_order_and_may_be_integers() -> None:
    table = correlation(FRAME, columns=["count", "size"])

    assert table["factor"].to_pylist() == ["count", "size"]
    assert table["size"].to_pylist() == pytest.approx([-1.0, 1.0])


@pytest.mark.parametrize(
    ("frame", "params", "sentence"),
    [
        (FRAME, {"columns": ["sise"]}, "parameter 'columns' names 'sise', which input 'factors'"),
        (FRAME, {"columns": ["size", "size"]}, "names 'size' twice"),
        (FRAME, {"columns": ["date"]}, r"'date' of input 'factors' is date32\[day\], not a num"),
        (PlainColumns(factor=[1.0, 2.0]), {}, "a factor is named 'factor', the name of the result"),
        (PlainColumns(n=[1, 2]), {}, "'columns' of factor.correlation gives 0 factors"),
        (PlainColumns(a=[1.0, float("inf")]), {}, "'a' of input 'factors' is inf in row 2"),
        (
            PlainColumns(a=[1.0, None, 3.0], b=[None, 2.0, 4.0], c=[None, None, 1.0]),
            {},
            "has 1 rows in which all 3 factors have a value, and needs at least 2; 'c' is missing",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(
    frame: PlainColumns, params: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadParameterError, match=sentence) as caught:
        correlation(frame, **params)

    assert caught.value.hint
