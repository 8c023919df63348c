"""Whatever is derived from a frame keeps its bytes, whoever drops, replaces or closes."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.memory import Frame, UnifiedMemory

ROWS = 50_000
LAST = float(ROWS - 1)


def _torch(frame: Frame) -> Any:
    pytest.importorskip("torch")
    return frame.torch()["x"]


def _jax(frame: Frame) -> Any:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return frame.jax()["x"]


#: What is derived, and how its last value is read.
DERIVED: dict[str, tuple[Callable[[Frame], Any], Callable[[Any], float]]] = {
    "numpy": (lambda frame: frame["x"], lambda array: array[-1]),
    "a slice of numpy": (lambda frame: frame["x"][7:][::2], lambda array: array[-1]),
    "raw values": (lambda frame: frame.values("x"), lambda array: array[-1]),
    "a matrix": (lambda frame: frame.matrix("x", "y"), lambda array: array[-1, 0]),
    "a slice": (lambda frame: frame[10:], lambda part: part["x"][-1]),
    "columns": (lambda frame: frame[["x"]], lambda part: part["x"][-1]),
    "an Arrow table": (lambda frame: frame.arrow(), lambda table: table["x"][-1].as_py()),
    "an Arrow buffer": (
        lambda frame: frame[1:].arrow()["x"].chunk(0).buffers()[1],
        lambda buffer: np.frombuffer(buffer)[-1],
    ),
    "a Polars series": (lambda frame: frame.polars()["x"], lambda series: series[-1]),
    "a DuckDB relation": (
        lambda frame: frame.duckdb(),
        lambda relation: relation.aggregate("max(x)").fetchall()[0][0],
    ),
    "pandas over Arrow": (
        lambda frame: frame.pandas(arrow=True)["x"],
        lambda series: series.iloc[-1],
    ),
    "a torch tensor": (_torch, lambda tensor: float(tensor[-1])),
    "a jax array": (_jax, lambda array: float(array[-1])),
    "DLPack": (np.from_dlpack, lambda array: array[-1, 0]),
}


def _columns() -> dict[str, Any]:
    return {"x": np.arange(ROWS, dtype="f8"), "y": np.zeros(ROWS)}


@pytest.mark.parametrize("derived", DERIVED)
def test_it_outlives_drop_replacement_and_close(memory: UnifiedMemory, derived: str) -> None:
    derive, last = DERIVED[derived]
    held = derive(memory.put("bars", _columns()))
    for _ in range(3):
        memory.put("bars", {"x": np.full(ROWS, -1.0), "y": np.ones(ROWS)})
    memory.drop("bars")
    memory.put("others", {"x": np.full(ROWS, -2.0), "y": np.ones(ROWS)})
    memory.close()
    gc.collect()

    assert last(held) == LAST


@pytest.mark.parametrize("derived", DERIVED)
def test_a_block_without_a_name_goes_with_the_last_of_it(
    memory: UnifiedMemory, derived: str
) -> None:
    derive, last = DERIVED[derived]
    frame = memory.share(_columns())
    file = memory.folder / frame.descriptor.path
    held = derive(frame)
    del frame
    gc.collect()

    assert file.exists()
    assert last(held) == LAST
    del held
    gc.collect()
    assert not file.exists()
