"""Handing 400 KB of columns to whoever wants them: write, find, map."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground
from neural_gpu_bus.benchmarks.removal import remove_datasets

ROWS = 50_000
LOOPS = 100
NAME = "ngb_bench/memory"


def put(ground: Ground, closing: ExitStack) -> Case:
    """Columns into shared memory, under a name; an Arrow file is what one uses today."""
    closing.callback(remove_datasets, ground.plane, [NAME])
    columns = made_up_columns()
    table, path = pa.table(columns), _file(closing)
    entrants = [
        _repeated("Arrow file", lambda: _write(path, table)),
        _repeated("direct", lambda: ground.plane.put(NAME, columns)),
    ]
    return Case(f"Putting {ROWS * 8 // 1000} KB of columns where others see them", entrants, _ray())


def get(ground: Ground, closing: ExitStack) -> Case:
    """The same columns found and viewed; ``attach`` is what a worker does with a descriptor."""
    closing.callback(remove_datasets, ground.plane, [NAME])
    columns = made_up_columns()
    path = _file(closing)
    _write(path, pa.table(columns))
    frame, memory = ground.plane.put(NAME, columns), ground.plane.memory
    entrants = [
        _repeated("Arrow file, mapped", lambda: _map(path), _values),
        _repeated("direct, by name", lambda: ground.plane.get(NAME)["value"], _values),
        _repeated(
            "direct, attached",
            lambda: memory.attach(frame.descriptor)["value"],
            _values,
            "by descriptor, in a process that has it mapped",
        ),
    ]
    return Case(f"Getting a view of {ROWS * 8 // 1000} KB of columns", entrants, _ray())


def made_up_columns() -> dict[str, Any]:
    """One column, the same in every run."""
    return {"value": np.random.default_rng(7).normal(size=ROWS)}


def _file(closing: ExitStack) -> Path:
    """A path in the memory file system where there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - where shared memory lives on Linux
    folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    return Path(closing.enter_context(folder)) / "value.arrow"


def _ray() -> dict[str, str]:
    if importlib.util.find_spec("ray") is not None:
        return {"Ray": "it needs a cluster of its own: see `ngb bench memory`"}
    return {"Ray": "not installed: pip install 'neural-gpu-bus[ray]'"}


def _repeated(name: str, work: Any, rows: Any = None, note: str = "") -> Entrant:
    def run() -> Any:
        for _ in range(LOOPS):
            result = work()
        return result

    return Entrant(name, run, rows, factor=1 / LOOPS, note=note)


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _map(path: Path) -> Any:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["value"].to_numpy()


def _values(value: Any) -> Mapping[str, Any]:
    return {"value": np.asarray(value)}
