"""What the scripts on Redis do with a job is what the table of moves says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.bus import RedisJobQueue
from neural_gpu_bus.bus.lifecycle import MOVES, JobEvent, JobState, after
from neural_gpu_bus.descriptors import ErrorRecord, JobAnswer, JobDescriptor

JOB = JobDescriptor("a", "test.nothing", {}, {})
DELIVERIES_MAX = 2


class Actors:
    """A worker that never takes over, one that always does, and all leases they ever had."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self.answer_key = prefix + "answer:a"
        self.patient, self.greedy = (
            RedisJobQueue(
                client,
                lease_s=lease_s,
                deliveries_max=DELIVERIES_MAX,
                worker_name=name,
                prefix=prefix,
            )
            for name, lease_s in (("patient", 3600), ("greedy", 0))
        )
        self.leases: list[Any] = []

    def act(self, event: JobEvent, late: bool) -> JobEvent | None:
        """Let it happen; the second event, where Redis makes two in one step."""
        if event == JobEvent.SUBMIT:
            self.patient.submit(JOB)
        elif event == JobEvent.TAKE:
            self.leases.append(self.patient.take(0))
        elif event == JobEvent.LOSE:
            lease = self.greedy.take(0)
            if lease is None:
                return JobEvent.GIVE_UP
            self.leases.append(lease)
            return JobEvent.TAKE
        elif event == JobEvent.EXPIRE:
            self.client.delete(self.answer_key)
        else:
            lease = self.leases[0 if late else -1]
            self.patient.finish(lease, _answer(event))
        return None


def _answer(event: JobEvent) -> JobAnswer:
    if event == JobEvent.FINISH:
        return JobAnswer("a", "done")
    return JobAnswer("a", "failed", failure=ErrorRecord("JobFailedError", "no"))


def _possible(state: JobState, actors: Actors) -> list[JobEvent]:
    """Giving up comes with losing, and only who took a job can answer it."""
    answers = set() if actors.leases else {JobEvent.FINISH, JobEvent.FAIL}
    left_out = answers | {JobEvent.GIVE_UP}
    return [event for event in JobEvent if (state, event) in MOVES and event not in left_out]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), steps=st.integers(1, 15))
def test_redis_and_the_table_agree(client: redis.Redis, data: st.DataObject, steps: int) -> None:
    prefix = f"ngb:{{test-{uuid.uuid4().hex}}}:"
    actors, state = Actors(client, prefix), JobState.LOST
    try:
        for _ in range(steps):
            event = data.draw(st.sampled_from(_possible(state, actors)))
            state = after(state, event)
            if (second := actors.act(event, data.draw(st.booleans()))) is not None:
                state = after(state, second)
            counts = actors.patient.statistics()
            assert actors.patient.state("a")[0] == state
            assert counts.waiting == (state == JobState.WAITING)
            assert counts.running == (state == JobState.RUNNING)
    finally:
        for key in client.scan_iter(prefix + "*", count=10_000):
            client.delete(key)


@pytest.fixture(scope="module")
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2) as opened:
        yield opened
