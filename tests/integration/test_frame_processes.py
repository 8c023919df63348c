"""Frames between processes: slices by their descriptor, and tensors that nobody else sees."""

import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frame_actors as actors
import memory_actors
from neural_gpu_bus.errors import DatasetEvictedError
from neural_gpu_bus.memory import UnifiedMemory

TESTS = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="module")
def _actors_are_found() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), before])
    yield
    os.environ["PYTHONPATH"] = before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-?threaded")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_slice_goes_to_any_process_and_sees_the_same_pages(
    memory: UnifiedMemory, method: str
) -> None:
    frame = memory.share({"x": np.arange(500_000), "y": np.zeros(500_000)})
    part = frame[["x"]][400_000:]
    context: Any = (
        memory_actors.forking() if method == "forkserver" else multiprocessing.get_context(method)
    )
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        total, inode = pool.submit(actors.sum_and_inode, part).result()
        gone = pool.submit(actors.columns_and_rows, part).result()

    assert total == int(np.arange(400_000, 500_000).sum())
    assert gone == (["x"], 100_000)
    if sys.platform == "linux":
        assert inode == (memory.folder / frame.descriptor.path).stat().st_ino


def test_a_process_started_by_hand_gets_a_slice(memory: UnifiedMemory) -> None:
    part = memory.put("bars", {"x": np.arange(1_000)})[990:]
    context = memory_actors.forking()
    ours, theirs = context.Pipe()
    process = context.Process(target=actors.tell_values, args=(part, theirs))
    process.start()

    assert ours.recv() == list(range(990, 1_000))
    process.join()


def test_a_pickled_slice_whose_block_is_gone_is_an_error(memory: UnifiedMemory) -> None:
    frame = memory.put("bars", {"x": np.arange(10)})
    pickled = pickle.dumps(frame[5:])
    memory.drop("bars")
    del frame
    gc.collect()
    arrived = pickle.loads(pickled)  # as an argument of a pool has to
    for use in (lambda frame: frame["x"], list, repr, lambda frame: frame.polars(), len):
        with pytest.raises(DatasetEvictedError, match="'bars' version 1 is not in this memory"):
            use(arrived)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which pages a process sees")
def test_a_write_to_a_tensor_is_seen_by_no_frame_and_no_other_process(
    memory: UnifiedMemory,
) -> None:
    pytest.importorskip("torch")
    frame = memory.put("bars", {"x": np.arange(100_000, dtype="f8")})
    tensor = frame.torch()["x"]
    reading = memory_actors.page_facts(tensor.numpy()[50_000:])
    shared = memory_actors.page_facts(frame["x"][50_000:])
    tensor[0] = -1.0
    other = frame.torch()["x"]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        seen = pool.submit(actors.first_value, memory.folder, "bars").result()

    assert float(tensor[0]) == -1
    assert (frame["x"][0], float(other[0]), seen) == (0, 0, 0)
    assert reading["protection"] == "rw-p"
    assert reading["inode"] == shared["inode"]
    # Physical pages are told only to who has CAP_SYS_ADMIN; to others they are all 0.
    assert reading["frame"] == shared["frame"]
    if shared["frame"]:
        assert memory_actors.page_facts(tensor.numpy())["frame"] not in (
            0,
            memory_actors.page_facts(frame["x"])["frame"],
        )
