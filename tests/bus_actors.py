"""Worker processes for the tests of the bus: their workload waits for a file to appear."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from neural_gpu_bus.bus import JobRunner, RedisJobQueue, run_worker
from neural_gpu_bus.descriptors import EngineChoice, StoreReceipt
from neural_gpu_bus.memory import UnifiedMemory

LEASE_S = 0.4
BYTES_MAX = 64 << 20


class Gate(msgspec.Struct):
    """Each worker that starts makes a file in ``folder``; the job ends once ``open`` is there.

    ``die``: name of the worker that is killed after storing and before answering.
    """

    folder: str
    die: str = ""


def open_queue(redis_url: str, prefix: str, name: str) -> RedisJobQueue:
    client = redis.Redis.from_url(redis_url, protocol=2, retry=Retry(NoBackoff(), 0))
    return RedisJobQueue(client, lease_s=LEASE_S, deliveries_max=3, worker_name=name, prefix=prefix)


def _engine(name: str) -> Any:
    def run(workload: Any, arrays: Mapping[str, Any], params: Gate) -> dict[str, Any]:
        (Path(params.folder) / name).write_text(str(os.getpid()))
        while not (Path(params.folder) / "open").exists():
            time.sleep(0.005)
        return {"y": arrays["x"] * 2}

    return SimpleNamespace(run=run)


def work(redis_url: str, prefix: str, folder: Path, name: str) -> None:
    """A worker until SIGTERM; it stores into Redis, once a job id, and counts the stores."""
    queue = open_queue(redis_url, prefix, name)
    client = redis.Redis.from_url(redis_url, protocol=2)
    dying: list[str] = []

    def store(table: str, columns: pa.Table, job_id: str) -> StoreReceipt:
        first = client.set(f"{prefix}stored:{job_id}", name, nx=True)
        return StoreReceipt(columns.num_rows if first else 0, "0/1", repeated=not first)

    def announce(kind: str, facts: Mapping[str, Any]) -> None:
        if name in dying:
            os.kill(os.getpid(), signal.SIGKILL)

    def prepare(inputs: Mapping[str, Any], params: Gate) -> dict[str, Any]:
        dying[:] = [params.die]
        return {"x": inputs["numbers"]["x"]}

    gate = SimpleNamespace(
        name="test.gate",
        params_type=Gate,
        prepare=prepare,
        table=lambda outputs, params: pa.table({"y": outputs["y"]}),
    )
    choice = EngineChoice("cpu", name, "the only one")
    planner = SimpleNamespace(choose=lambda *_: (_engine(name), choice))
    memory = UnifiedMemory(folder, BYTES_MAX)
    runner = JobRunner(memory, {"test.gate": gate}, planner, store=store, announce=announce)
    run_worker(queue, runner)
    queue.close()
