"""RedisJobQueue: the durable lane. At least once, and one answer a job.

Each step that has to be whole is one script of ``bus.scripts``. Sending any of them twice does no
harm, so a lost reply may be answered by asking again.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.bus import scripts
from neural_gpu_bus.bus.lifecycle import ANSWERED, JobState
from neural_gpu_bus.descriptors import (
    BusStatistics,
    ErrorRecord,
    JobAnswer,
    JobDescriptor,
    PlainFact,
)
from neural_gpu_bus.errors import (
    BadParameterError,
    JobLostError,
    JobQueueFullError,
    JobTimeoutError,
)

if TYPE_CHECKING:
    import redis

#: One blocking read. Below the 5 s after which redis-py gives a silent socket up, short enough for
#: SIGTERM, and how soon a waiting caller hears that its job was lost.
BLOCK_S_MAX = 1.0
#: The first look: most jobs answer within it, and one that nobody knows is told of after it.
FIRST_BLOCK_S = 0.05
#: Signs of life in one lease: two may be late or lost before a worker counts as gone.
BEATS_PER_LEASE = 3
#: Bytes of a job's id: it is part of keys and of a dataset's name.
ID_BYTES_MAX = 200

#: Whatever else were to stand under such keys would break the bus.
KEYS_PREFIX = "ngb:{bus}:"


@dataclass(frozen=True, slots=True)
class RedisLease:
    """A job in this worker's hands."""

    job: JobDescriptor
    #: 1 for a job that no worker lost.
    deliveries: int
    #: Its entry in the stream.
    entry: bytes


