"""JobRunner: what a worker does with one job, from ports alone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec
import structlog

from neural_gpu_bus.bus.results import KeptResults
from neural_gpu_bus.descriptors import (
    BlockDescriptor,
    EngineChoice,
    JobAnswer,
    JobDescriptor,
    JobRecord,
    StoreReceipt,
    StoreTarget,
)
from neural_gpu_bus.errors import (
    BadParameterError,
    ServerError,
    UnknownWorkloadError,
)
from neural_gpu_bus.ports import RESULT_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.ports import Columns, Memory, Planner, Workload

#: As of the setting ``job_answer_ttl_s``.
RESULTS_TTL_S = 3600.0

_log = structlog.get_logger(__name__)

Store = Callable[[str, "pa.Table", str], StoreReceipt]
WriteRedis = Callable[[str, "pa.Table"], int]
Announce = Callable[[str, Mapping[str, Any]], object]
CountUse = Callable[[str, Sequence[BlockDescriptor]], object]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_NOWHERE = StoreTarget()
_NOTHING_STORED = StoreReceipt(rows=0, lsn="")


class JobRunner:
    """Runs one job after the other in one process.

    ``store(table, columns, job_id)`` puts the job id into the same transaction, so a job run twice
    stores once. ``announce(kind, facts)`` tells the engine-logic bus. ``results_ttl_s``: how long
    results stay in memory where there is room. ``count_use(engine, blocks)`` is told what a job
    read and who computed; it must not raise.
    """

    def __init__(
        self,
        memory: Memory,
        workloads: Mapping[str, Workload],
        planner: Planner,
        *,
        store: Store | None = None,
        write_redis: WriteRedis | None = None,
        announce: Announce | None = None,
        count_use: CountUse | None = None,
        results_ttl_s: float = RESULTS_TTL_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._memory = memory
        self._workloads = workloads
        self._planner = planner
        self._store = store
        self._write_redis = write_redis
        self._announce = announce
        self._count_use = count_use
        self._clock_ns = clock_ns
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._results = KeptResults(memory, ttl_s=results_ttl_s)

    def __call__(self, job: JobDescriptor, deliveries: int) -> JobAnswer:
        """Attach, compute, publish, store, answer. Raises what goes wrong.

        One after the other: a result that cannot be published is not stored, and one that
        PostgreSQL refuses does not stand in Redis.
        """
        taken_ns = self._clock_ns()
        workload = self._find(job.workload)
        params = _params(workload, job.params)
        inputs = {name: self._memory.attach(block) for name, block in job.inputs.items()}
        attached_ns = self._clock_ns()
        table, choice = self._compute(workload, inputs, params, job.engine)
        computed_ns = self._clock_ns()
        if self._count_use is not None:
            self._count_use(choice.engine, list(job.inputs.values()))
        frame = self._results.publish(job.id, table, reload_ns=computed_ns - taken_ns)
        published_ns = self._clock_ns()
        receipt = self._stored(job, table)
        record = JobRecord(
            choice=choice,
            worker=self._worker,
            deliveries=deliveries,
            queued_us=(taken_ns - job.submitted_ns) / 1e3 if job.submitted_ns else 0.0,
            attach_us=(attached_ns - taken_ns) / 1e3,
            compute_us=(computed_ns - attached_ns) / 1e3,
            publish_us=(published_ns - computed_ns) / 1e3,
            store_us=(self._clock_ns() - published_ns) / 1e3 if job.store != _NOWHERE else 0.0,
            stored_rows=receipt.rows,
            stored_before=receipt.repeated,
            stored_lsn=receipt.lsn,
        )
        self._tell(job, record, frame.rows)
        return JobAnswer(job.id, "done", block=frame.descriptor, record=record)

    def _find(self, name: str) -> Workload:
        if name not in self._workloads:
            raise UnknownWorkloadError(
                f"this worker knows no workload {name!r}",
                hint=f"it knows {sorted(self._workloads)}; run worker and caller at one version",
                workload=name,
                known=sorted(self._workloads),
            )
        return self._workloads[name]

    def _compute(
        self,
        workload: Workload,
        inputs: Mapping[str, Columns],
        params: msgspec.Struct,
        asked: str | None,
    ) -> tuple[pa.Table, EngineChoice]:
        arrays = workload.prepare(inputs, params)
        engine, choice = self._planner.choose(workload, arrays, params, asked)
        return workload.table(engine.run(workload, arrays, params), params), choice

    def _stored(self, job: JobDescriptor, table: pa.Table) -> StoreReceipt:
        receipt = _NOTHING_STORED
        if job.store.table is not None:
            receipt = _given(self._store, "table")(job.store.table, table, job.id)
        if job.store.redis_key is not None:
            _given(self._write_redis, "redis_key")(job.store.redis_key, table)
        return receipt

    def _tell(self, job: JobDescriptor, record: JobRecord, rows: int) -> None:
        if self._announce is not None:
            facts = {
                "job_id": job.id,
                "workload": job.workload,
                "dataset": RESULT_NAMES + job.id,
                "rows": rows,
                "engine": record.choice.engine,
                "table": job.store.table,
                "redis_key": job.store.redis_key,
            }
            try:
                self._announce("JobDone", facts)
            except ServerError as error:  # the result is there and stored: that is the answer
                _log.warning("a result was not announced", job=job.id, error=error.what)


def _params(workload: Workload, given: Mapping[str, Any]) -> msgspec.Struct:
    try:
        return msgspec.convert(given, workload.params_type)
    except msgspec.ValidationError as error:
        raise BadParameterError(
            f"parameters of {workload.name} do not fit: {error}",
            hint="see `ngb workloads` for names, defaults and limits",
            parameter="params",
        ) from None


def _given(step: Callable[_P, _R] | None, target: str) -> Callable[_P, _R]:
    if step is None:
        raise BadParameterError(
            f"this worker cannot store to a {target}",
            hint="run a worker that has that server",
            parameter=target,
        )
    return step
