"""Tensors: the values of numpy's own stacking, made once and found again."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    DatasetNotFoundError,
    UnsupportedTypeError,
)
from neural_gpu_bus.matching import tensor_columns
from neural_gpu_bus.matching.tensor_columns import fill
from neural_gpu_bus.matching.tensors import TENSOR_KEY, tensor
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog.names import tensor_names
from plain_columns import PlainColumns

BARS = {
    "ts": np.arange(5).astype("datetime64[us]"),
    "close": np.array([1.5, 2.5, np.nan, 4.5, 5.5]),
    "low": np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32),
    "size": np.array([1, 2, 3, 4, 5], np.int32),
    "name": list("abcde"),
    "up": [True, False, True, True, False],
}
NUMBERS = np.stack([BARS["close"], BARS["low"], BARS["size"]], axis=1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_all_numbers_in_the_type_and_layout_asked_for(
    memory: UnifiedMemory, dtype: Any, layout: Any
) -> None:
    memory.put("bars", BARS)
    made = tensor(memory, "bars", dtype=dtype, layout=layout)

    assert made.flags.c_contiguous
    assert not made.flags.writeable
    expected = NUMBERS.astype(dtype)
    np.testing.assert_array_equal(made, expected if layout == "rows" else expected.T)
    assert made.dtype == dtype


def test_columns_come_in_the_order_named(memory: UnifiedMemory) -> None:
    memory.put("bars", BARS)
    made = tensor(memory, "bars", ["size", "up", "size"], dtype="int64")

    assert made.tolist() == [[1, 1, 1], [2, 0, 2], [3, 1, 3], [4, 1, 4], [5, 0, 5]]
    assert tensor(memory, "bars", dtype="int64").tolist() == [[1], [2], [3], [4], [5]]


def test_it_is_made_once_and_found_by_all(memory: UnifiedMemory) -> None:
    frame = memory.put("bars", BARS)
    ticks = iter([100, 350])
    first = tensor(memory, "bars", ["close", "low"], clock_ns=lambda: next(ticks))
    again = tensor(memory, frame, ["close", "low"])
    other_process = UnifiedMemory(memory.folder, 1 << 20)
    there = tensor(other_process, "bars", ["close", "low"])
    other_process.close()

    assert again.tobytes() == there.tobytes() == first.tobytes()
    (name,) = (name for name in memory.names() if name != "bars")
    assert name.startswith(tensor_names(frame.descriptor.uuid))
    assert memory.get(name).descriptor.version == 1


@pytest.mark.parametrize(
    "other", [{"columns": ["low", "close"]}, {"dtype": "float64"}, {"layout": "columns"}], ids=str
)
def test_every_difference_is_a_tensor_of_its_own(
    memory: UnifiedMemory, other: dict[str, Any]
) -> None:
    memory.put("bars", BARS)
    tensor(memory, "bars", ["close", "low"])
    tensor(memory, "bars", **({"columns": ["close", "low"]} | other))

    assert len(memory.names()) == 3


def test_a_newer_version_has_a_newer_tensor(memory: UnifiedMemory) -> None:
    memory.put("bars", {"a": [1.0], "b": [2.0]})
    before = tensor(memory, "bars")
    memory.put("bars", {"a": [3.0], "b": [4.0]})

    assert tensor(memory, "bars").tolist() == [[3.0, 4.0]]
    assert before.tolist() == [[1.0, 2.0]]


def test_it_goes_with_what_it_was_made_of(memory: UnifiedMemory) -> None:
    memory.put("bars", BARS)
    held = tensor(memory, "bars")
    memory.drop("bars")

    assert memory.names() == []
    np.testing.assert_array_equal(held, NUMBERS.astype("float32"))


def test_what_has_no_name_is_made_anew_and_leaves_no_name(memory: UnifiedMemory) -> None:
    made = tensor(memory, memory.share({"a": [1.0, 2.0], "b": [3, 4]}))

    assert made.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert memory.names() == []


def test_a_part_is_made_anew_and_columns_chosen_are_the_same_dataset(
    memory: UnifiedMemory,
) -> None:
    frame = memory.put("bars", BARS)
    tensor(memory, frame.select("close", "size"), ["close", "size"])
    part = tensor(memory, frame[1:4], ["close", "size"])

    np.testing.assert_array_equal(part, tensor(memory, "bars", ["close", "size"])[1:4])
    assert len(memory.names()) == 2


def test_it_lies_in_its_region_with_what_it_cost(memory: UnifiedMemory) -> None:
    frame = memory.put("bars", BARS)
    ticks = iter([100, 350])
    tensor(memory, "bars", clock_ns=lambda: next(ticks))
    (block,) = memory.blocks(tensor_names(frame.descriptor.uuid))

    assert (block.region, block.reload_ns) == ("neural", 250)


@pytest.mark.parametrize(("layout", "shape"), [("rows", (5, 1)), ("columns", (1, 5))])
def test_a_column_that_fits_already_is_shown_as_it_is(
    memory: UnifiedMemory, layout: Any, shape: tuple[int, int]
) -> None:
    frame = memory.put("bars", BARS)
    made = tensor(memory, "bars", ["close"], dtype="float64", layout=layout)

    assert made.shape == shape
    assert made.ctypes.data == frame["close"].ctypes.data
    assert memory.names() == ["bars"]


def test_others_read_the_block_as_a_plain_column(memory: UnifiedMemory) -> None:
    memory.put("bars", {"a": [1.0, 2.0], "b": [3.0, 4.0]})
    made = tensor(memory, "bars", layout="columns")
    (name,) = (name for name in memory.names() if name != "bars")

    found = memory.get(name).arrow()

    assert found["values"].to_pylist() == made.ravel().tolist() == [1.0, 2.0, 3.0, 4.0]
    told = json.loads(found.schema.metadata[TENSOR_KEY])
    assert (told["shape"], told["columns"]) == ([2, 2], ["a", "b"])


def test_null_becomes_nan(memory: UnifiedMemory) -> None:
    frame = memory.share(
        pa.table({"f": [1.0, None], "i": [None, 2], "b": [True, None], "n": pa.nulls(2, pa.int8())})
    )
    made = tensor(memory, frame, ["f", "i", "b", "n"])

    np.testing.assert_array_equal(made, [[1, np.nan, 1, np.nan], [np.nan, 2, np.nan, np.nan]])


def test_no_rows_make_a_tensor_of_no_rows(memory: UnifiedMemory) -> None:
    memory.put("none", {"a": np.zeros(0), "b": np.zeros(0, np.int16)})

    assert tensor(memory, "none").shape == (0, 2)


@pytest.mark.parametrize(
    ("columns", "how", "error", "sentence"),
    [
        (["i", "j"], {"dtype": "int64"}, BadValueError, "'i' is NULL in row 2: int64 has no NULL"),
        (["i"], {"dtype": "int64"}, BadValueError, "'i' is NULL in row 2"),
        (["f"], {"dtype": "int64"}, UnsupportedTypeError, "'f' is double, no integer"),
        (["f", "big"], {}, BadValueError, r"'big' is 1e\+300 in row 3, which float32 does not"),
        (["j"], {"dtype": "float16"}, BadValueError, "'j' is 70000 in row 1, which float16 does"),
        (["u"], {"dtype": "int64"}, BadValueError, "'u' is 18446744073709551615 in row 2"),
        (["t"], {}, UnsupportedTypeError, "'t' is string, no number"),
        (["ff"], {}, ColumnNotFoundError, "no column 'ff' in 'mixed' version 1"),
        ([], {}, BadParameterError, "there are no columns for a tensor"),
        ("f", {}, BadParameterError, "columns is 'f'"),
        (["f"], {"dtype": "float23"}, BadParameterError, "there is no dtype 'float23'"),
        (["f"], {"layout": "row"}, BadParameterError, "there is no layout 'row'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said(
    memory: UnifiedMemory, columns: Any, how: Any, error: Any, sentence: str
) -> None:
    source = pa.table(
        {
            "i": pa.array([1, None, 3]),
            "j": [70_000, 2, 3],
            "f": [1.0, 2.0, 3.0],
            "big": [1.0, np.inf, 1e300],
            "u": pa.array([1, 2**64 - 1, 3], pa.uint64()),
            "t": ["a", "b", "c"],
        }
    )
    memory.put("mixed", source)
    before = memory.statistics().blocks
    with pytest.raises(error, match=sentence) as caught:
        tensor(memory, "mixed", columns, **how)

    assert caught.value.hint
    assert memory.names() == ["mixed"]
    assert memory.statistics().blocks == before


def test_an_unknown_dataset_is_told(memory: UnifiedMemory) -> None:
    with pytest.raises(DatasetNotFoundError, match="no dataset 'bars'"):
        tensor(memory, "bars")


_COLUMN = st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u4"])


@given(data=st.data(), rows=st.integers(0, 40), part_bytes=st.sampled_from([8, 64, 1 << 18]))
def test_filling_part_by_part_is_stacking(data: Any, rows: int, part_bytes: int) -> None:
    kinds = data.draw(st.lists(_COLUMN, min_size=1, max_size=4))
    small = {"min_value": -100, "max_value": 100}
    columns = {
        f"c{place}": data.draw(
            hnp.arrays(kind, rows, elements=small if kind[0] == "f" else None, fill=st.nothing())
        )
        for place, kind in enumerate(kinds)
    }
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    expected = np.empty((rows, len(columns)), dtype)
    for place, values in enumerate(columns.values()):
        expected[:, place] = values
    frame: Any = PlainColumns(**columns)
    frame.types = {name: str(pa.from_numpy_dtype(x.dtype)) for name, x in columns.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_columns, "_PART_BYTES", part_bytes)
        for order in ("C", "F"):
            made = np.full((rows, len(columns)), 7, dtype, order=order)  # type: ignore[call-overload]
            fill(made, frame, list(columns))
            np.testing.assert_array_equal(made, expected)


def test_threads_that_ask_at_once_get_the_same(memory: UnifiedMemory) -> None:
    """Each may make it; whichever is published last holds the same values."""
    memory.put("bars", BARS)
    together = threading.Barrier(4, timeout=10)

    def ask() -> Any:
        together.wait()
        return tensor(memory, "bars")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        for made in asked:
            np.testing.assert_array_equal(made.result(), NUMBERS.astype("float32"))

    assert len(memory.names()) == 2
