"""Several datasets in one step, seen by others at once and never in part."""

import gc
import os
import random
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

import memory_actors as actors
import memory_workers as workers
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.catalog.names_clock import NamesClock

NAMES = list(workers.PUBLISHED)
ROWS = 500


@pytest.fixture(scope="module")
def any_start() -> Iterator[workers.Start]:
    with workers.starting() as start:
        yield start


@pytest.fixture
def start(any_start: workers.Start, memory: UnifiedMemory) -> Iterator[Callable[[], Any]]:
    """Start a worker over the folder."""
    running = []

    def begin() -> workers.Remote:
        running.append(any_start(memory.folder, actors.BYTES_MAX))
        return running[-1]

    yield begin
    for worker in running:
        worker.kill()


def begun(actor: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
    """An actor in a process of its own, and our end of its pipe."""
    context = actors.forking()
    ours, theirs = context.Pipe()
    process = context.Process(target=actor, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def colliding(name: str) -> str:
    """Another name with the same counter."""
    place = NamesClock.place(name)
    return next(f"n{n}" for n in count() if NamesClock.place(f"n{n}") == place)


def check_whole(memory: UnifiedMemory) -> int:
    """One value of all three names, and no file that nobody knows."""
    values = {actors.check_uniform(memory.get(name)) for name in NAMES}
    assert len(values) == 1
    sizes = [path.stat().st_size for path in memory.folder.glob("datasets/*")]
    found = memory.statistics()
    assert (found.blocks, found.bytes_used) == (len(sizes), sum(sizes))
    return values.pop()


@pytest.mark.slow
def test_who_saw_one_of_a_step_sees_all_of_it(start: Callable[[], workers.Remote]) -> None:
    """Gets are separate looks: the next may show more, never less."""
    writer, *readers = (start() for _ in range(3))
    writer.tell("publish_often", NAMES, 1, 1, ROWS)
    for reader in readers:
        reader.send("read_together", NAMES, 200)
    writer.tell("publish_often", NAMES, 2, 199, ROWS)

    assert min(reader.answer() for reader in readers) > 50


@pytest.mark.slow
def test_two_writers_of_the_same_names_leave_them_of_one_step(
    memory: UnifiedMemory, start: Callable[[], workers.Remote]
) -> None:
    writers = [start() for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.send("publish_often", NAMES, 1 + 1000 * number, 60, ROWS)
    for writer in writers:
        writer.answer()

    found = [workers.value_of(memory.get(name)) for name in NAMES]
    assert len(set(found)) == 1
    assert found[0][2] == 120


@pytest.mark.parametrize("step", workers.DEATHS)
def test_sudden_death_while_several_are_published(memory: UnifiedMemory, step: str) -> None:
    for value in (1, 2, 3):
        memory.put_all({name: actors.uniform(value) for name in NAMES})
    process, pipe = begun(workers.die_while_publishing, memory.folder, step)
    process.join()
    with pytest.raises(EOFError, match=r"^$"):
        pipe.recv()
    pipe.close()

    assert process.exitcode == -signal.SIGKILL
    # Nobody has mended anything yet, and what is found is right all the same.
    after = 4 if step.startswith("after the") else 3
    for _ in range(2):
        assert {actors.check_uniform(memory.get(name)) for name in NAMES} == {after}
    UnifiedMemory(memory.folder, actors.BYTES_MAX).close()
    assert check_whole(memory) == after
    memory.put_all({name: actors.uniform(5) for name in NAMES})
    assert check_whole(memory) == 5
    assert memory.get("a") is memory.get("a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills", [25, pytest.param(400, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
def test_killed_at_any_moment_all_or_none_are_new(memory: UnifiedMemory, kills: int) -> None:
    seed = random.Random().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    memory.put_all({name: actors.uniform(0) for name in NAMES})
    seen = set()
    for turn in range(1, kills + 1):
        process, pipe = begun(workers.publish_for_ever, memory.folder, turn * 1000)
        assert pipe.recv()
        process.join(chance.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        pipe.close()
        UnifiedMemory(memory.folder, actors.BYTES_MAX).close()
        seen.add(check_whole(memory))

    assert len(seen) > kills / 3


@pytest.mark.slow
def test_a_get_after_a_put_returned_gives_it_always(
    memory: UnifiedMemory, start: Callable[[], workers.Remote]
) -> None:
    """Names of one counter too: each other's changes must not hide a change."""
    other, twin = start(), colliding("a")
    for value in range(1, 150):
        name = ("a", twin, "b")[value % 3]
        other.tell("put", name, value, ROWS)
        found = memory.get(name)
        assert workers.value_of(found)[0] == value
        assert memory.get(name) is found
        if value > 3:
            for name in ("a", twin, "b"):
                assert workers.value_of(memory.get(name))[0] in range(value - 2, value + 1)


def test_a_drop_elsewhere_is_seen_at_once(
    memory: UnifiedMemory, start: Callable[[], workers.Remote]
) -> None:
    other, twin = start(), colliding("a")
    for value in range(1, 40):
        memory.put("a", workers.uniform(value, ROWS))
        memory.put(twin, workers.uniform(-value, ROWS))
        assert memory.get("a").rows == memory.get(twin).rows == ROWS
        other.tell("do", "drop", "a")
        with pytest.raises(DatasetNotFoundError, match="no dataset 'a'"):
            memory.get("a")
        assert workers.value_of(memory.get(twin))[0] == -value


def test_a_counter_left_odd_by_a_killed_writer_hides_nothing(
    memory: UnifiedMemory, start: Callable[[], workers.Remote]
) -> None:
    other = start()
    memory.put_all({name: actors.uniform(3) for name in NAMES})
    held = memory.get("a")
    step = "after the commit, before the counter of the name"
    process, pipe = begun(workers.die_while_publishing, memory.folder, step)
    process.join()
    pipe.close()
    counters = memory._use.index.clock.counters

    assert counters[NamesClock.place("a")] & 1
    assert actors.check_uniform(memory.get("a")) == 4
    assert actors.check_uniform(held) == 3
    for value in range(5, 9):
        other.tell("put", "a", value, ROWS)
        assert workers.value_of(memory.get("a"))[0] == value
    assert not counters[NamesClock.place("a")] & 1


def test_a_step_that_is_refused_changes_nothing(memory: UnifiedMemory) -> None:
    memory.put_all({name: workers.uniform(1, ROWS) for name in NAMES})
    used = memory.statistics().bytes_used
    good = [memory._copied(workers.uniform(2, ROWS), "shared", name) for name in NAMES[:2]]
    for wrong, why in (
        ([*good, memory._copied(workers.uniform(2, ROWS), "shared", "a")], "different names"),
        ([memory._copied(workers.uniform(2, ROWS), "shared")], "different names"),
        ([good[0]], "sealed or abandoned"),
    ):
        with pytest.raises(BadParameterError, match=why):
            memory.publish(*wrong)
    del good, wrong
    gc.collect()

    assert [workers.value_of(memory.get(name))[0] for name in NAMES] == [1, 1, 1]
    memory._use.release_kept()
    assert memory.statistics().bytes_used == used
    assert memory.put_all({}) == {}
