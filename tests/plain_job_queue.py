"""The job queue in one process's dictionaries: the plain twin of the one on Redis."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from neural_gpu_bus.bus.lifecycle import JobEvent, JobState, after
from neural_gpu_bus.descriptors import BusStatistics, ErrorRecord, JobAnswer, JobDescriptor
from neural_gpu_bus.errors import (
    BadParameterError,
    JobLostError,
    JobQueueFullError,
    JobTimeoutError,
)


@dataclass
class PlainLease:
    job: JobDescriptor
    deliveries: int
    worker: str


@dataclass
class Known:
    job: JobDescriptor
    state: JobState
    deliveries: int = 0
    worker: str = ""
    heard_s: float = 0.0
    answer: JobAnswer | None = None


@dataclass
class Shared:
    """What Redis is to the real one."""

    jobs: dict[str, Known] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)


class PlainJobQueue:
    def __init__(
        self, shared: Shared, worker: str, *, lease_s: float, deliveries_max: int, waiting_max: int
    ) -> None:
        self.heartbeat_s = lease_s / 3
        self._shared = shared
        self._worker = worker
        self._lease_s = lease_s
        self._deliveries_max = deliveries_max
        self._waiting_max = waiting_max

    def submit(self, job: JobDescriptor) -> None:
        with self._shared.changed:
            known = self._shared.jobs.get(job.id)
            state = JobState.LOST if known is None else known.state
            failed = state == JobState.FAILED
            if known is not None and known.job.fingerprint != job.fingerprint:
                raise BadParameterError(f"job_id {job.id!r} is the id of another job")
            waiting = self.statistics().waiting
            if known is None and waiting >= self._waiting_max:
                raise JobQueueFullError(f"{waiting} jobs wait already", waiting=waiting)
            new_state = after(state, JobEvent.SUBMIT)
            if known is None or failed:
                self._shared.jobs[job.id] = Known(job, new_state)
            self._shared.changed.notify_all()

    def take(self, timeout_s: float) -> PlainLease | None:
        deadline = time.monotonic() + timeout_s
        with self._shared.changed:
            while True:
                if (lease := self._next()) is not None:
                    return lease
                if (left_s := deadline - time.monotonic()) <= 0:
                    return None
                self._shared.changed.wait(min(left_s, self.heartbeat_s))

    def _next(self) -> PlainLease | None:
        for known in self._shared.jobs.values():
            silent = time.monotonic() - known.heard_s > self._lease_s
            if known.state == JobState.RUNNING and silent:
                known.state = after(known.state, JobEvent.LOSE)
            if known.state == JobState.WAITING and known.deliveries == self._deliveries_max:
                known.state = after(known.state, JobEvent.GIVE_UP)
                failure = ErrorRecord("JobFailedError", f"lost by {known.deliveries} workers")
                known.answer = JobAnswer(known.job.id, "failed", failure=failure)
                self._shared.changed.notify_all()
            elif known.state == JobState.WAITING:
                known.state = after(known.state, JobEvent.TAKE)
                known.deliveries += 1
                known.worker, known.heard_s = self._worker, time.monotonic()
                return PlainLease(known.job, known.deliveries, self._worker)
        return None

    def extend(self, lease: PlainLease | None) -> None:
        with self._shared.changed:
            if lease is not None and self._shared.jobs[lease.job.id].worker == lease.worker:
                self._shared.jobs[lease.job.id].heard_s = time.monotonic()

    def finish(self, lease: PlainLease, answer: JobAnswer) -> bool:
        with self._shared.changed:
            known = self._shared.jobs[lease.job.id]
            event = JobEvent.FINISH if answer.status == "done" else JobEvent.FAIL
            known.state = after(known.state, event)
            if known.answer is not None:
                return False
            known.answer = answer
            self._shared.changed.notify_all()
            return True

    def wait_answer(self, job_id: str, timeout_s: float) -> JobAnswer:
        with self._shared.changed:
            if job_id not in self._shared.jobs:
                raise JobLostError(f"nothing is known of job {job_id!r}", job_id=job_id)
            known = self._shared.jobs[job_id]
            if not self._shared.changed.wait_for(lambda: known.answer is not None, timeout_s):
                raise JobTimeoutError(
                    f"job {job_id!r} gave no answer within {timeout_s:g} s: {known.state}",
                    state=str(known.state),
                )
            assert known.answer is not None
            return known.answer

    def statistics(self) -> BusStatistics:
        states = [known.state for known in self._shared.jobs.values()]
        dead = sum(known.deliveries == self._deliveries_max for known in self._shared.jobs.values())
        return BusStatistics(states.count(JobState.WAITING), states.count(JobState.RUNNING), dead)

    def close(self) -> None:
        pass
