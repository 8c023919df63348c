"""Real worker processes: taken over after a sudden death, answered and stored once."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import bus_actors as actors
import memory_actors
from neural_gpu_bus.bus import Job, RedisJobQueue
from neural_gpu_bus.descriptors import JobDescriptor, StoreTarget
from neural_gpu_bus.errors import BadParameterError, DatasetEvictedError
from neural_gpu_bus.memory import Frame, UnifiedMemory

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent.parent
WAIT_S = 30


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    chosen = f"ngb:{{test-{uuid.uuid4().hex}}}:"
    yield chosen
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        for key in client.scan_iter(chosen + "*", count=10_000):
            client.delete(key)


@pytest.fixture
def queue(redis_url: str, prefix: str) -> RedisJobQueue:
    return actors.open_queue(redis_url, prefix, "caller")


@pytest.fixture
def start(
    redis_url: str, prefix: str, memory: UnifiedMemory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Any]]:
    """Start a worker of that name; those that still run at the end are killed."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    )
    context = memory_actors.forking()
    running = []

    def begin(name: str) -> Any:
        process = context.Process(
            target=actors.work, args=(redis_url, prefix, memory.folder, name), daemon=True
        )
        process.start()
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.join()


@pytest.fixture
def submit(
    queue: RedisJobQueue, memory: UnifiedMemory, tmp_path: Path
) -> Callable[..., Job[Frame]]:
    def send(job_id: str, *, table: str | None = None, **params: Any) -> Job[Frame]:
        frame = memory.share({"x": np.array([1.0, 2.0])})
        descriptor = JobDescriptor(
            job_id,
            "test.gate",
            {"folder": str(tmp_path)} | params,
            {"numbers": frame.descriptor},
            store=StoreTarget(table),
            submitted_ns=time.time_ns(),
        )
        queue.submit(descriptor)
        return Job(queue, memory, descriptor, keep_alive={"numbers": frame}, timeout_s=WAIT_S)

    return send


def wait_for(file: Path) -> int:
    """The pid that a worker wrote."""
    deadline = time.monotonic() + WAIT_S
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file.name} did not start"
        time.sleep(0.005)
    return int(file.read_text())


def test_a_killed_worker_s_job_is_taken_over_and_answered_once(
    start: Any, submit: Any, queue: RedisJobQueue, tmp_path: Path
) -> None:
    start("first")
    job = submit("a")
    os.kill(wait_for(tmp_path / "first"), signal.SIGKILL)
    start("second")
    wait_for(tmp_path / "second")
    (tmp_path / "open").touch()

    assert job.wait_result()["y"].tolist() == [2, 4]
    assert (job.record.deliveries, job.record.choice.backend) == (2, "second")
    found = queue.statistics()
    assert (found.waiting, found.running, found.dead) == (0, 0, 0)
    assert "second" in found.workers


def test_a_job_whose_worker_dies_between_storing_and_answering_is_stored_once(
    start: Any, submit: Any, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "open").touch()
    start("first").join(0)
    job = submit("a", table="risk", die="first")
    wait_for(tmp_path / "first")
    start("second")

    assert job.wait_result()["y"].tolist() == [2, 4]
    assert (job.record.stored_rows, job.record.deliveries) == (0, 2)
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        assert client.get(f"{prefix}stored:a") == b"first"


def test_a_stopped_worker_that_wakes_up_late_changes_nothing(
    start: Any, submit: Any, queue: RedisJobQueue, tmp_path: Path
) -> None:
    start("stopped")
    job = submit("a")
    stopped = wait_for(tmp_path / "stopped")
    os.kill(stopped, signal.SIGSTOP)
    start("other")
    wait_for(tmp_path / "other")
    (tmp_path / "open").touch()
    result = job.wait_result()
    os.kill(stopped, signal.SIGCONT)
    again = submit("b")
    again.wait_result()

    assert result["y"].tolist() == [2, 4]
    assert queue.wait_answer("a", 1).record.choice.backend == "other"


def test_a_long_job_stays_with_its_worker(start: Any, submit: Any, tmp_path: Path) -> None:
    start("one")
    start("two")
    job = submit("a")
    deadline = time.monotonic() + 4 * actors.LEASE_S
    while time.monotonic() < deadline:
        time.sleep(0.05)
    started = [name for name in ("one", "two") if (tmp_path / name).exists()]
    (tmp_path / "open").touch()

    assert job.wait_result()["y"].tolist() == [2, 4]
    assert len(started) == 1
    assert job.record.deliveries == 1


def test_sigterm_finishes_the_job_in_hand(
    start: Any, submit: Any, queue: RedisJobQueue, tmp_path: Path
) -> None:
    process = start("first")
    job = submit("a")
    os.kill(wait_for(tmp_path / "first"), signal.SIGTERM)
    (tmp_path / "open").touch()

    assert job.wait_result()["y"].tolist() == [2, 4]
    process.join(WAIT_S)
    assert process.exitcode == 0
    assert queue.statistics().workers == ()


def test_errors_come_back_as_what_they_are(
    start: Any, submit: Any, memory: UnifiedMemory, queue: RedisJobQueue
) -> None:
    start("first")
    with pytest.raises(BadParameterError, match=r"parameters of test\.gate do not fit"):
        submit("a", folder=5).wait_result()
    gone = memory.share({"x": [1.0]}).descriptor
    queue.submit(JobDescriptor("b", "test.gate", {"folder": "/"}, {"numbers": gone}))
    with pytest.raises(DatasetEvictedError, match="is not in this memory any more"):
        Job(queue, memory, JobDescriptor("b", "test.gate", {}, {})).wait_result(WAIT_S)
