"""A job as it was called for: checked as far as goes without looking at values, then described."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.arguments import check_encodable, check_text
from neural_gpu_bus.descriptors import JobDescriptor, StoreTarget
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory import Frame

if TYPE_CHECKING:
    from neural_gpu_bus.memory import UnifiedMemory


def describe_job(
    memory: UnifiedMemory,
    workload: str,
    params: Mapping[str, Any],
    *,
    engine: str | None,
    target: StoreTarget,
    job_id: str | None,
) -> tuple[JobDescriptor, dict[str, Frame]]:
    """The job, and the frames that have to be held until it is answered.

    Raises UnknownWorkloadError, BadParameterError, DatasetNotFoundError.
    """
    from neural_gpu_bus.engines import check_engine
    from neural_gpu_bus.workloads import check_params, find

    _check_call(workload, params, engine, job_id)
    _check_target(target)
    found = find(workload)
    check_engine(found, engine)
    given = {key: _frame(memory, key, params[key]) for key in found.inputs if key in params}
    rest = {key: value for key, value in params.items() if key not in found.inputs}
    checked = check_params(found, rest, given)
    pinned = {key: memory.pin(frame) for key, frame in given.items()}
    job = JobDescriptor(
        id=job_id or uuid.uuid4().hex,
        workload=workload,
        params=msgspec.to_builtins(checked),
        inputs={key: frame.descriptor for key, frame in pinned.items()},
        engine=engine,
        store=target,
        submitted_ns=time.time_ns(),
    )
    if job_id is not None:
        digests = {key: frame.digest() for key, frame in given.items()}
        job = msgspec.structs.replace(job, fingerprint=fingerprint(job, digests))
    return job, pinned


def fingerprint(job: JobDescriptor, digests: Mapping[str, str]) -> str:
    """32 hex digits of all that a job is but its id; ``digests``: of each input's values.

    Of values, not of blocks: who reads the same rows again after a crash asks for the same job.
    """
    asked = (job.workload, job.params, dict(digests), job.engine, job.store)
    return hashlib.sha256(msgspec.msgpack.encode(asked, order="sorted")).hexdigest()[:32]


def _check_call(workload: Any, params: Any, engine: Any, job_id: Any) -> None:
    check_text("workload", workload, "'risk.portfolio'")
    if not isinstance(params, Mapping):
        raise BadParameterError(
            f"params is {params!r}: expected a mapping of inputs and parameters",
            hint="e.g. {'prices': frame, 'positions': {...}, 'confidence': 0.99}",
            parameter="params",
        )
    for key in params:
        check_text("a key of params", key, "'confidence'")
    if engine is not None:
        check_text("engine", engine, "'cpu'")
    if job_id is not None:
        check_text("job_id", job_id, "'risk-2026-11-22'")
        check_encodable("job_id", job_id)


def _check_target(target: StoreTarget) -> None:
    if target.table is not None:
        from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

        check_text("table", target.table, "'risk_metrics'")
        check_encodable("table", target.table)
        parse_table_name(target.table)
    if target.redis_key is not None:
        from neural_gpu_bus.bus import KEYS_PREFIX
        from neural_gpu_bus.stores.redis import check_key

        check_key(target.redis_key, KEYS_PREFIX)


def _frame(memory: UnifiedMemory, name: str, given: Any) -> Frame:
    if isinstance(given, Frame):
        # A part of a block is none of its own, and a job names blocks.
        return given if given.is_block else memory.share(given.arrow())
    if isinstance(given, str):
        return memory.get(given)
    if given is None:
        raise BadParameterError(
            f"input {name!r} is None",
            hint=f"hand in {name}=<frame, dataset name or mapping of columns>",
            parameter=name,
        )
    return memory.share(given)
