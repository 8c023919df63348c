"""Round trip and throughput of the durable lane: ``python tools/measure_bus.py REDIS_URL``."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
import uuid
from multiprocessing.synchronize import Event

import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from neural_gpu_bus.bus import RedisJobQueue, run_worker
from neural_gpu_bus.descriptors import JobAnswer, JobDescriptor

ROUND_TRIPS = 3_000
PIPELINED = 5_000


def open_queue(url: str, prefix: str) -> RedisJobQueue:
    """A queue with a client of its own."""
    return RedisJobQueue(redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0)), prefix=prefix)


def work(url: str, prefix: str, ended: Event) -> None:
    """A worker whose jobs do nothing."""
    queue = open_queue(url, prefix)
    run_worker(queue, lambda job, _: JobAnswer(job.id, "done"), stop=ended.is_set)
    queue.close()


def measure(queue: RedisJobQueue) -> None:
    """Print both figures."""

    def submit(job_id: str) -> None:
        queue.submit(JobDescriptor(job_id, "none", {}, {}))

    times_us = []
    for number in range(ROUND_TRIPS):
        started = time.perf_counter_ns()
        submit(f"one {number}")
        queue.wait_answer(f"one {number}", 10)
        times_us.append((time.perf_counter_ns() - started) / 1e3)
    p50, p99 = statistics.median(times_us), np.percentile(times_us, 99)
    print(f"round trip of a job that does nothing: p50 {p50:.0f} us, p99 {p99:.0f} us")
    started = time.perf_counter_ns()
    for number in range(PIPELINED):
        submit(f"many {number}")
    for number in range(PIPELINED):
        queue.wait_answer(f"many {number}", 10)
    elapsed_s = (time.perf_counter_ns() - started) / 1e9
    print(f"jobs one behind the other: {PIPELINED / elapsed_s:,.0f} a second, one worker")


def main(url: str) -> None:
    """Measure against that Redis, and leave no key behind."""
    prefix = f"ngb:{{measure-{uuid.uuid4().hex}}}:"
    ended = multiprocessing.Event()
    worker = multiprocessing.Process(target=work, args=(url, prefix, ended))
    worker.start()
    try:
        measure(open_queue(url, prefix))
    finally:
        ended.set()
        worker.join()
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(prefix + "*", count=10_000):
                client.delete(key)


if __name__ == "__main__":
    main(sys.argv[1])
