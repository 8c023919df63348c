"""Live tables between processes: whole positions alone, sudden deaths, copies under readers."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

import live_actors as actors
from fix_actors import Start
from neural_gpu_bus.errors import StaleError

TESTS = Path(__file__).parent.parent
LOOKS = 100
KILLS = 8
SOAK_KILLS = int(os.environ.get("NGB_TEST_KILLS", "1000"))


@pytest.mark.slow
def test_readers_see_whole_positions_while_tables_are_copied_anew(
    memory_folder: Path, start: Start
) -> None:
    actors.prepare(memory_folder)
    _, told = start(actors.follow, memory_folder, 7, 25)
    readers = [start(actors.read, memory_folder, LOOKS) for _ in range(2)]
    assert told.recv() > 0
    for _, pipe in readers:
        assert pipe.recv()

    for _, pipe in readers:
        seen, _ = pipe.recv()
        assert seen > LOOKS // 4
    told.send("end")
    assert told.recv() > 0


def _kill_at_random(folder: Path, start: Start, kills: int, seed: int) -> None:
    """Readers go on through every death, and follow who comes next without a word."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    actors.prepare(folder)
    debit, credit = (actors.table(folder, name) for name in actors.NAMES)
    reached = 0
    _, reader = start(actors.read, folder, kills * 8)
    for turn in range(kills):
        process, told = start(actors.follow, folder, turn, chance.choice([0, 3, 20]))
        if chance.random() < 0.8:  # the others die while they begin
            began = told.recv()
            assert began >= reached
            process.join(chance.uniform(0, 0.05))
        else:
            process.join(chance.uniform(0, 0.05))
        published = debit._view.progress().applied_lsn
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if debit._view.table("debit") is None or not debit.state.series:
            continue
        position = actors.check_last(debit, 3)
        assert position >= max(reached, published)
        assert actors.check_last(credit, 3) == position or debit.state.state != "live"
        reached = position
        assert actors.check_last(debit, 4) == position
    assert reached > kills

    process, told = start(actors.follow, folder, 1, 50)
    told.recv()
    assert debit.wait_live(30).lsn > reached
    assert actors.check_snapshot([debit, credit]) > reached
    assert reader.recv()
    seen, stale = reader.recv()
    assert seen > kills
    assert stale > 0


@pytest.mark.slow
def test_readers_go_on_through_every_death_of_who_follows(
    memory_folder: Path, start: Start
) -> None:
    _kill_at_random(memory_folder, start, KILLS, 20240229)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_readers_go_on_through_hundreds_of_deaths(memory_folder: Path, start: Start) -> None:
    seed = int(os.environ.get("NGB_TEST_SEED") or random.SystemRandom().randrange(1 << 31))
    _kill_at_random(memory_folder, start, SOAK_KILLS, seed)


@pytest.mark.slow
def test_a_dead_followers_table_grows_old_until_the_next_one_comes(
    memory_folder: Path, start: Start
) -> None:
    actors.prepare(memory_folder)
    process, told = start(actors.follow, memory_folder, 3, 0)
    told.recv()
    debit = actors.table(memory_folder, "debit")
    assert debit.rows(max_lag_s=5, account=1) > 0
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    position = actors.check_last(debit, 1)
    ages = [debit.as_of.lag_s for _ in range(3)]
    assert ages == sorted(ages)
    assert 0 < ages[0] < ages[-1]
    with pytest.raises(StaleError, match=f"process {process.pid}, which followed PostgreSQL, has"):
        debit.wait_for(position + 1000, 2.5)
    with pytest.raises(StaleError, match="s old, 1 s were asked for"):
        debit.last(1, max_lag_s=1, account=1)
    start(actors.take_over, memory_folder, 4)

    assert debit.wait_for(position + 100, 30).lsn >= position + 100
    assert debit.last(1, max_lag_s=5, account=1).rows == 1
