"""One job through the runner, with a workload and an engine of the test's own."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.bus import JobRunner
from neural_gpu_bus.descriptors import (
    EngineChoice,
    JobAnswer,
    JobDescriptor,
    StoreReceipt,
    StoreTarget,
)
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    ServerUnreachableError,
    UnknownWorkloadError,
)
from neural_gpu_bus.memory import UnifiedMemory

CHOICE = EngineChoice("cpu", "plain", "the only one")


class Times(msgspec.Struct):
    factor: float = 2.0


def _prepare(inputs: Mapping[str, Any], params: Times) -> dict[str, Any]:
    return {"x": inputs["numbers"]["x"]}


SCALE = SimpleNamespace(
    name="test.scale",
    params_type=Times,
    prepare=_prepare,
    table=lambda outputs, params: pa.table({"y": outputs["y"]}),
)
ENGINE = SimpleNamespace(run=lambda workload, arrays, params: {"y": arrays["x"] * params.factor})
PLANNER = SimpleNamespace(choose=lambda workload, arrays, params, asked: (ENGINE, CHOICE))


class Told:
    """What the runner handed to the stores."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.written: list[Any] = []
        self.announced: list[Any] = []

    def store(self, table: str, columns: pa.Table, job_id: str) -> StoreReceipt:
        repeated = any(entry[2] == job_id for entry in self.stored)
        self.stored.append((table, columns.to_pydict(), job_id))
        return StoreReceipt(0 if repeated else columns.num_rows, "0/1", repeated)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def runner(memory: UnifiedMemory, told: Told) -> JobRunner:
    ticks = iter(range(1_000_000, 10**12, 1_000_000))
    return JobRunner(
        memory,
        {"test.scale": SCALE},
        PLANNER,
        store=told.store,
        write_redis=lambda key, columns: told.written.append((key, columns.to_pydict())) or 1,
        announce=lambda kind, facts: told.announced.append((kind, facts)),
        clock_ns=lambda: next(ticks),
    )


def _job(memory: UnifiedMemory, job_id: str = "a", **given: Any) -> JobDescriptor:
    frame = memory.put("numbers", {"x": np.array([1.0, 2.0])})
    given = {"params": {}, "submitted_ns": 1} | given
    return JobDescriptor(job_id, "test.scale", inputs={"numbers": frame.descriptor}, **given)


def test_a_result_is_published_and_described(memory: UnifiedMemory, runner: JobRunner) -> None:
    answer = runner(_job(memory, params={"factor": 3}), 2)

    assert answer.status == "done"
    assert memory.attach(answer.block)["y"].tolist() == [3, 6]
    assert memory.get("jobs/a")["y"].tolist() == [3, 6]
    record = answer.record
    assert (record.choice, record.deliveries) == (CHOICE, 2)
    assert record.queued_us == pytest.approx(1000, abs=0.01)
    assert (record.attach_us, record.compute_us, record.publish_us) == (1000, 1000, 1000)
    assert (record.store_us, record.stored_rows, record.stored_lsn) == (0, 0, "")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=JobAnswer) == answer


def test_a_result_is_stored_where_asked(
    memory: UnifiedMemory, runner: JobRunner, told: Told
) -> None:
    job = _job(memory, store=StoreTarget("risk", "risk:1"))
    first, second = runner(job, 1), runner(job, 2)

    assert told.stored == [("risk", {"y": [2, 4]}, "a")] * 2
    assert told.written == [("risk:1", {"y": [2, 4]})] * 2
    assert (first.record.stored_rows, first.record.stored_lsn) == (2, "0/1")
    assert second.record.stored_rows == 0
    assert first.record.store_us > 0


def test_a_result_is_announced(memory: UnifiedMemory, runner: JobRunner, told: Told) -> None:
    runner(_job(memory), 1)
    kind, facts = told.announced[0]

    assert kind == "JobDone"
    assert (facts["job_id"], facts["dataset"], facts["rows"]) == ("a", "jobs/a", 2)


def test_a_result_that_cannot_be_announced_is_still_answered(memory: UnifiedMemory) -> None:
    def refuse(kind: str, facts: Mapping[str, Any]) -> None:
        raise ServerUnreachableError("gone")

    runner = JobRunner(memory, {"test.scale": SCALE}, PLANNER, announce=refuse)

    assert runner(_job(memory), 1).status == "done"


def test_what_a_job_read_is_counted_for_its_engine(memory: UnifiedMemory) -> None:
    uses: list[Any] = []
    runner = JobRunner(
        memory, {"test.scale": SCALE}, PLANNER, count_use=lambda *use: uses.append(use)
    )
    job = _job(memory)
    runner(job, 1)

    assert uses == [("cpu", [job.inputs["numbers"]])]


@pytest.mark.parametrize("target", [{"table": "t"}, {"redis_key": "k"}])
def test_a_worker_without_that_store_says_so(memory: UnifiedMemory, target: dict[str, str]) -> None:
    runner = JobRunner(memory, {"test.scale": SCALE}, PLANNER)
    with pytest.raises(BadParameterError, match=f"cannot store to a {next(iter(target))}"):
        runner(_job(memory, store=StoreTarget(**target)), 1)


def test_bad_jobs_are_refused_by_name(memory: UnifiedMemory, runner: JobRunner) -> None:
    with pytest.raises(UnknownWorkloadError, match=r"no workload 'nothing'.*\n.*test\.scale"):
        runner(msgspec.structs.replace(_job(memory), workload="nothing"), 1)
    with pytest.raises(BadParameterError, match=r"parameters of test\.scale .*\$\.factor"):
        runner(_job(memory, params={"factor": "three"}), 1)
    job = _job(memory)
    memory.drop("numbers")
    with pytest.raises(DatasetEvictedError, match="'numbers' version 3 is not in this memory"):
        runner(job, 1)
