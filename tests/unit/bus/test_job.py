"""The caller's end: results, errors by their names, and what is held until the answer."""

import gc
import weakref
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.bus import Job
from neural_gpu_bus.descriptors import (
    EngineChoice,
    ErrorRecord,
    JobAnswer,
    JobDescriptor,
    JobRecord,
)
from neural_gpu_bus.errors import (
    BadParameterError,
    JobError,
    JobFailedError,
    JobTimeoutError,
    ResultDroppedError,
)
from neural_gpu_bus.memory import Frame, UnifiedMemory
from plain_job_queue import PlainJobQueue, Shared

DESCRIPTOR = JobDescriptor("a", "test.nothing", {}, {})
RECORD = JobRecord(EngineChoice("cpu", "plain", "why"), "here:1", 1, 1, 1, 1, 1, 0)


@pytest.fixture
def queue() -> PlainJobQueue:
    made = PlainJobQueue(Shared(), "worker", lease_s=10, deliveries_max=2, waiting_max=10)
    made.submit(DESCRIPTOR)
    return made


def _answer(queue: PlainJobQueue, **given: Any) -> None:
    given = {"status": "done"} | given
    queue.finish(queue.take(0), JobAnswer("a", **given))


def _fail(queue: PlainJobQueue, kind: str) -> None:
    _answer(queue, status="failed", failure=ErrorRecord(kind, "window is 0", "give 1"))


def test_a_result_is_attached(queue: PlainJobQueue, memory: UnifiedMemory) -> None:
    frame = memory.put_result("a", pa.table({"x": [1]}))
    job = Job(queue, memory, DESCRIPTOR)
    _answer(queue, block=frame.descriptor, record=RECORD)
    result: Frame = job.wait_result(0)

    assert result == frame
    assert job.record == RECORD
    assert job.wait_result() == frame
    assert (job.id, repr(job)) == ("a", "Job a (test.nothing): done")


def test_inputs_are_held_until_the_answer(queue: PlainJobQueue, memory: UnifiedMemory) -> None:
    frame = memory.share({"x": [1]})
    held = weakref.ref(frame)
    job = Job(queue, memory, DESCRIPTOR, keep_alive={"numbers": frame}, timeout_s=0)
    del frame
    with pytest.raises(JobTimeoutError, match="gave no answer within 0 s"):
        job.wait_result()
    gc.collect()
    assert held() is not None

    _answer(queue, block=memory.put_result("a", pa.table({"x": [1]})).descriptor)
    job.wait_result()
    gc.collect()
    assert held() is None


def test_a_failure_is_the_error_that_the_worker_named(
    queue: PlainJobQueue, memory: UnifiedMemory
) -> None:
    facts = {"parameter": "window", "row": 3, "job_id": "another"}
    _answer(
        queue,
        status="failed",
        failure=ErrorRecord("BadParameterError", "window is 0", "give 1", facts),
    )
    job = Job(queue, memory, DESCRIPTOR)
    for _ in range(2):
        with pytest.raises(BadParameterError, match="window is 0\nhint: give 1") as caught:
            job.wait_result(0)
    error = caught.value
    assert (error.parameter, error.row, error.job_id) == ("window", 3, "a")


@pytest.mark.parametrize("kind", ["ValueError", "annotations", "", "__builtins__"])
def test_any_other_name_is_a_failed_job(
    queue: PlainJobQueue, memory: UnifiedMemory, kind: str
) -> None:
    _fail(queue, kind)
    with pytest.raises(JobFailedError, match="window is 0"):
        Job(queue, memory, DESCRIPTOR).wait_result(0)


def test_a_result_that_was_dropped_is_an_error_of_the_job(
    queue: PlainJobQueue, memory: UnifiedMemory
) -> None:
    _answer(queue, block=memory.put_result("a", pa.table({"x": [1]})).descriptor, record=RECORD)
    memory.drop("jobs/a")
    with pytest.raises(ResultDroppedError, match="job 'a' is done, but its result") as caught:
        Job(queue, memory, DESCRIPTOR).wait_result(0)

    assert caught.value.job_id == "a"
    assert "store them (table=, redis_key=)" in caught.value.hint


def test_there_is_no_record_before_the_answer(queue: PlainJobQueue, memory: UnifiedMemory) -> None:
    job = Job(queue, memory, DESCRIPTOR)

    assert repr(job) == "Job a (test.nothing): waiting"
    with pytest.raises(JobError, match="has no record yet"):
        job.record  # noqa: B018
