"""Handing 400 KB of columns to whoever wants them: write, find, map."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground

ROWS = 50_000
LOOPS = 100
NAME = "bench/memory"


def put_and_get(ground: Ground, closing: ExitStack) -> Case:
    """Arrow files in the same memory file system are what one uses today without a server."""
    column = np.random.default_rng(7).normal(size=ROWS)
    columns: dict[str, Any] = {"value": column}
    home = Path("/dev/shm")  # noqa: S108 - where shared memory lives on Linux
    folder = closing.enter_context(tempfile.TemporaryDirectory(dir=home if home.is_dir() else None))
    path = Path(folder) / "value.arrow"
    table = pa.table(columns)
    frame = ground.plane.put(NAME, columns)
    memory = ground.plane.memory
    entrants = [
        _repeated("Arrow file: write", lambda: _write(path, table)),
        _repeated("direct: put", lambda: ground.plane.put(NAME, columns)),
        _repeated("Arrow file: map", lambda: _map(path), _values),
        _repeated("direct: attach", lambda: memory.attach(frame.descriptor)["value"], _values),
        _repeated("direct: get", lambda: ground.plane.get(NAME)["value"], _values),
    ]
    skipped = {}
    if not _has_ray():
        skipped["Ray: put and get"] = "ray is not installed: pip install 'neural-gpu-bus[ray]'"
    return Case(f"{ROWS * 8 // 1000} KB of columns between processes", entrants, skipped)


def _has_ray() -> bool:
    import importlib.util

    return importlib.util.find_spec("ray") is not None


def _repeated(name: str, work: Any, rows: Any = None) -> Entrant:
    def run() -> Any:
        for _ in range(LOOPS):
            result = work()
        return result

    return Entrant(name, run, rows, factor=1 / LOOPS)


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _map(path: Path) -> Any:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["value"].to_numpy()


def _values(value: Any) -> Mapping[str, Any]:
    return {"value": np.asarray(value)}
