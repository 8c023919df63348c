"""Random small tables with every kind of column that aggregates take, as Hypothesis strategies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

SCHEMA = pa.schema(
    [
        ("name", pa.large_string()),
        ("code", pa.int64()),
        ("ratio", pa.float64()),
        ("flag", pa.bool_()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("w", pa.float64()),
        ("whole", pa.int64()),
        ("small", pa.int16()),
        ("price", pa.decimal128(18, 4)),
        ("ts", pa.timestamp("us", "UTC")),
        ("seq", pa.int64()),
    ]
)

ODD = [float("nan"), float("inf"), float("-inf"), 0.0, -0.0]
#: Eighths: sums and squares of them are exact, so that nothing hides behind rounding.
EIGHTHS = st.integers(-8000, 8000).map(lambda whole: whole / 8)
NAMES = ["", "A", "B", "AB", "É", "Straße", "long name of 24 letters.", "long name of 24 lettres."]
START = datetime(2024, 2, 29, 23, 58, tzinfo=UTC)


def rows(odd: bool = True, rows_max: int = 60) -> Any:
    """Lists of rows; ``odd``: NaN and infinities among the numbers."""
    floats = st.one_of(EIGHTHS, st.sampled_from(ODD)) if odd else EIGHTHS
    null = st.none()
    row = st.fixed_dictionaries(
        {
            "name": st.one_of(null, st.sampled_from(NAMES)),
            "code": st.one_of(null, st.sampled_from([-1, 0, 7, 2**62])),
            "ratio": st.one_of(null, st.sampled_from([*ODD, 1.5])),
            "flag": st.one_of(null, st.booleans()),
            "x": st.one_of(null, floats),
            "y": EIGHTHS,
            "w": st.one_of(null, st.integers(0, 5).map(float)),
            "whole": st.one_of(null, st.integers(-(2**50), 2**50)),
            "small": st.integers(-300, 300),
            "price": st.one_of(
                null, st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-4))
            ),
            "ts": st.one_of(
                null, st.integers(-900, 900).map(lambda s: START + timedelta(seconds=s))
            ),
        }
    )
    return st.lists(row, max_size=rows_max).map(numbered)


def numbered(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row with its own number, so that first and last are one row each."""
    return [{**row, "seq": number} for number, row in enumerate(found)]


def as_table(found: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(found, SCHEMA)
