"""What every job queue has to do (``ports.JobQueue``): the one on Redis, and its plain twin."""

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from neural_gpu_bus.bus import RedisJobQueue
from neural_gpu_bus.descriptors import ErrorRecord, JobAnswer, JobDescriptor
from neural_gpu_bus.errors import (
    BadParameterError,
    JobLostError,
    JobQueueFullError,
    JobTimeoutError,
)
from plain_job_queue import PlainJobQueue, Shared

LEASE_S = 0.15
Queue = Any
MakeQueue = Callable[[str], Queue]


def job(job_id: str, **given: Any) -> JobDescriptor:
    return JobDescriptor(id=job_id, workload="test.nothing", params=given, inputs={})


def done(job_id: str) -> JobAnswer:
    return JobAnswer(job_id, "done")


class QueueContract:
    """Subclasses give ``make``: a queue for the worker of that name, over one shared store."""

    @pytest.fixture
    def make(self) -> MakeQueue:
        raise NotImplementedError

    def test_a_job_travels_and_its_answer_comes_back(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a", text="ä", numbers=[1, 2.5, None]))
        lease = worker.take(1)

        assert lease.job == job("a", text="ä", numbers=[1, 2.5, None])
        assert lease.deliveries == 1
        assert worker.finish(lease, done("a"))
        assert caller.wait_answer("a", 1) == done("a")

    def test_jobs_come_in_order_and_once(self, make: MakeQueue) -> None:
        caller, workers = make("caller"), [make("one"), make("two")]
        for number in range(6):
            caller.submit(job(str(number)))

        assert [workers[turn % 2].take(1).job.id for turn in range(6)] == list("012345")
        assert workers[0].take(0.01) is None

    def test_taking_waits_for_a_job(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        taken: list[Any] = []
        thread = threading.Thread(target=lambda: taken.append(worker.take(10)))
        thread.start()
        caller.submit(job("a"))
        thread.join()

        assert taken[0].job.id == "a"

    def test_all_who_wait_get_the_answer(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        answers: list[JobAnswer] = []
        threads = [
            threading.Thread(target=lambda: answers.append(caller.wait_answer("a", 10)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        worker.finish(worker.take(1), done("a"))
        for thread in threads:
            thread.join()

        assert answers == [done("a")] * 4
        assert caller.wait_answer("a", 1) == done("a")

    def test_a_job_is_queued_once_however_often_it_is_submitted(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        for _ in range(3):
            caller.submit(job("a"))
        lease = worker.take(1)
        caller.submit(job("a"))
        worker.finish(lease, done("a"))
        caller.submit(job("a"))

        assert worker.take(0.01) is None
        assert (caller.statistics().waiting, caller.statistics().running) == (0, 0)

    def test_an_id_stands_for_one_job_waiting_running_or_done(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        one, other = (msgspec.structs.replace(job("a"), fingerprint=mark) for mark in "12")

        def refused() -> bool:
            with pytest.raises(BadParameterError, match="job_id 'a' is the id of another job"):
                caller.submit(other)
            caller.submit(one)
            return True

        caller.submit(one)
        assert refused()
        lease = worker.take(1)
        assert refused()
        worker.finish(lease, done("a"))
        assert refused()
        assert worker.take(0.01) is None

    def test_a_failed_job_mended_needs_another_id(self, make: MakeQueue) -> None:
        """A worker taken for dead may still finish the old one: its answer is not for the new."""
        caller, worker = make("caller"), make("worker")
        caller.submit(msgspec.structs.replace(job("a"), fingerprint="1"))
        failed = JobAnswer("a", "failed", failure=ErrorRecord("JobFailedError", "no"))
        worker.finish(worker.take(1), failed)
        mended = msgspec.structs.replace(job("a", window=5), fingerprint="2")

        with pytest.raises(BadParameterError, match="is the id of another job"):
            caller.submit(mended)

    def test_a_failed_job_may_be_tried_again(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        failed = JobAnswer("a", "failed", failure=ErrorRecord("JobFailedError", "no"))
        worker.finish(worker.take(1), failed)
        assert caller.wait_answer("a", 1) == failed
        caller.submit(job("a"))
        worker.finish(worker.take(1), done("a"))

        assert caller.wait_answer("a", 1) == done("a")

    def test_more_jobs_than_may_wait_are_refused(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        for number in range(10):
            caller.submit(job(str(number)))
        with pytest.raises(JobQueueFullError, match="10 jobs wait already"):
            caller.submit(job("one too many"))
        caller.submit(job("3"))
        worker.take(1)
        caller.submit(job("room again"))

    def test_a_silent_workers_job_goes_to_another(self, make: MakeQueue) -> None:
        caller, lost, other = make("caller"), make("lost"), make("other")
        caller.submit(job("a"))
        first = lost.take(1)
        second = other.take(10 * LEASE_S)

        assert (first.job, second.job) == (job("a"), job("a"))
        assert second.deliveries == 2
        assert other.finish(second, done("a"))
        failed = JobAnswer("a", "failed", failure=ErrorRecord("JobFailedError", "late"))
        assert not lost.finish(first, failed)
        assert caller.wait_answer("a", 1) == done("a")

    def test_the_first_answer_stays_even_of_a_worker_taken_for_lost(self, make: MakeQueue) -> None:
        caller, lost, other = make("caller"), make("lost"), make("other")
        caller.submit(job("a"))
        first = lost.take(1)
        second = other.take(10 * LEASE_S)

        assert lost.finish(first, done("a"))
        assert not other.finish(second, done("a"))
        assert other.take(2 * LEASE_S) is None

    def test_a_worker_that_gives_signs_of_life_keeps_its_job(self, make: MakeQueue) -> None:
        caller, slow, other = make("caller"), make("slow"), make("other")
        caller.submit(job("a"))
        lease = slow.take(1)
        for _ in range(6):
            assert other.take(LEASE_S / 2) is None
            slow.extend(lease)

        assert slow.finish(lease, done("a"))

    def test_a_worker_cannot_take_a_job_back_by_a_late_sign_of_life(self, make: MakeQueue) -> None:
        caller, stopped, other, third = make("c"), make("stopped"), make("other"), make("third")
        caller.submit(job("a"))
        old = stopped.take(1)
        new = other.take(10 * LEASE_S)
        stopped.extend(old)
        other.extend(new)

        assert third.take(LEASE_S / 3) is None
        assert other.finish(new, done("a"))

    def test_a_job_lost_too_often_has_failed(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        deliveries = [worker.take(10 * LEASE_S).deliveries for _ in range(2)]

        assert deliveries == [1, 2]
        assert worker.take(3 * LEASE_S) is None
        answer = caller.wait_answer("a", 1)
        assert answer.status == "failed"
        assert "lost by 2 workers" in answer.failure.what
        assert caller.statistics().dead == 1

    def test_a_timeout_says_where_the_job_is(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        with pytest.raises(
            JobTimeoutError, match=r"'a' gave no answer within 0.01 s: waiting"
        ) as caught:
            caller.wait_answer("a", 0.01)
        assert caught.value.state == "waiting"
        worker.take(1)
        with pytest.raises(JobTimeoutError, match="running"):
            caller.wait_answer("a", 0.01)

    def test_waiting_for_an_unknown_job_ends_at_once(self, make: MakeQueue) -> None:
        with pytest.raises(JobLostError, match="nothing is known of job 'x'"):
            make("caller").wait_answer("x", 100)

    def test_statistics_count_jobs_by_state(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("worker")
        for number in range(5):
            caller.submit(job(str(number)))
        worker.take(1)
        worker.finish(worker.take(1), done("1"))
        found = caller.statistics()

        assert (found.waiting, found.running, found.dead) == (3, 1, 0)


class TestPlainJobQueue(QueueContract):
    @pytest.fixture
    def make(self) -> MakeQueue:
        shared = Shared()
        return lambda name: PlainJobQueue(
            shared, name, lease_s=LEASE_S, deliveries_max=2, waiting_max=10
        )


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2, retry=Retry(NoBackoff(), 0)) as opened:
        yield opened


@pytest.fixture
def prefix(client: redis.Redis) -> Iterator[str]:
    """Keys of one test; removed afterwards."""
    chosen = f"ngb:{{test-{uuid.uuid4().hex}}}:"
    yield chosen
    for key in client.scan_iter(chosen + "*", count=10_000):
        client.delete(key)


class TestRedisJobQueue(QueueContract):
    @pytest.fixture
    def make(self, client: redis.Redis, prefix: str) -> MakeQueue:
        return lambda name: RedisJobQueue(
            client,
            lease_s=LEASE_S,
            deliveries_max=2,
            waiting_max=10,
            worker_name=name,
            prefix=prefix,
        )

    def test_workers_are_listed_while_they_give_signs_of_life(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        one, two = make("one"), make("two")
        for queue in (one, two):
            queue.take(0.001)
            client.zincrby(prefix + "workers", 60_000, queue.worker_name)
        assert one.statistics().workers == ("one", "two")
        two.close()
        assert one.statistics().workers == ("one",)
        client.zincrby(prefix + "workers", -120_000, "one")
        assert one.statistics().workers == ()

    def test_consumers_of_dead_workers_are_forgotten_unless_they_hold_a_job(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        make("caller").submit(job("a"))
        make("holding").take(1)
        make("idle").take(0.001)
        for name in ("holding", "idle"):
            client.zincrby(prefix + "workers", -60_000, name)
        make("new").take(0.001)

        names = {row["name"] for row in client.xinfo_consumers(prefix + "jobs", "workers")}
        # Redis before 7.2 lists a consumer only once it got something.
        assert names - {b"new"} == {b"holding"}

    def test_answers_have_a_time_to_live_that_reading_keeps(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        worker.finish(worker.take(1), done("a"))
        caller.wait_answer("a", 1)

        assert 3590 < client.ttl(prefix + "answer:a") <= 3600

    def test_nothing_is_left_of_an_answered_job_but_its_answer(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        caller, worker = make("caller"), make("worker")
        for number in range(5):
            caller.submit(job(str(number)))
            worker.finish(worker.take(1), done(str(number)))

        assert client.xlen(prefix + "jobs") == 0
        assert client.keys(prefix + "job:*") == []

    def test_a_flushed_redis_is_told_to_who_waits_and_serves_again(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        lease = worker.take(1)
        for key in client.scan_iter(prefix + "*", count=10_000):
            client.delete(key)
        with pytest.raises(JobLostError, match=r"'a': never submitted, lost with its Redis"):
            caller.wait_answer("a", 100)

        assert worker.take(0.05) is None
        caller.submit(job("b"))
        assert worker.take(1).job.id == "b"
        assert worker.finish(lease, done("a"))
        assert caller.wait_answer("a", 1) == done("a")

    def test_a_flush_while_a_worker_waits_does_not_deafen_it(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        caller, worker = make("caller"), make("worker")
        worker.take(0.001)
        taken: list[Any] = []
        thread = threading.Thread(target=lambda: taken.append(worker.take(10)))
        thread.start()
        client.delete(prefix + "jobs")
        caller.submit(job("a"))
        thread.join()

        assert taken[0].job.id == "a"

    def test_an_entry_of_another_version_is_answered_not_retried(
        self, make: MakeQueue, client: redis.Redis, prefix: str
    ) -> None:
        caller, worker = make("caller"), make("worker")
        caller.submit(job("a"))
        entry = client.xadd(prefix + "jobs", {"id": "odd", "job": b"\xc1"})
        client.set(prefix + "job:odd", entry)
        worker.finish(worker.take(1), done("a"))

        assert worker.take(0.05) is None
        assert "a form that this version does not know" in caller.wait_answer("odd", 1).failure.what
        assert caller.statistics().dead == 1

    def test_a_timeout_names_the_worker_and_its_last_sign_of_life(self, make: MakeQueue) -> None:
        caller, worker = make("caller"), make("host:42")
        caller.submit(job("a"))
        worker.take(1)
        said = r"running at worker host:42, heard of 0\.\d s ago, submitted 0\.\d s ago"
        with pytest.raises(JobTimeoutError, match=said):
            caller.wait_answer("a", 0.01)
