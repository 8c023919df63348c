"""What DuckDB, Polars and pandas cannot take is told by its column, not by a panic of theirs."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.frames.frame_conversions import CONVERSIONS
from neural_gpu_bus.memory.frames.frame_refusals import REFUSED

INDICES = pa.array([0, None, 0], pa.int32())


def _dictionary(values: Any) -> Any:
    return pa.DictionaryArray.from_arrays(INDICES, values)


HALVES = pa.array(np.array([1, 2, 3], "f2"))
WIDE = pa.array([Decimal("1.5"), None, Decimal(0)], pa.decimal256(50, 1))
INTERVALS: Any = pa.array([(0, 2, 0), None, None], pa.month_day_nano_interval())
FINE_TIMES = pa.array([1_001, None, 0], pa.time64("ns"))
ONE_EACH = pa.array([0, 1, 2, 3], pa.int32())

REFUSALS = [
    ("duckdb", HALVES),
    ("duckdb", WIDE),
    ("duckdb", pa.ListArray.from_arrays(ONE_EACH, HALVES)),
    ("duckdb", pa.StructArray.from_arrays([WIDE], ["x"])),
    ("duckdb", _dictionary(pa.array([Decimal(1)], pa.decimal256(50, 1)))),
    ("polars", WIDE),
    ("polars", INTERVALS),
    ("polars", pa.ListArray.from_arrays(ONE_EACH, INTERVALS)),
    ("pandas", FINE_TIMES),
    ("pandas", pa.ListArray.from_arrays(ONE_EACH, pa.array([b"ab"] * 3, pa.binary(2)))),
    ("pandas", pa.ListArray.from_arrays(ONE_EACH, WIDE.cast(pa.decimal32(5, 1)))),
    ("pandas", _dictionary(HALVES)),
]


@pytest.mark.parametrize(
    ("library", "column"), REFUSALS, ids=[f"{to}-{column.type}" for to, column in REFUSALS]
)
def test_a_column_that_a_library_cannot_take_is_named(
    memory: UnifiedMemory, library: str, column: Any
) -> None:
    pytest.importorskip(library)
    frame = memory.share({"fine": pa.array([1, 2, 3]), "odd": column})
    with pytest.raises(UnsupportedTypeError, match=rf"^column 'odd' \(.*\).*{library}") as caught:
        getattr(frame, library)()

    assert caught.value.column == "odd"
    assert caught.value.type == str(column.type)
    assert "leave it out: frame.select(...)" in caught.value.hint
    assert getattr(frame[["fine"]], library)() is not None
    assert frame.arrow()["odd"].type == column.type


def test_pandas_over_arrow_takes_what_pandas_refuses(memory: UnifiedMemory) -> None:
    frame = memory.share({"odd": FINE_TIMES})

    assert str(frame.pandas(arrow=True)["odd"].dtype) == "time64[ns][pyarrow]"


def test_nested_columns_that_a_library_can_take_are_not_refused(memory: UnifiedMemory) -> None:
    pytest.importorskip("duckdb")
    lists = pa.array([["a", None], None], pa.list_(pa.dictionary(pa.int32(), pa.string())))
    frame = memory.share({"x": lists, "i": INTERVALS[:2]})

    assert frame[["x"]].polars()["x"].to_list() == [["a", None], None]
    assert frame.duckdb().fetchall()[0][0] == ["a", None]


def test_the_table_says_what_is_refused() -> None:
    for library, types in REFUSED.items():
        notes = " ".join(row.note for row in CONVERSIONS if row.call == f"frame.{library}()")
        assert "refused" in notes
        assert all(kind in notes for kind in types)
