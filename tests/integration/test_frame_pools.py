"""Frames go through the pools that people use: their descriptor travels, never their bytes."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import logging
import os
import pickle
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memory_actors
import pool_actors
from neural_gpu_bus.errors import DatasetEvictedError
from neural_gpu_bus.memory import Frame, UnifiedMemory

TESTS = Path(__file__).parent.parent
ROWS = 200_000
#: A descriptor of two columns, and room for a longer path.
PICKLED_BYTES_MAX = 2_000
STORE_BYTES = 80 << 20

#: Runs a function of ``pool_actors`` with one argument in a worker.
Run = Callable[[Callable[[Any], Any], Any], Any]


@contextmanager
def _futures() -> Iterator[Run]:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=memory_actors.forking()) as pool:
        yield lambda function, argument: pool.submit(function, argument).result()


@contextmanager
def _joblib() -> Iterator[Run]:
    joblib = pytest.importorskip("joblib")
    from joblib.externals.loky import get_reusable_executor

    def run(function: Callable[[Any], Any], argument: Any) -> Any:
        # Two jobs: one alone would run in this process.
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(function)(argument) for _ in range(2))
        return found[-1]

    yield run
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def _ray() -> Iterator[Run]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    import ray

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets' paths must be short
    try:
        ray.init(
            num_cpus=1,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield lambda function, argument: ray.get(ray.remote(function).remote(argument))
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


POOLS: dict[str, Callable[[], AbstractContextManager[Run]]] = {
    "concurrent.futures": _futures,
    "joblib": _joblib,
    "ray": _ray,
}


@pytest.fixture(scope="module", params=POOLS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """One pool, used by all tests of it."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the pools themselves
        before = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), before]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with POOLS[request.param]() as pool:
            yield pool


def _frame(memory: UnifiedMemory) -> Frame:
    return memory.put("bars", {"x": np.arange(ROWS), "y": np.zeros(ROWS)})


@pytest.mark.parametrize("part", [None, slice(150_000, None)], ids=["frame", "slice"])
def test_what_is_pickled_is_small(memory: UnifiedMemory, part: slice | None) -> None:
    """2 MB of columns in two thousand bytes at most."""
    frame = _frame(memory)
    sent = pickle.dumps(frame if part is None else frame[part])

    assert len(sent) < PICKLED_BYTES_MAX


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which pages a process sees")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_sees_the_same_pages(memory: UnifiedMemory, run: Run) -> None:
    """The same file, the same physical page, and nobody may write to it."""
    frame = _frame(memory)
    ours = pool_actors.look(frame)

    assert run(pool_actors.look, frame) == ours
    assert ours["protection"] == "r--s"
    assert int(ours["inode"]) == (memory.folder / frame.descriptor.path).stat().st_ino


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which pages a process sees")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_sees_a_slice_and_no_more(memory: UnifiedMemory, run: Run) -> None:
    part = _frame(memory)[["x"]][150_000:]
    found = run(pool_actors.look, part)

    assert found == pool_actors.look(part)
    assert found["names"] == ["x"]
    assert found["sum"] == int(np.arange(150_000, ROWS).sum())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_was_dropped_is_an_error_of_its_own_there(memory: UnifiedMemory, run: Run) -> None:
    frame = _frame(memory)
    total = run(pool_actors.sum_of, frame)
    memory.drop("bars")

    with pytest.raises(DatasetEvictedError, match="'bars' version 1 is not in this memory"):
        run(pool_actors.sum_of, frame)
    assert run(pool_actors.negative, 1) == -1  # the pool lives
    assert frame["x"].sum() == total
