"""One job for each of many frames, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import (
    BadParameterError,
    JobQueueFullError,
    JobTimeoutError,
    NeuralGpuBusError,
)
from neural_gpu_bus.matching.failures import named, tell
from neural_gpu_bus.memory import Frame

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.bus import Job
    from neural_gpu_bus.descriptors import BlockDescriptor
    from neural_gpu_bus.ports import Progress

#: Jobs that are with the workers at a time: enough to keep them busy, and their results, which stay
#: in memory until they are merged, few.
JOBS_IN_FLIGHT_MAX = 64


class JobMemory(Protocol):
    """What is needed of a memory; ``UnifiedMemory`` has it."""

    def get(self, name: str) -> Frame: ...  # noqa: D102

    def share(self, columns: Mapping[str, Any] | pa.Table) -> Frame: ...  # noqa: D102

    def drop_result(self, block: BlockDescriptor) -> None: ...  # noqa: D102


class Submit(Protocol):
    """``DataPlane.submit``, as far as it is needed here."""

    def __call__(  # noqa: D102
        self, workload: str, params: Mapping[str, Any], *, engine: str | None = None
    ) -> Job[Frame]: ...


def run_jobs(
    memory: JobMemory,
    frames: Mapping[str, Frame],
    call: Callable[[Frame], Job[Frame]],
    *,
    timeout_s: float | None = None,
    progress: Progress | None = None,
) -> dict[str, pa.Table | None]:
    """The result of one job for each frame, at most ``JOBS_IN_FLIGHT_MAX`` at a time.

    Results are dropped from memory once they are held here. After a failure no more jobs are sent,
    and those under way are waited for, unless it was a wait that was too long.
    """
    done: dict[str, pa.Table | None] = {}
    waiting: deque[tuple[str, Job[Frame]]] = deque()

    def collect() -> None:
        name, job = waiting.popleft()
        with named(name):
            result = job.wait_result(timeout_s)
        done[name] = result.arrow()
        memory.drop_result(result.descriptor)
        tell(progress, len(done), len(frames))

    try:
        for name, frame in frames.items():
            if len(waiting) == JOBS_IN_FLIGHT_MAX:
                collect()
            while (job := _sent(call, name, frame, last=not waiting)) is None:
                collect()
            waiting.append((name, job))
        while waiting:
            collect()
    except JobTimeoutError:
        raise
    except NeuralGpuBusError:
        for _, job in waiting:
            with suppress(NeuralGpuBusError):
                memory.drop_result(job.wait_result(timeout_s).descriptor)
        raise
    return done


def _sent(
    call: Callable[[Frame], Job[Frame]], name: str, frame: Frame, *, last: bool
) -> Job[Frame] | None:
    """The job; None where the queue is full and jobs of our own are in it."""
    with named(name):
        try:
            return call(frame)
        except JobQueueFullError:
            if last:
                raise
            return None


def job_call(
    memory: JobMemory,
    workload: str,
    params: Mapping[str, Any],
    *,
    input_name: str | None,
    engine: str | None,
    submit: Submit,
) -> Callable[[Frame], Job[Frame]]:
    """How a frame becomes a job; inputs that all jobs have in common are shared once, here."""
    from neural_gpu_bus.workloads import find

    inputs = find(workload).inputs
    key = _input_name(workload, list(inputs), params, input_name)
    common = {
        name: _shared(memory, value) if name in inputs else value for name, value in params.items()
    }
    return lambda frame: submit(workload, {**common, key: frame}, engine=engine)


def _input_name(
    workload: str, inputs: Sequence[str], params: Mapping[str, Any], asked: str | None
) -> str:
    free = [name for name in inputs if name not in params]
    if asked is None and len(free) == 1:
        return free[0]
    if asked in free:
        return str(asked)
    what = f"input is {asked!r}" if asked is not None else "input is missing"
    hint = f"name the one that the datasets are for: input={free[0]!r}" if free else ""
    raise BadParameterError(
        f"{what}: {workload} has {', '.join(inputs)}, of which params gives "
        f"{', '.join(name for name in inputs if name in params) or 'none'}",
        hint=did_you_mean(asked, free, hint) if asked else hint or "leave it out of params",
        parameter="input",
    )


def _shared(memory: JobMemory, given: Any) -> Frame:
    if isinstance(given, str):
        return memory.get(given)
    return given if isinstance(given, Frame) else memory.share(given)
