"""Fork: parent and child go on, each as itself, whatever went on when it came to it."""

import gc
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.accounting import own_session
from neural_gpu_bus.memory.catalog import environment
from neural_gpu_bus.memory.files import folder as folders

SCHEMA = pa.schema([("x", pa.int64())])
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def in_child(do: Callable[[], object]) -> str:
    """What a child made by fork says of it: its answer, or its error."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(do())
        except NeuralGpuBusError as error:
            answer = f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001  a child must not go on as a test
            answer = f"crashed: {error!r}"
        os.write(theirs, answer.encode()[:4096])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        answer = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    return answer


def corners(memory: UnifiedMemory) -> list[Path]:
    return sorted((memory.folder / "sessions").iterdir())


def test_the_child_has_a_session_and_counts_what_it_inherited(memory: UnifiedMemory) -> None:
    held = memory.put("a", {"x": np.arange(1000)})
    before = corners(memory)

    def look() -> object:
        found = {process.pid: process for process in memory.statistics().processes}
        own, parent = found[os.getpid()], found[os.getppid()]
        new = [corner for corner in corners(memory) if corner not in before]
        return (
            own.mapped_bytes == parent.mapped_bytes == held.nbytes,
            len(new),
            memory.get("a").rows,
        )

    assert in_child(look) == "(True, 1, 1000)"
    assert memory.put("b", {"x": [1]}).version == 1


def test_two_planes_of_a_process_are_one_session_before_and_after_fork(
    memory: UnifiedMemory,
) -> None:
    second = UnifiedMemory(memory.folder, 256 << 20)
    assert second._use.session is memory._use.session
    assert len(corners(memory)) == 1

    def look() -> object:
        same = second._use.session is memory._use.session
        third = UnifiedMemory(memory.folder, 256 << 20)
        memory.close()
        second.close()
        return same, third.put("c", {"x": [3]}).rows, len(corners(third))

    assert in_child(look) == "(True, 1, 2)"
    second.close()
    assert memory.get("c")["x"].tolist() == [3]


def test_closing_in_the_child_leaves_the_parent_s_blocks(memory: UnifiedMemory) -> None:
    shared = memory.share({"x": [1, 2]})

    assert in_child(memory.close) == "None"
    assert memory.attach(shared.descriptor)["x"].tolist() == [1, 2]
    assert (memory.folder / shared.descriptor.path).exists()


def test_a_child_that_finds_no_room_says_so_and_harms_nobody(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has none of its own, and must not take its parent's."""
    shared = memory.share({"x": [1, 2]})
    memory.put("a", {"x": [1]})

    class NoRoom(folders.Session):
        def __init__(self, folder: Path) -> None:
            raise folders.memory_full(folder, 4096, "a test says so")

    def use() -> object:
        answers = []
        for do in (lambda: memory.put("b", {"x": [1]}), lambda: memory.share({"x": [1]})):
            try:
                do()
            except NeuralGpuBusError as error:
                answers.append(type(error).__name__)
        monkeypatch.undo()
        answers.append(str(memory.put("later", {"x": [1]}).version))
        memory.close()
        return answers

    def use_and_close() -> object:
        memory.close()
        return "closed"

    monkeypatch.setattr(own_session, "Session", NoRoom)
    assert in_child(use) == "['SharedMemoryFullError', 'SharedMemoryFullError', '1']"
    assert in_child(use_and_close) == "closed"
    monkeypatch.undo()
    assert memory.attach(shared.descriptor)["x"].tolist() == [1, 2]
    assert (memory.folder / shared.descriptor.path).exists()
    assert memory.names() == ["a", "later"]
    assert corners(memory) == [memory._use.session.corner.path]


def test_a_reservation_is_sealed_by_who_made_it(memory: UnifiedMemory) -> None:
    reservation = memory.reserve(SCHEMA, 3, name="a")
    reservation.values("x")[:] = 7

    assert "BadParameterError: reservation" in in_child(lambda: reservation.seal("a"))
    assert "made by another process, before a fork" in in_child(reservation.seal)
    assert "BadParameterError" in in_child(lambda: memory.publish(reservation))
    assert reservation.seal("a")["x"].tolist() == [7, 7, 7]
    assert memory.statistics().bytes_used == memory.get("a").nbytes


def test_a_reservation_of_another_memory_is_refused(memory: UnifiedMemory, tmp_path: Path) -> None:
    other = UnifiedMemory(tmp_path / "other", 64 << 20)
    reservation = other.reserve(SCHEMA, 3, name="a")
    with pytest.raises(NeuralGpuBusError, match=r"or in another memory\nhint: seal it where"):
        memory.publish(reservation)

    assert memory.names() == other.names() == []
    assert other.statistics().bytes_used == memory.statistics().bytes_used == 0
    other.close()


def test_a_fork_while_a_thread_is_stuck_in_the_index_is_told_in_the_child(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "FORK_WAIT_S", 0.05)
    memory.put("a", {"x": [1]})
    inside, leave = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with memory._use.index._store.reading():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=read_for_long)
    thread.start()
    inside.wait()
    answers = [
        in_child(lambda: memory.put("b", {"x": [1]})),
        in_child(lambda: memory.get("nothing")),
        in_child(lambda: UnifiedMemory(memory.folder, 64 << 20)),
        in_child(memory.close),
    ]
    leave.set()
    thread.join()

    for answer in answers[:3]:
        assert answer.startswith("HostError: this process was forked while another thread")
        assert "hint: start processes by forkserver or spawn" in answer
    assert answers[3] == "None"
    assert memory.put("c", {"x": [1]}).version == 1
    assert in_child(lambda: memory.get("c").rows) == "1"


def test_a_child_that_can_open_none_keeps_its_parent_s_session_no_more(
    memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "FORK_WAIT_S", 0.05)
    lock = os.fstat(memory._use.session.corner._lock)

    def inherited() -> object:
        for number in range(256):
            with suppress(OSError):
                if os.path.samestat(os.fstat(number), lock):
                    return True
        return False

    with memory._use.index._store.reading():
        assert in_child(inherited) == "False"


@pytest.mark.slow
def test_forks_from_threads_while_others_read_and_write(memory: UnifiedMemory) -> None:
    memory.put("a", {"x": np.full(10, 0)})
    held = memory.get("a")
    answers: list[str] = []
    errors: list[BaseException] = []
    end = time.monotonic() + 1.0

    def use(number: int) -> None:
        try:
            value = 0
            while time.monotonic() < end:
                value += 1
                memory.put(f"t{number}", {"x": np.full(10, value)})
                assert memory.get(f"t{number}")["x"][0] == value
                assert memory.get("a").rows == 10
                memory.share({"x": [value]})
        except BaseException as error:  # noqa: BLE001  told by the test
            errors.append(error)

    def child() -> object:
        name = f"child {os.getpid()}"
        memory.put(name, {"x": [os.getpid()]})
        found = [memory.get(name)["x"] for name in memory.names() if name[0] == "t"]
        whole = all((array == array[0]).all() for array in found)
        memory.drop(name)
        return whole and held.rows == 10

    def fork() -> None:
        while time.monotonic() < end:
            answers.append(in_child(child))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    threads += [threading.Thread(target=fork) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(answers) > 5
    assert set(answers) == {"True"}
    UnifiedMemory(memory.folder, 256 << 20).close()  # sweeps what the children left
    memory._use.release_kept()
    gc.collect()
    assert len(corners(memory)) == 1
    assert sum(p.unnamed_bytes for p in memory.statistics().processes) == 0
