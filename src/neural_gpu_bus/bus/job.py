"""Job: the caller's end of a submitted job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from neural_gpu_bus.arguments import check_seconds
from neural_gpu_bus.descriptors import (
    BlockDescriptor,
    JobAnswer,
    JobDescriptor,
    JobRecord,
)
from neural_gpu_bus.error_records import from_record
from neural_gpu_bus.errors import (
    DatasetEvictedError,
    JobError,
    JobFailedError,
    ResultDroppedError,
)

if TYPE_CHECKING:
    from neural_gpu_bus.ports import JobQueue

WAIT_S = 60.0

Frame_co = TypeVar("Frame_co", covariant=True)


class Attaches(Protocol[Frame_co]):
    """All that a job needs of memory: a descriptor to a frame of that memory's kind."""

    def attach(self, descriptor: BlockDescriptor) -> Frame_co: ...  # noqa: D102


class Job(Generic[Frame_co]):
    """One submitted job. It holds its input frames until the answer is there.

    ``timeout_s`` is the wait where ``wait_result`` is given none.
    """

    def __init__(
        self,
        queue: JobQueue,
        memory: Attaches[Frame_co],
        descriptor: JobDescriptor,
        *,
        keep_alive: Mapping[str, Any] | None = None,
        timeout_s: float = WAIT_S,
    ) -> None:
        self.descriptor = descriptor
        self._queue = queue
        self._memory = memory
        self._keep_alive = keep_alive
        self._timeout_s = timeout_s
        self._answer: JobAnswer | None = None

    @property
    def id(self) -> str:
        """Identity; what it stores is stored once."""
        return self.descriptor.id

    @property
    def record(self) -> JobRecord:
        """How it went: engine, times, what was stored. JobError before the result is there."""
        if self._answer is None or self._answer.record is None:
            raise JobError(
                f"job {self.id!r} has no record yet",
                hint="call wait_result() first",
                job_id=self.id,
            )
        return self._answer.record

    def wait_result(self, timeout_s: float | None = None) -> Frame_co:
        """The result's frame.

        Raises JobTimeoutError (it may still finish; wait again), JobLostError, the job's own error,
        JobFailedError, or ResultDroppedError.
        """
        if timeout_s is not None:
            check_seconds("timeout_s", timeout_s)
        if self._answer is None:
            wait_s = self._timeout_s if timeout_s is None else timeout_s
            self._answer = self._queue.wait_answer(self.id, wait_s)
            self._keep_alive = None
        if self._answer.failure is not None:
            raise from_record(self._answer.failure, unknown=JobFailedError, job_id=self.id)
        if self._answer.block is None:
            raise JobFailedError(
                f"job {self.id!r} was answered without a result",
                hint="submit again",
                job_id=self.id,
            )
        try:
            return self._memory.attach(self._answer.block)
        except DatasetEvictedError as error:
            raise ResultDroppedError(
                f"job {self.id!r} is done, but its result cannot be had any more: {error.what}",
                hint="results stay as long as answers (NGB_JOB_ANSWER_TTL_S), the newest within a "
                "quarter of NGB_MEMORY_BYTES_MAX: store them (table=, redis_key=), or submit again "
                "under another id",
                job_id=self.id,
            ) from None

    def __repr__(self) -> str:
        state = "waiting" if self._answer is None else self._answer.status
        return f"Job {self.id} ({self.descriptor.workload}): {state}"
