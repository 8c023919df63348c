"""Values, types and NULLs of a frame in the libraries that compute with tensors, and in codes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory import Frame, UnifiedMemory

#: Holds no float32: a library that made one of it would be seen.
FINE = 1.0 + 2.0**-50
COLUMNS: dict[str, Any] = {
    "f64": pa.array([FINE, -0.0, float("inf")]),
    "f32": pa.array([0.5, 1.5, -2.0], pa.float32()),
    "i64": pa.array([2**62 + 1, -1, 0]),
    "u8": pa.array([0, 128, 255], pa.uint8()),
    "flag": pa.array([True, False, True]),
    "ts": pa.array([2**60 + 1, 0, -1], pa.timestamp("ns")),
    "day": pa.array([-1, 0, 20_000], pa.int32()).cast(pa.date32()),
}
PLAIN = {
    name: column.view({"ts": pa.int64(), "day": pa.int32()}.get(name, column.type)).to_pylist()
    for name, column in COLUMNS.items()
}


@pytest.fixture
def frame(memory: UnifiedMemory) -> Frame:
    return memory.share(COLUMNS)


def _torch(frame: Frame) -> dict[str, Any]:
    pytest.importorskip("torch")
    return frame.torch()


def _jax(frame: Frame) -> dict[str, Any]:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return frame.jax()


def _mlx(frame: Frame) -> dict[str, Any]:
    pytest.importorskip("mlx.core")
    return frame.mlx()


WAYS = {"torch": _torch, "jax": _jax, "mlx": _mlx}


@pytest.mark.parametrize("way", WAYS)
def test_tensors_have_every_digit(frame: Frame, way: str) -> None:
    tensors = WAYS[way](frame)

    assert {name: tensor.tolist() for name, tensor in tensors.items()} == PLAIN
    assert {name: tensor.tolist() for name, tensor in WAYS[way](frame[1:]).items()} == {
        name: values[1:] for name, values in PLAIN.items()
    }


@pytest.mark.parametrize("way", WAYS)
def test_nulls_of_floats_are_nan_and_others_are_refused(memory: UnifiedMemory, way: str) -> None:
    floats = memory.share({"x": [1.5, None, 2.5]})
    tensor = WAYS[way](floats)["x"]
    assert np.isnan(np.array(tensor.tolist())).tolist() == [False, True, False]

    for kind in (pa.int64(), pa.bool_(), pa.timestamp("us")):
        holed = memory.share({"x": pa.array([1, None, 0]).cast(kind)})
        with pytest.raises(UnsupportedTypeError, match=r"'x' .* has 1 NULLs.*\n.*frame.valid"):
            WAYS[way](holed)
        assert len(WAYS[way](holed[2:])["x"].tolist()) == 1


def test_jax_is_not_let_to_lose_digits_silently(frame: Frame) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(False):
        assert frame[["f32", "u8", "day"]].jax()["f32"].tolist() == PLAIN["f32"]
        for name in ("f64", "i64", "ts"):
            with pytest.raises(UnsupportedTypeError, match=rf"'{name}' is .*\n.*jax_enable_x64"):
                frame[["f32", name]].jax()


def test_torch_says_nothing_of_memory_that_it_may_not_write(frame: Frame) -> None:
    """Warnings are errors here: torch has one for arrays that are read-only."""
    torch = pytest.importorskip("torch")
    matrix = torch.from_dlpack(frame[["f64"]])
    matrix[0] = 7.0

    assert float(matrix[0]) == 7
    assert frame["f64"][0] == FINE


def test_pandas_over_arrow_keeps_null_and_type(memory: UnifiedMemory) -> None:
    frame = memory.share({"n": [1, None, 3]})
    series = frame.pandas(arrow=True)["n"]

    assert str(series.dtype) == "int64[pyarrow]"
    assert series.isna().tolist() == [False, True, False]
    series.iloc[0] = 9  # pandas copies, as Arrow's arrays never change
    assert frame.values("n").tolist() == [1, 0, 3]


def test_pandas_is_writable_and_the_frame_is_not_written(memory: UnifiedMemory) -> None:
    frame = memory.share({"x": [1.0, 2.0]})
    table = frame.pandas()
    table.loc[0, "x"] = 9.0

    assert frame["x"].tolist() == [1, 2]


@pytest.mark.parametrize("make", [np.asarray, np.array, pd.DataFrame])
def test_a_frame_is_not_taken_for_an_array_of_its_names(
    memory: UnifiedMemory, make: Callable[[Any], Any]
) -> None:
    frame = memory.share({"open": [1.0, 2.0], "close": [3.0, 4.0]})
    message = r"no one array\nhint: .*frame\['open'\].*frame\.matrix\(\).*frame\.pandas\(\)"
    with pytest.raises(UnsupportedTypeError, match=message):
        make(frame)

    assert np.asarray(frame.matrix()).tolist() == [[1, 3], [2, 4]]
    assert pd.DataFrame(dict(frame)).equals(frame.pandas())
    assert pl.DataFrame(frame).equals(frame.polars())
