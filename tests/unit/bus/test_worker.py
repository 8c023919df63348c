"""The loop, over the plain queue: errors become answers, orders to end are heeded."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from neural_gpu_bus.bus import run_worker
from neural_gpu_bus.bus import worker as worker_module
from neural_gpu_bus.bus.worker import work_once
from neural_gpu_bus.descriptors import ErrorRecord, JobAnswer, JobDescriptor
from neural_gpu_bus.errors import BadParameterError, ServerUnreachableError
from plain_job_queue import PlainJobQueue, Shared


@pytest.fixture
def queue() -> PlainJobQueue:
    made = PlainJobQueue(Shared(), "worker", lease_s=0.3, deliveries_max=2, waiting_max=10)
    made.submit(JobDescriptor("a", "test.nothing", {}, {}))
    return made


def _done(job: JobDescriptor, deliveries: int) -> JobAnswer:
    return JobAnswer(job.id, "done")


def _raising(error: BaseException) -> Callable[[JobDescriptor, int], JobAnswer]:
    def run(job: JobDescriptor, deliveries: int) -> JobAnswer:
        raise error

    return run


def test_a_job_is_run_and_answered_while_its_lease_is_known(queue: PlainJobQueue) -> None:
    held: list[Any] = []

    assert work_once(queue, _done, held.append)
    assert queue.wait_answer("a", 0).status == "done"
    assert [lease and lease.job.id for lease in held] == ["a", None]
    assert not work_once(queue, _done, held.append, timeout_s=0)


def test_an_error_of_ours_keeps_its_kind_hint_and_facts(queue: PlainJobQueue) -> None:
    error = BadParameterError("window is 0", hint="give 1 or more", parameter="window", row=3)
    work_once(queue, _raising(error), lambda lease: None)
    failure = queue.wait_answer("a", 0).failure

    assert failure == ErrorRecord(
        "BadParameterError", "window is 0", "give 1 or more", {"parameter": "window", "row": 3}
    )


def test_any_other_error_is_answered_too(queue: PlainJobQueue) -> None:
    work_once(queue, _raising(ZeroDivisionError("division by zero")), lambda lease: None)
    failure = queue.wait_answer("a", 0).failure

    assert failure.kind == "JobFailedError"
    assert failure.what == "test.nothing failed with ZeroDivisionError: division by zero"


def test_a_worker_that_is_stopped_hard_answers_nothing(queue: PlainJobQueue) -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped hard"):
        work_once(queue, _raising(KeyboardInterrupt("stopped hard")), lambda lease: None)

    assert queue.statistics().running == 1


def test_sigterm_lets_the_job_in_hand_finish_and_then_ends(queue: PlainJobQueue) -> None:
    queue.submit(JobDescriptor("b", "test.nothing", {}, {}))
    before = signal.getsignal(signal.SIGTERM)

    def run(job: JobDescriptor, deliveries: int) -> JobAnswer:
        os.kill(os.getpid(), signal.SIGTERM)
        return JobAnswer(job.id, "done")

    run_worker(queue, run)

    assert queue.wait_answer("a", 0).status == "done"
    assert queue.statistics().waiting == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_heartbeat_keeps_a_long_job(queue: PlainJobQueue) -> None:
    other = PlainJobQueue(queue._shared, "other", lease_s=0.3, deliveries_max=2, waiting_max=10)
    taken = []

    def run(job: JobDescriptor, deliveries: int) -> JobAnswer:
        taken.append(other.take(0.6))
        return JobAnswer(job.id, "done")

    run_worker(queue, run, stop=lambda: bool(taken))

    assert taken == [None]
    assert queue.wait_answer("a", 0).status == "done"


def test_a_worker_waits_for_a_redis_that_is_away(
    queue: PlainJobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "RETRY_S", 0.001)
    take, refusals = queue.take, iter([ServerUnreachableError("gone")] * 3)

    def take_at_last(timeout_s: float) -> Any:
        for refusal in refusals:
            raise refusal
        return take(timeout_s)

    monkeypatch.setattr(queue, "take", take_at_last)
    answered = threading.Event()

    def run(job: JobDescriptor, deliveries: int) -> JobAnswer:
        answered.set()
        return JobAnswer(job.id, "done")

    run_worker(queue, run, stop=answered.is_set)

    assert queue.wait_answer("a", 0).status == "done"
