"""Series between processes: whole generations alone, sudden deaths, stopped readers."""

import os
import pickle
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import series_actors as actors
from fix_actors import Start
from neural_gpu_bus.errors import ClosedError, SeriesBusyError
from neural_gpu_bus.memory.series import SeriesGroup, series_bytes

TESTS = Path(__file__).parent.parent
KILLS = 6
#: Whole generations that each reader checks.
LOOKS = 10
SOAK_KILLS = 500


@pytest.mark.slow
def test_readers_see_whole_generations_alone(memory_folder: Path, start: Start) -> None:
    actors.open_group(memory_folder)
    readers = [start(actors.read_whole, memory_folder, LOOKS) for _ in range(2)]
    _, told = start(actors.write_steps, memory_folder, 5, 0.0)
    told.recv()
    for _, pipe in readers:
        assert pipe.recv()
    for _, pipe in readers:  # a look may find what the next one waits for
        assert pipe.recv() > LOOKS // 2
    told.send("end")

    assert told.recv() >= LOOKS


def _kill_at_random(folder: Path, start: Start, kills: int, seed: int) -> None:
    """After each death the last published generation is whole, and a new writer goes on."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    group = actors.open_group(folder)
    reached = 0
    for turn in range(kills):
        process, told = start(actors.write_steps, folder, turn, 0.0)
        began = told.recv()
        assert began >= reached
        if chance.random() < 0.8:  # the others die in their first step
            group.series("debit").wait_for_change(began, 10)
        process.join(chance.uniform(0, 0.03))
        published = group.generation
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        snapshot = group.snapshot()
        reached = snapshot["debit"].generation
        assert reached >= published
        if reached:
            assert actors.check_whole(snapshot) == reached
    assert reached > kills // 2

    with group.writer() as opened:
        found = opened.statistics
        assert found.live_bytes > 0
        assert series_bytes(folder) == group.count_bytes()
        steps = random.Random(1)
        for step in range(reached + 1, reached + 30):
            actors.one_step(opened, step, steps)
            opened.publish(step, step * 1000)
            assert actors.check_whole(group.snapshot()) == step


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_its_last_generation(
    memory_folder: Path, start: Start
) -> None:
    _kill_at_random(memory_folder, start, KILLS, 20240229)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_hundreds_of_writers_killed_at_random(memory_folder: Path, start: Start) -> None:
    seed = int(os.environ.get("NGB_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    _kill_at_random(memory_folder, start, SOAK_KILLS, seed)


@pytest.mark.slow
@pytest.mark.parametrize("death", actors.DEATHS)
def test_sudden_death_at_each_step_of_a_publication(
    memory_folder: Path, start: Start, death: str
) -> None:
    group, chance = actors.open_group(memory_folder), random.Random(2)
    with group.writer() as opened:
        for step in range(1, 40):
            actors.one_step(opened, step, chance)
            opened.publish(step, step * 1000)
    before = {name: snapshot.arrow() for name, snapshot in group.snapshot().items()}
    process, told = start(actors.die_while_publishing, memory_folder, death)
    process.join()
    with pytest.raises(EOFError, match=r"^$"):
        told.recv()

    assert process.exitcode == -signal.SIGKILL
    reached = actors.check_whole(group.snapshot())
    assert reached == (40 if actors.DEATHS[death][2] else 39)
    if reached == 39:
        for name, table in before.items():
            assert group.snapshot()[name].arrow().equals(table)
    with group.writer() as opened:
        assert actors.check_whole(group.snapshot()) == reached
        for step in range(reached + 1, reached + 10):
            actors.one_step(opened, step, chance)
            assert opened.publish(step, step * 1000) == step
            actors.check_whole(group.snapshot())


@pytest.mark.slow
def test_a_stopped_reader_delays_nobody(memory_folder: Path, start: Start) -> None:
    group = actors.open_group(memory_folder)
    _, told = start(actors.write_steps, memory_folder, 5, 0.0)
    told.recv()
    process, pipe = start(actors.read_whole, memory_folder, 3)
    pipe.recv()
    os.kill(process.pid, signal.SIGSTOP)
    series = group.series("debit")
    before = generation = group.generation
    while generation < before + 20:
        generation = series.wait_for_change(generation, 10)
        actors.check_whole(group.snapshot())
    os.kill(process.pid, signal.SIGCONT)

    assert pipe.recv() >= 3


def test_a_second_writer_is_refused_with_the_pid_of_the_first(
    memory_folder: Path, start: Start
) -> None:
    process, told = start(actors.write_steps, memory_folder, 5, 0.01)
    told.recv()
    group = SeriesGroup.open(memory_folder, "ledger")
    with pytest.raises(SeriesBusyError, match=f"being written by process {process.pid}") as caught:
        group.writer()
    with pytest.raises(SeriesBusyError, match="being written by"):
        group.drop()

    assert caught.value.pid == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    group.writer().close()


def _in_child(check: Callable[[], bool]) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if check() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_fork_the_parent_writes_and_the_child_reads(memory_folder: Path) -> None:
    group = actors.open_group(memory_folder)
    opened = group.writer()
    actors.one_step(opened, 1, random.Random(1))
    opened.publish(1, 1000)

    def child() -> bool:
        try:
            opened.publish()
        except ClosedError as error:
            return "was forked" in str(error) and actors.check_whole(group.snapshot()) == 1
        return False

    assert _in_child(child) == 0
    assert opened.publish(2) == 2
    opened.close()
    group.writer().close()


@pytest.mark.slow
def test_a_pickled_frame_shows_the_same_rows_in_another_process(
    memory_folder: Path, start: Start
) -> None:
    group, chance = actors.open_group(memory_folder), random.Random(2)
    with group.writer() as opened:
        for step in range(1, 150):
            actors.one_step(opened, step, chance)
        opened.publish()
        series = group.series("debit")
        several = [series.last(10, account=3), series.last(140, account=3)]
        for frame in several:
            _, pipe = start(actors.tell_rows, pickle.dumps(frame))
            assert pipe.recv() == frame.arrow().to_pylist()
        pickled = pickle.dumps(several[0])
    group.drop()
    _, pipe = start(actors.tell_rows, pickled)

    assert "not in this memory any more" in pipe.recv()
    assert several[1].rows == 140


@pytest.mark.slow
def test_a_reader_lets_go_of_arenas_that_are_gone(memory_folder: Path) -> None:
    group, chance = actors.open_group(memory_folder), random.Random(2)
    series = group.series("debit")
    with group.writer() as opened:
        for step in range(1, 250):
            actors.one_step(opened, step, chance)
            opened.publish(step, step * 1000)
            actors.check_last(series, step % actors.ACCOUNTS)
        files = {int(path.name) for path in (group.folder / "arenas").iterdir()}

        assert opened.statistics.compacted_bytes > 0
        assert min(files) > 1
        assert set(series._place.maps._arrays) <= files
