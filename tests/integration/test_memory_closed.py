"""Late uses, dead and stopped processes, foreign files: told, and nobody waits for ever."""

import os
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import memory_actors as actors
from neural_gpu_bus.errors import ClosedError, DatasetEvictedError, HostError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.files import folder as folders


def hold_more_than_half(folder: Path, answer: Connection) -> None:
    memory = UnifiedMemory(folder, actors.BYTES_MAX)
    held = memory.share({"x": np.zeros(memory.budget("shared") // 8 * 6 // 10)})
    answer.send(held.nbytes)
    signal.pause()


def lock_the_folder(folder: Path, answer: Connection) -> None:
    with folders.folder_locked(folder):
        answer.send(True)
        signal.pause()


def test_a_use_after_the_end_is_told_and_spoils_nothing(memory_folder: Path) -> None:
    for _ in range(2):
        memory = UnifiedMemory(memory_folder, 64 << 20)
        memory.put("a", {"x": [1]})
        memory.close()
        with pytest.raises(ClosedError, match="is closed in this process"):
            memory.names()
        with pytest.raises(ClosedError, match="is closed in this process"):
            memory.get("a")
        with pytest.raises(ClosedError, match="is closed in this process"):
            memory.drop("a")


def test_what_a_killed_process_held_counts_no_more(memory_folder: Path) -> None:
    memory = UnifiedMemory(memory_folder, actors.BYTES_MAX)
    context = actors.forking()
    ours, theirs = context.Pipe()
    process = context.Process(target=hold_more_than_half, args=(memory_folder, theirs))
    process.start()
    nbytes = ours.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    assert memory.share({"x": np.zeros(memory.budget("shared") // 8 * 6 // 10)}).nbytes == nbytes
    memory.close()


def test_a_folder_that_a_stopped_process_has_locked_is_told(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = actors.forking()
    ours, theirs = context.Pipe()
    process = context.Process(target=lock_the_folder, args=(memory_folder, theirs))
    process.start()
    assert ours.recv()
    monkeypatch.setattr(folders, "LOCK_WAIT_S_MAX", 0.1)
    try:
        with pytest.raises(HostError, match=r"locked for over 0.1 s\n.*lslocks"):
            UnifiedMemory(memory_folder, 64 << 20)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    UnifiedMemory(memory_folder, 64 << 20).close()


def test_a_pipe_in_place_of_a_block_is_no_block(memory: UnifiedMemory) -> None:
    path = memory.folder / memory.put("a", {"x": [1]}).descriptor.path
    memory._use.release_kept()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DatasetEvictedError, match="another size"):
        memory.get("a")


def test_a_memory_whose_folder_is_gone_keeps_no_other_from_living_on_in_a_child(
    memory: UnifiedMemory, tmp_path: Path
) -> None:
    lost = UnifiedMemory(tmp_path / "lost", 64 << 20)
    others = UnifiedMemory(tmp_path / "others", 64 << 20)
    shutil.rmtree(lost.folder)
    pid = os.fork()
    if pid == 0:
        lives = [one._use.session.corner.pid == os.getpid() for one in (memory, others)]
        os._exit(0 if all(lives) else 1)

    assert os.waitpid(pid, 0)[1] == 0
    others.close()
