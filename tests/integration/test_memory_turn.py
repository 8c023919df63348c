"""A process stopped while it writes to the index keeps nobody waiting for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import memory_actors as actors
from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog import writers_turn


def stop_in_the_transaction(folder: Path, answer: Connection) -> None:
    memory = UnifiedMemory(folder, actors.BYTES_MAX)
    with memory._use.index.exclusive():
        answer.send(True)
        signal.pause()


def test_whoever_waits_is_told_who_keeps_the_turn(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put("before", {"x": [1]})
    context = actors.forking()
    ours, theirs = context.Pipe()
    process = context.Process(target=stop_in_the_transaction, args=(memory.folder, theirs))
    process.start()
    assert ours.recv()
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(writers_turn, "WAIT_S_MAX", 0.2)
    try:
        with pytest.raises(HostError, match=rf"process {process.pid} \(stopped\).*\n.*kill -CONT"):
            memory.put("after", {"x": [1]})
        assert memory.get("before")["x"].tolist() == [1]  # a reader waits for nobody
        assert list(memory.folder.glob("sessions/*/*.arrow")) == []
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    assert memory.put("after", {"x": [1]}).version == 1  # the kernel gave the turn back


def test_threads_and_processes_take_turns(memory: UnifiedMemory) -> None:
    other = writers_turn.WritersTurn(memory.folder)
    turn = writers_turn.WritersTurn(memory.folder)
    inside, most = [], []

    def write(mine: writers_turn.WritersTurn) -> None:
        for _ in range(50):
            with mine.taken():
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)
                inside.pop()

    threads = [threading.Thread(target=write, args=(one,)) for one in (turn, turn, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(most) == 200
    assert set(most) == {1}
    turn.close()
    other.close()
