"""Which results stay in shared memory, and which go."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from fix_memory import BYTES_MAX
from neural_gpu_bus.bus import results
from neural_gpu_bus.bus.results import BUDGET_SHARE, GRACE_S, KeptResults
from neural_gpu_bus.memory import UnifiedMemory

SMALL = pa.table({"y": [1.0]})


class Clock:
    """Of the memory."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


@pytest.fixture
def clock(memory: UnifiedMemory) -> Clock:
    clock = Clock()
    memory._use.clock_ns = clock
    return clock


def keep(memory: UnifiedMemory, ttl_s: float = 3600) -> KeptResults:
    return KeptResults(memory, ttl_s=ttl_s)


def test_many_small_results_stay(memory: UnifiedMemory, clock: Clock) -> None:
    kept = keep(memory)
    frames = [kept.publish(str(number), SMALL).descriptor for number in range(400)]

    assert len(memory.names()) == 400
    assert memory.attach(frames[0])["y"].tolist() == [1.0]


def test_results_go_with_the_time_of_their_answers(memory: UnifiedMemory, clock: Clock) -> None:
    kept = keep(memory, ttl_s=10)
    kept.publish("a", SMALL)
    clock.now_ns = (10 + GRACE_S) * 10**9 - 10**6
    kept.publish("b", SMALL)
    assert memory.names() == ["jobs/a", "jobs/b"]
    clock.now_ns += 10**9
    kept.publish("c", SMALL)

    assert memory.names() == ["jobs/b", "jobs/c"]


def test_above_their_share_of_the_budget_the_oldest_of_all_workers_go(
    memory: UnifiedMemory, clock: Clock
) -> None:
    tenth = pa.table({"y": pa.nulls(BYTES_MAX // 4 // BUDGET_SHARE // 10 // 8, pa.float64())})
    memory.put("mine", {"x": [1]})
    for number in range(6):
        keep(memory).publish(f"a{number}", tenth)
    workers = [keep(memory), keep(memory)]
    for number in range(6):
        workers[number % 2].publish(f"b{number}", tenth)
    names = memory.names()

    assert names[-1] == "mine"
    assert [f"jobs/b{number}" for number in range(6)] == names[-7:-1]
    assert sum(block.nbytes for block in memory.blocks("jobs/")) <= BYTES_MAX // 4 // BUDGET_SHARE
    assert "jobs/a0" not in names
    assert "jobs/a5" in names


def test_one_result_above_the_share_stays_until_the_next(
    memory: UnifiedMemory, clock: Clock
) -> None:
    kept = keep(memory)
    kept.publish("big", pa.table({"y": pa.nulls(BYTES_MAX // 4 // 8 // 2, pa.float64())}))
    assert memory.names() == ["jobs/big"]
    kept.publish("small", SMALL)

    assert memory.names() == ["jobs/small"]


def test_a_job_tried_again_keeps_its_result(memory: UnifiedMemory, clock: Clock) -> None:
    kept = keep(memory, ttl_s=10)
    kept.publish("a", SMALL)
    kept.publish("b", SMALL)
    clock.now_ns = 10**12
    again = kept.publish("a", SMALL)

    assert memory.get("jobs/a") == again
    assert memory.names() == ["jobs/a"]


def test_the_same_job_run_again_later_keeps_its_result(memory: UnifiedMemory, clock: Clock) -> None:
    """Its first result grows old, and goes without the second, of this worker or of another."""
    kept, another = keep(memory, ttl_s=10), keep(memory, ttl_s=10)
    kept.publish("daily", SMALL)
    kept.publish("theirs", SMALL)
    clock.now_ns = (10 + GRACE_S) * 10**9 - 10**6
    again = [kept.publish("daily", SMALL), another.publish("theirs", SMALL)]
    clock.now_ns += 10**9
    kept.publish("other", SMALL)

    assert [memory.get("jobs/daily"), memory.get("jobs/theirs")] == again


def test_a_result_that_is_gone_already_is_no_trouble(
    memory: UnifiedMemory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS_MAX", 16)
    kept = keep(memory)
    for number in range(16):
        kept.publish(f"{number:02}", SMALL)
    memory.drop("jobs/00")
    kept.publish("16", SMALL)
    kept.publish("17", SMALL)

    assert memory.names()[0] == "jobs/02"


def test_looking_at_all_results_is_rare() -> None:
    looks = []
    frame = SimpleNamespace(
        descriptor=SimpleNamespace(nbytes=1000, created_ns=0, name="jobs/a", uuid="1"), rows=1
    )
    memory = SimpleNamespace(
        put_result=lambda job_id, table, reload_ns: frame,
        budget=lambda region: 1 << 30,
        blocks=lambda prefix: looks.append(prefix) or [],
        drop_result=lambda block: None,
    )
    kept = KeptResults(memory, ttl_s=1)  # type: ignore[arg-type]
    for _ in range(1000):
        kept.publish("a", SMALL)

    assert looks == ["jobs/"]