def worker_identity() -> str:
    """Host, pid and a random part: never used again by another process."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class RedisJobQueue:
    """See ``ports.JobQueue``. ``client`` speaks RESP2, decodes nothing and does not retry by
    itself.

    ``lease_s``: silence after which another worker takes a job over. ``deliveries_max``: workers
    that may lose one job. ``translated``: turns redis-py's errors into this package's. Safe for
    threads.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        lease_s: float = 5.0,
        deliveries_max: int = 3,
        answer_ttl_s: int = 3600,
        waiting_max: int = 10_000,
        worker_name: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        prefix: str = KEYS_PREFIX,
        translated: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.heartbeat_s = lease_s / BEATS_PER_LEASE
        self.worker_name = worker_name or worker_identity()
        self._client: Any = client
        self._lease_ms = int(lease_s * 1000)
        self._deliveries_max = deliveries_max
        self._answer_ttl_s = answer_ttl_s
        self._waiting_max = waiting_max
        self._clock = clock
        self._prefix = prefix
        self._translated = translated
        self._next_take_over_s = float("-inf")
        self._took = False
        self._scripts: dict[str, Any] = {}

    # ---- the caller's side

    def submit(self, job: JobDescriptor) -> None:
        """Queue a job; no effect where it is known, unless it failed.

        Raises JobQueueFullError, and BadParameterError where its id is known as another job's.
        """
        if not 0 < len(job.id.encode()) <= ID_BYTES_MAX or not job.id.isprintable():
            raise BadParameterError(
                f"{job.id!r} is no id for a job",
                hint=f"use 1 to {ID_BYTES_MAX} bytes of printable text",
                parameter="job_id",
            )
        payload = msgspec.msgpack.encode(job)
        keys = self._keys("jobs", f"job:{job.id}", f"answer:{job.id}")
        arguments = job.id, payload, self._waiting_max, job.fingerprint
        added = self._run(scripts.SUBMIT, keys, *arguments)
        if added == scripts.ANOTHER_JOB:
            raise _another_job(job.id)
        if isinstance(added, list):
            raise JobQueueFullError(
                f"{added[0]} jobs wait already, and no more than {self._waiting_max} may",
                hint="start more workers (`ngb worker`), or raise NGB_JOBS_WAITING_MAX",
                waiting=added[0],
                waiting_max=self._waiting_max,
            )

    def wait_answer(self, job_id: str, timeout_s: float) -> JobAnswer:
        """The answer, for any number of callers, until its time to live is over.

        Raises JobTimeoutError, which says where the job is, and JobLostError where Redis knows
        nothing of it.
        """
        deadline = self._clock() + timeout_s
        answer_key = self._prefix + f"answer:{job_id}"
        longest_s = FIRST_BLOCK_S
        while True:
            left_s = deadline - self._clock()
            block_s, longest_s = min(longest_s, max(left_s, 0.001)), BLOCK_S_MAX
            with self._translated():
                # From the left to the left: read and put back, so that all who wait get it.
                raw = self._client.blmove(answer_key, answer_key, block_s, "LEFT", "LEFT")
            if raw is not None:
                return msgspec.msgpack.decode(raw, type=JobAnswer)
            state, where = self.state(job_id)
            if state == JobState.LOST:
                raise JobLostError(
                    f"nothing is known of job {job_id!r}: never submitted, lost with its Redis's "
                    "memory, or its answer's time is over",
                    hint="submit it again with the same id; what it stored is stored once",
                    job_id=job_id,
                )
            if left_s <= block_s and state not in ANSWERED:
                raise _timed_out(job_id, timeout_s, state, where)

    def state(self, job_id: str) -> tuple[JobState, str]:
        """Where a job is, and the same in words."""
        keys = self._keys("jobs", f"job:{job_id}", f"answer:{job_id}")
        name, worker, silent_ms, age_ms = self._run(scripts.STATE, keys)
        state = JobState(name.decode())
        if state == JobState.RUNNING:
            where = f"running at worker {worker.decode()}, heard of {silent_ms / 1000:.1f} s ago"
        else:
            where = str(state)
        return state, f"{where}, submitted {age_ms / 1000:.1f} s ago"

    # ---- the worker's side

    def take(self, timeout_s: float) -> RedisLease | None:
        """The next job, or one whose worker fell silent; None when none came in time."""
        deadline = self._clock() + timeout_s
        if not self._took:
            self._took = True
            self._run(scripts.FORGET_CONSUMERS, self._keys("jobs", "workers"))
            self.extend(None)
        while True:
            lease = self._take_over() or self._read(deadline - self._clock())
            if lease is not None and lease.deliveries > self._deliveries_max:
                self._give_up(lease)
            elif lease is not None:
                return lease
            if self._clock() >= deadline:
                return None

    def extend(self, lease: RedisLease | None) -> None:
        """Say that this worker lives, and keep its lease where it has one and still owns it."""
        entry = b"" if lease is None else lease.entry
        keys = self._keys("jobs", "workers")
        self._run(scripts.BEAT, keys, self.worker_name, self._lease_ms, entry)

    def finish(self, lease: RedisLease, answer: JobAnswer) -> bool:
        """Publish the answer; False when another worker had answered (nothing changed)."""
        job_id = lease.job.id
        keys = self._keys("jobs", f"job:{job_id}", f"answer:{job_id}")
        marked = msgspec.structs.replace(answer, fingerprint=lease.job.fingerprint)
        payload = msgspec.msgpack.encode(marked)
        return bool(self._run(scripts.FINISH, keys, lease.entry, payload, self._answer_ttl_s))

    def statistics(self) -> BusStatistics:
        """Jobs by state, and the workers heard of within a lease."""
        keys = self._keys("jobs", "dead", "workers")
        waiting, running, dead, *workers = self._run(scripts.STATISTICS, keys)
        return BusStatistics(waiting, running, dead, tuple(name.decode() for name in workers))

    def close(self) -> None:
        """Leave in order, if this was a worker. The client stays its owner's."""
        if self._took:
            self._took = False
            self._run(scripts.LEAVE, self._keys("jobs", "workers"), self.worker_name)

    # ---- inside

    def _take_over(self) -> RedisLease | None:
        if self._clock() < self._next_take_over_s:
            return None
        found = self._run(scripts.TAKE_OVER, self._keys("jobs"), self.worker_name, self._lease_ms)
        if found is None:
            self._next_take_over_s = self._clock() + self.heartbeat_s
            return None
        entry, fields, deliveries = found
        return self._lease(entry, dict(zip(fields[::2], fields[1::2], strict=True)), deliveries)

    def _read(self, timeout_s: float) -> RedisLease | None:
        block_ms = max(1, int(min(timeout_s, BLOCK_S_MAX, self.heartbeat_s) * 1000))
        with self._translated():
            try:
                found = self._client.xreadgroup(
                    scripts.GROUP, self.worker_name, {self._prefix + "jobs": ">"}, 1, block_ms
                )
            except _response_error() as error:
                if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                    raise
                found = None
                self._run(scripts.ENSURE_GROUP, self._keys("jobs"))
        for _stream, entries in found or ():
            for entry, fields in entries:
                return self._lease(entry, fields, 1)
        return None

    def _lease(
        self, entry: bytes, fields: dict[bytes, bytes], deliveries: int
    ) -> RedisLease | None:
        try:
            job = msgspec.msgpack.decode(fields[b"job"], type=JobDescriptor)
        except (msgspec.MsgspecError, KeyError) as error:
            job_id = fields.get(b"id", entry).decode(errors="replace")
            job = JobDescriptor(id=job_id, workload="", params={}, inputs={})
            what = f"job {job_id!r} came in a form that this version does not know: {error}"
            hint = "run submitter and workers at the same version"
            lease = RedisLease(job, deliveries, entry)
            self._refuse(lease, ErrorRecord("JobFailedError", what, hint))
            return None
        return RedisLease(job, deliveries, entry)

    def _give_up(self, lease: RedisLease) -> None:
        lost = lease.deliveries - 1
        what = f"job {lease.job.id!r} was lost by {lost} workers, which is the limit"
        hint = "see why workers end (memory, a crash in a library), then submit it under another id"
        facts: dict[str, PlainFact] = {"deliveries": lost}
        self._refuse(lease, ErrorRecord("JobFailedError", what, hint, facts))

    def _refuse(self, lease: RedisLease, failure: ErrorRecord) -> None:
        with self._translated():
            self._client.xadd(
                self._prefix + "dead",
                {
                    "id": lease.job.id,
                    "what": failure.what,
                    "job": msgspec.msgpack.encode(lease.job),
                },
                maxlen=scripts.DEAD_MAX,
            )
        self.finish(lease, JobAnswer(lease.job.id, "failed", failure=failure))

    def _run(self, script: str, keys: list[str], *arguments: Any) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(script)
        with self._translated():
            return self._scripts[script](keys=keys, args=[scripts.GROUP, *arguments])

    def _keys(self, *names: str) -> list[str]:
        return [self._prefix + name for name in names]


def _another_job(job_id: str) -> BadParameterError:
    return BadParameterError(
        f"job_id {job_id!r} is the id of another job: its workload, parameters, inputs' values, "
        "engine or targets are not these",
        hint="choose another id, or leave job_id out; rows in another order are other values",
        parameter="job_id",
    )


def _timed_out(job_id: str, timeout_s: float, state: JobState, where: str) -> JobTimeoutError:
    hint = "wait longer; it may still finish"
    if state == JobState.WAITING:
        hint = "is a worker running? `ngb status` shows them, `ngb worker` starts one"
    return JobTimeoutError(
        f"job {job_id!r} gave no answer within {timeout_s:g} s: {where}",
        hint=hint,
        job_id=job_id,
        timeout_s=timeout_s,
        state=str(state),
    )


def _response_error() -> type[Exception]:
    from redis.exceptions import ResponseError

    return ResponseError
