"""Every row of the table of conversions, by address: do the result's bytes lie in the block?"""

import decimal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import MissingDependencyError, UnsupportedTypeError
from neural_gpu_bus.memory import Frame, UnifiedMemory
from neural_gpu_bus.memory.frames.frame_conversions import COLUMNS, CONVERSIONS, Conversion

ROWS = 1_000
LONG = "a text that Polars does not keep in its own sixteen bytes "

VALUES: dict[str, Any] = {
    "floats": pa.array(np.arange(ROWS) / 8),
    "integers": pa.array(np.arange(ROWS)),
    "bool": pa.array(np.arange(ROWS) % 3 == 0),
    "moments": pa.array(np.arange(ROWS)).cast(pa.timestamp("us", "UTC")),
    "short moments": pa.array([date(2024, 1, 1)] * ROWS),
    "fixed binary": pa.array([b"a" * 16] * ROWS, pa.binary(16)),
    "text": pa.array([f"{LONG}{row}" for row in range(ROWS)], pa.large_string()),
    "dictionary": pa.array([f"{LONG}{row % 5}" for row in range(ROWS)]).dictionary_encode(),
    "decimals": pa.array([decimal.Decimal(row) for row in range(ROWS)], pa.decimal128(20, 2)),
    "nested": pa.array([[row, 2.5] for row in range(ROWS)], pa.large_list(pa.float64())),
}


#: What was made, which has to live while its addresses are looked at, and these.
Found = tuple[Any, list[int]]


def _numpy(array: np.ndarray[Any, Any]) -> Found:
    return array, [int(array.__array_interface__["data"][0])]


def _arrow(column: Any, first: int = 0) -> Found:
    """All buffers from that number on, children and dictionary too."""
    chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    buffers = chunk.buffers()[first:]
    if pa.types.is_dictionary(chunk.type):
        buffers += chunk.dictionary.buffers()
    return column, [buffer.address for buffer in buffers if buffer is not None and buffer.size]


def _polars(frame: Frame, name: str) -> Found:
    import polars as pl

    series = frame.polars()[name]
    exported = series.to_arrow(compat_level=pl.CompatLevel.newest())
    return _arrow(exported, 2 if series.dtype == pl.String else 1)


def _duckdb(frame: Frame, name: str) -> Found:
    """What DuckDB is given; what it does within, only its results tell."""
    duckdb = pytest.importorskip("duckdb")
    given = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "from_arrow", given.append)
        frame.duckdb()
    return _arrow(given[0][name])


def _pandas(frame: Frame, name: str) -> Found:
    array = frame.pandas()[name].array
    codes = getattr(array, "codes", None)
    return _numpy(np.asarray(array) if codes is None else codes)


def _jax(frame: Frame, name: str) -> Found:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        array = frame.jax()[name]
        return array, [int(array.unsafe_buffer_pointer())]


def _torch(frame: Frame, name: str) -> Found:
    pytest.importorskip("torch")
    tensor = frame.torch()[name]
    return tensor, [int(tensor.data_ptr())]


def _mlx(frame: Frame, name: str) -> Found:
    pytest.importorskip("mlx.core")
    return _numpy(np.asarray(memoryview(frame.mlx()[name])))


#: As in the table -> addresses of the bytes of that column.
CALLS: dict[str, Callable[[Frame, str], Found]] = {
    "frame[name]": lambda frame, name: _numpy(frame[name]),
    "frame.values(name)": lambda frame, name: _numpy(frame.values(name)),
    "frame.codes(name)": lambda frame, name: _numpy(frame.codes(name)[0]),
    "frame.matrix(name, ...)": lambda frame, name: _numpy(frame.matrix(name)),
    "frame.arrow()": lambda frame, name: _arrow(frame.arrow()[name]),
    "pyarrow.table(frame)": lambda frame, name: _arrow(pa.table(frame)[name]),
    "frame.polars()": _polars,
    "frame.duckdb()": _duckdb,
    "frame.pandas()": _pandas,
    "frame.pandas(arrow=True)": lambda frame, name: _arrow(
        frame.pandas(arrow=True)[name].array.__arrow_array__()
    ),
    "frame.torch()": _torch,
    "frame.jax()": _jax,
    "frame.mlx()": _mlx,
    "numpy.from_dlpack(frame)": lambda frame, name: _numpy(np.from_dlpack(frame)),
}
CASES = [
    pytest.param(row, columns, id=f"{row.call}-{columns}")
    for row in CONVERSIONS
    for columns in row.columns
]


def _file_mapped_at(address: int) -> int:
    """Inode of what is mapped there; 0 for memory that is no file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return int(line.split()[4])
    raise AssertionError(f"nothing is mapped at {address}")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file an address lies in")
@pytest.mark.parametrize("part", ["whole", "slice"])
@pytest.mark.parametrize(("row", "columns"), CASES)
def test_a_row_of_the_table(
    memory: UnifiedMemory, row: Conversion, columns: str, part: str
) -> None:
    frame = memory.share({columns: VALUES[columns]})
    file = memory.folder / frame.descriptor.path
    held, addresses = CALLS[row.call](frame if part == "whole" else frame[64:], columns)
    inside = {_file_mapped_at(address) == file.stat().st_ino for address in addresses}

    assert held is not None
    assert inside == {not row.copies}


def test_the_table_is_whole() -> None:
    assert set(VALUES) == set(COLUMNS)
    assert set(CALLS) == {row.call for row in CONVERSIONS}
    assert len(CASES) == len({case.id for case in CASES})


LIBRARIES = {
    "frame.torch()": "torch",
    "frame.jax()": "jax",
    "frame.mlx()": "mlx.core",
}


@pytest.mark.parametrize("call", LIBRARIES)
@pytest.mark.parametrize("columns", ["text", "dictionary", "decimals", "nested", "fixed binary"])
def test_tensors_of_what_is_no_number_are_refused(
    memory: UnifiedMemory, call: str, columns: str
) -> None:
    pytest.importorskip(LIBRARIES[call])
    frame = memory.share({columns: VALUES[columns]})
    with pytest.raises(UnsupportedTypeError, match=rf"'{columns}' is .* no number\nhint: leave it"):
        getattr(frame, call[6:-2])()


@pytest.mark.parametrize("library", ["torch", "jax", "mlx.core"])
def test_a_missing_library_is_named(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    name = library.partition(".")[0]
    with pytest.raises(MissingDependencyError, match=f"{name} is not installed"):
        getattr(memory.share({"x": [1]}), name)()
