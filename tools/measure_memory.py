"""Times of unified memory beside what bounds each: ``python tools/measure_memory.py``."""

from __future__ import annotations

import mmap
import pickle
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.frame import attach_frame

GIB = 1 << 30
ROWS = 500_000
COLUMNS = 10


def microseconds(step: Callable[[], object], repeats: int, inner: int = 1) -> str:
    """Median and 99th percentile of ``repeats`` runs, each of ``inner`` calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        for _ in range(inner):
            step()
        times.append((time.perf_counter_ns() - started) / inner / 1e3)
    return f"p50 {statistics.median(times):9.2f} us   p99 {np.percentile(times, 99):9.2f} us"


def measure(memory: UnifiedMemory) -> None:
    """Print one line a figure."""
    columns = {f"c{index}": np.random.default_rng(7).random(ROWS) for index in range(COLUMNS)}
    frame = memory.put("wide", columns)
    path = str(memory.folder / frame.descriptor.path)
    held: dict[str, object] = {"wide": frame}
    spare = {name: np.empty_like(column) for name, column in columns.items()}

    def copy() -> None:
        for name, column in columns.items():
            np.copyto(spare[name], column)

    def reserve() -> None:
        schema = pa.schema([(name, pa.float64()) for name in columns])
        memory.reserve(schema, ROWS).abandon()

    def touch() -> None:
        with mmap.mmap(-1, frame.nbytes) as pages:
            np.frombuffer(pages, np.uint8)[:: mmap.PAGESIZE].sum()

    lines: list[tuple[str, Callable[[], object], int, int]] = [
        ("get, resident", lambda: memory.get("wide"), 2000, 50),
        ("  bound: dict look-up", lambda: held["wide"], 2000, 50),
        ("8 columns as numpy", lambda: [frame[f"c{index}"] for index in range(8)], 2000, 20),
        ("attach by descriptor", lambda: attach_frame(memory.folder, frame.descriptor), 2000, 1),
        ("  rival: pyarrow.memory_map", lambda: _arrow(path), 2000, 1),
        ("pickle there and back", lambda: pickle.loads(pickle.dumps(frame)), 2000, 1),
        ("put 1 row", lambda: memory.put("small", {"x": [1.0]}), 300, 1),
        ("put 40 MB", lambda: memory.put("big", columns), 15, 1),
        ("  of it: reserve 40 MB", reserve, 15, 1),
        ("  bound: copy 40 MB, pages there", copy, 15, 1),
        ("  bound: fault 40 MB of pages in", touch, 15, 1),
    ]
    for name, step, repeats, inner in lines:
        print(f"{name:34s} {microseconds(step, repeats, inner)}")


def _arrow(path: str) -> object:
    return pa.ipc.open_file(pa.memory_map(path)).get_batch(0)


if __name__ == "__main__":
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    opened = UnifiedMemory(folder, GIB)
    try:
        measure(opened)
    finally:
        opened.close()
        shutil.rmtree(folder)
