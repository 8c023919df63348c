"""Handing a small computation to another process and waiting for its result."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground
from neural_gpu_bus.benchmarks.removal import remove_datasets

ROWS = 1_000
LOOPS = 20
NAME = "ngb_bench/job"


def round_trip(ground: Ground, closing: ExitStack) -> Case:
    """A correlation of two short columns: next to no work, so the way there and back is timed."""
    random = np.random.default_rng(7)
    left, right = random.normal(size=ROWS), random.normal(size=ROWS)
    closing.callback(remove_datasets, ground.plane, [NAME])
    ground.plane.put(NAME, {"left": left, "right": right})
    pool = closing.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))

    def direct() -> Any:
        for _ in range(LOOPS):
            job = ground.plane.submit("factor.correlation", {"factors": NAME})
            frame = job.wait_result()
        return np.array([frame["left"], frame["right"]])

    def pooled() -> Any:
        for _ in range(LOOPS):
            matrix = pool.submit(correlate, np.vstack([left, right])).result()
        return matrix

    entrants = [
        Entrant(
            "process pool", pooled, _rows, factor=1 / LOOPS, note="pickled both ways, not durable"
        ),
        Entrant(
            "direct", direct, _rows, factor=1 / LOOPS, note="durable lane, result block published"
        ),
    ]
    return Case(f"One job on {ROWS:,} rows, there and back", entrants)


def correlate(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Runs in the pool's process."""
    return np.asarray(np.corrcoef(columns))


def _rows(matrix: Any) -> Mapping[str, Any]:
    return {"left": matrix[0], "right": matrix[1]}
