"""Unified memory between processes: the same pages, sudden deaths, forks, pickles."""

import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import random
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import memory_actors as actors
from fix_actors import Start
from neural_gpu_bus.errors import DatasetEvictedError
from neural_gpu_bus.memory import UnifiedMemory

TESTS = Path(__file__).parent.parent
LINUX = sys.platform == "linux"
KILLS = 100
#: A process that has not put anything by then hangs: it tells where.
BEGUN_S_MAX = 60.0


@pytest.mark.skipif(not LINUX, reason="/proc tells which pages a process sees")
def test_two_processes_see_the_same_physical_pages_read_only(
    memory: UnifiedMemory, start: Start
) -> None:
    frame = memory.put("x", {"x": np.arange(100_000, dtype="f8")})
    total = float(frame["x"].sum())
    ours = actors.page_facts(frame["x"])
    theirs = start(actors.tell_pages, memory.folder, "x")[1].recv()

    assert theirs["sum"] == total
    assert theirs["inode"] == ours["inode"]
    assert theirs["device"] == ours["device"]
    assert ours["protection"] == theirs["protection"] == "r--s"
    assert not theirs["writeable"]
    # The kernel shows physical pages only to who has CAP_SYS_ADMIN; to others they are all 0.
    assert theirs["frame"] == ours["frame"]


def test_actors_begin_with_what_they_need(start: Start) -> None:
    process, pipe = start(actors.loaded)
    assert pipe.recv() == list(actors.LOADED)
    process.join()


def test_an_actor_that_hangs_tells_where(memory: UnifiedMemory, start: Start) -> None:
    process, pipe = start(actors.hold_and_stop, memory.folder)
    assert pipe.recv()

    assert "in hold_and_stop" in actors.stacks(process.pid)


def _check_whole(memory: UnifiedMemory) -> set[int]:
    """Every dataset is one that somebody put, and nothing else takes memory. Their values."""
    values = {actors.check_uniform(memory.get(name)) for name in memory.names()}
    folder = memory.folder
    sizes = [path.stat().st_size for path in folder.glob("datasets/*")]
    found = memory.statistics()
    assert found.bytes_used == sum(sizes)
    assert found.blocks == len(sizes)
    return values


@pytest.mark.slow
def test_writers_killed_at_any_moment_leave_the_old_or_the_new_version(
    memory_folder: Path, start: Start
) -> None:
    chance = random.Random(20240229)
    seen = set()
    for turn in range(KILLS):
        process, pipe = start(actors.write_for_ever, memory_folder, turn * 1000)
        assert pipe.poll(BEGUN_S_MAX), actors.stacks(process.pid)
        assert pipe.recv()
        process.join(chance.uniform(0, 0.025))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        memory = UnifiedMemory(memory_folder, actors.BYTES_MAX)
        seen |= _check_whole(memory)
        assert len(list((memory_folder / "sessions").iterdir())) == 1  # that of ``memory``
        memory.close()
    assert len(seen) > KILLS / 2


@pytest.mark.parametrize("step", actors.DEATHS)
def test_sudden_death_at_each_step_of_a_put(memory: UnifiedMemory, start: Start, step: str) -> None:
    for value in (1, 2, 3):
        memory.put("uniform", actors.uniform(value))
    process, pipe = start(actors.die_while_putting, memory.folder, step)
    process.join()
    with pytest.raises(EOFError, match=r"^$"):
        pipe.recv()
    UnifiedMemory(memory.folder, actors.BYTES_MAX).close()

    assert process.exitcode == -signal.SIGKILL
    assert _check_whole(memory) == {4 if step.startswith("after the") else 3}
    memory.put("uniform", actors.uniform(5))
    assert _check_whole(memory) == {5}


def test_a_dead_process_s_blocks_are_swept_and_a_living_one_s_are_not(
    memory: UnifiedMemory, start: Start
) -> None:
    _, pipe = start(actors.hold_and_stop, memory.folder)
    held, reserved = pipe.recv()
    dying, other_pipe = start(actors.hold_and_stop, memory.folder)
    lost, lost_reserved = other_pipe.recv()
    attached = memory.attach(lost)
    dying.kill()
    dying.join()
    UnifiedMemory(memory.folder, actors.BYTES_MAX).close()

    assert memory.attach(held)["x"].tolist() == [0, 1, 2, 3, 4]
    assert Path(reserved).exists()
    assert not Path(lost_reserved).exists()
    assert attached["x"].tolist() == [0, 1, 2, 3, 4]
    assert actors.attach_error(memory.folder, lost) == "DatasetEvictedError"


def test_a_stopped_process_keeps_its_blocks(memory: UnifiedMemory, start: Start) -> None:
    process, pipe = start(actors.hold_and_stop, memory.folder)
    held, _ = pipe.recv()
    os.kill(process.pid, signal.SIGSTOP)
    UnifiedMemory(memory.folder, actors.BYTES_MAX).close()
    memory.put("x", {"x": [1]})

    assert memory.attach(held)["x"].tolist() == [0, 1, 2, 3, 4]


def test_readers_never_see_an_error_or_a_mixture_while_versions_fly_by(
    memory: UnifiedMemory, start: Start
) -> None:
    memory.put("x", {"x": np.full(10, 10)})
    _, pipe = start(actors.get_for_ever, memory.folder)
    assert pipe.recv()
    for rows in range(10, 400):
        memory.put("x", {"x": np.full(rows, rows)})
    pipe.send(True)

    assert pipe.recv() > 100


@pytest.mark.parametrize("context", ["forkserver", "spawn"])
def test_a_frame_goes_through_multiprocessing_by_its_descriptor(
    memory: UnifiedMemory, forking: Any, context: str
) -> None:
    frame = memory.share({"x": np.arange(1_000_000)})
    chosen = forking if context == "forkserver" else multiprocessing.get_context(context)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=chosen) as pool:
        total = pool.submit(actors.column_sum, frame).result()

    assert total == 499_999_500_000
    assert len(pickle.dumps(frame)) < 1_000


def test_a_pickled_frame_whose_block_is_gone_is_an_error(
    memory: UnifiedMemory, start: Start
) -> None:
    frame = memory.share({"x": np.arange(5)})
    pickled = pickle.dumps(frame)
    del frame
    gc.collect()
    error = start(actors.unpickle_error, pickled)[1].recv()

    assert isinstance(error, DatasetEvictedError)
    assert "is not in this memory any more" in str(error)


def test_a_pickled_frame_on_another_host_is_refused(memory: UnifiedMemory) -> None:
    frame = memory.share({"x": np.arange(5)})
    attach, (folder, descriptor) = frame.source.reference()
    with pytest.raises(DatasetEvictedError, match=r"another host \(elsewhere\)\nhint: send its"):
        attach(folder, msgspec.structs.replace(descriptor, host="elsewhere"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_by_itself_and_leaves_the_parent_s_blocks(
    memory: UnifiedMemory,
) -> None:
    memory.put("before", {"x": [1, 2]})
    loose = memory.share({"x": np.arange(4)})
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=actors.after_fork, args=(memory, loose, theirs))
    child.start()
    before, path = ours.recv()
    child.join()

    assert child.exitcode == 0
    assert before == [1, 2]
    assert Path(path).parent != Path(loose.descriptor.path).parent
    assert not (memory.folder / path).exists()
    assert memory.get("from the child")["x"].tolist() == [6]
    assert memory.attach(loose.descriptor) == loose
    assert (memory.folder / loose.descriptor.path).exists()
