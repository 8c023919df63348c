"""One piece of work on every dataset that matches, side by side, and its results as one frame."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    JobQueueFullError,
    JobTimeoutError,
    MapFailedError,
    NeuralGpuBusError,
)
from neural_gpu_bus.memory import Frame
from neural_gpu_bus.memory.merging import as_result, merge

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.bus import Job
    from neural_gpu_bus.memory import UnifiedMemory
    from neural_gpu_bus.ports import Progress

#: All of them are mapped at once, and a process has 65,530 maps (Linux, vm.max_map_count).
DATASETS_MAX = 10_000
#: Jobs that are with the workers at a time: enough to keep them busy, and their results, which stay
#: in memory until they are merged, few.
JOBS_IN_FLIGHT_MAX = 64


class Submit(Protocol):
    """``DataPlane.submit``, as far as it is needed here."""

    def __call__(  # noqa: D102
        self, workload: str, params: Mapping[str, Any], *, engine: str | None = None
    ) -> Job[Frame]: ...


def map_datasets(
    memory: UnifiedMemory,
    pattern: str,
    matches: Sequence[str],
    work: Callable[..., Any] | str,
    *,
    submit: Submit,
    params: Mapping[str, Any] | None = None,
    input: str | None = None,  # noqa: A002  the word that workloads have for it
    engine: str | None = None,
    name: str | None = None,
    threads: int | None = None,
    timeout_s: float | None = None,
    datasets_max: int = DATASETS_MAX,
    progress: Progress | None = None,
) -> Frame:
    """See ``DataPlane.map``; ``matches``: the names that ``pattern`` finds."""
    frames = attach_all(memory, pattern, matches, datasets_max)
    if isinstance(work, str):
        call = _job_call(memory, work, params or {}, input_name=input, engine=engine, submit=submit)
        tables = run_jobs(memory, frames, call, timeout_s=timeout_s, progress=progress)
    else:
        _check_function(work, input=input, engine=engine, timeout_s=timeout_s)
        given = dict(params or {})
        tables = run_function(
            frames, lambda frame: work(frame, **given), threads=threads, progress=progress
        )
    merged = merge(tables)
    return memory.put(name, merged) if name is not None else memory.share(merged)


def attach_all(
    memory: UnifiedMemory, pattern: str, matches: Sequence[str], datasets_max: int = DATASETS_MAX
) -> dict[str, Frame]:
    """The newest version of each, all held before any work begins: none can go meanwhile.

    One that was dropped since it was found is left out, as if it had never matched. Raises
    DatasetNotFoundError where none is left, BadParameterError for more than ``datasets_max``,
    DatasetEvictedError naming those that had to make room for others.
    """
    if len(matches) > datasets_max:
        raise BadParameterError(
            f"{pattern!r} finds {len(matches):,} datasets, and at most {datasets_max:,} can be "
            "worked on at once",
            hint="narrow the pattern, e.g. by its first letter",
            parameter="pattern",
        )
    frames: dict[str, Frame] = {}
    evicted: list[str] = []
    for name in matches:
        try:
            frames[name] = memory.get(name)
        except DatasetEvictedError:
            evicted.append(name)
        except DatasetNotFoundError:
            continue
    if evicted:
        raise DatasetEvictedError(
            f"{len(evicted)} of {len(matches)} datasets that {pattern!r} finds had to make room "
            f"for others: {', '.join(evicted[:5])}{' ...' if evicted[5:] else ''}",
            hint="load them again, pin what must stay, or raise NGB_MEMORY_BYTES_MAX",
            name=evicted[0],
            version=0,
            names=evicted,
        )
    if not frames:
        known = memory.names()
        raise DatasetNotFoundError(
            f"no dataset matches {pattern!r}",
            hint=did_you_mean(pattern, known, "`ngb memory` lists what there is"),
            name=pattern,
        )
    return frames


def run_function(
    frames: Mapping[str, Frame],
    function: Callable[[Frame], Any],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, pa.Table | None]:
    """What the function makes of each frame, in threads; see ``as_result``.

    After a failure nothing more is begun, and what runs is waited for.
    """
    count = min(_threads(threads), len(frames))
    done: dict[str, pa.Table | None] = {}
    with ThreadPoolExecutor(count, thread_name_prefix="ngb-map") as pool:
        named: dict[Future[Any], str] = {
            pool.submit(_one_result, function, frame): name for name, frame in frames.items()
        }
        try:
            for future in as_completed(named):
                done[named[future]] = future.result()
                _tell(progress, len(done), len(frames))
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            failed = _failed(named)
            if not failed:
                raise  # Ctrl-C, or the caller's progress
            raise _failure(failed, len(frames)) from (None if _own(error) else error)
    return {name: done[name] for name in frames}


def _one_result(function: Callable[[Frame], Any], frame: Frame) -> pa.Table | None:
    return as_result(function(frame))


def _failed(named: Mapping[Future[Any], str]) -> dict[str, BaseException]:
    """Each dataset whose work ended in an error, in the order of names."""
    ended = ((future, name) for future, name in named.items() if not future.cancelled())
    errors = {name: error for future, name in ended if (error := future.exception()) is not None}
    return dict(sorted(errors.items()))


def _failure(failed: Mapping[str, BaseException], among: int) -> BaseException:
    """The first error with its dataset's name: of its own kind where that is one of ours."""
    name, error = next(iter(failed.items()))
    more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
    facts = {"dataset": name, "failed": list(failed)}
    if isinstance(error, NeuralGpuBusError):
        what = f"on dataset {name!r}: {error.what}{more}"
        return type(error)(what, hint=error.hint, **{**error.facts, **facts})
    return MapFailedError(
        f"the function failed on dataset {name!r}, one of {among}{more}: "
        f"{type(error).__name__}: {error}",
        hint=f"try it alone: function(plane.get({name!r}))",
        **facts,
    )


def run_jobs(
    memory: UnifiedMemory,
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
        with _named(name):
            result = job.wait_result(timeout_s)
        done[name] = result.arrow()
        memory.drop_result(result.descriptor)
        _tell(progress, len(done), len(frames))

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
    with _named(name):
        try:
            return call(frame)
        except JobQueueFullError:
            if last:
                raise
            return None


@contextmanager
def _named(dataset: str) -> Iterator[None]:
    """Errors inside say which dataset they are about."""
    try:
        yield
    except NeuralGpuBusError as error:
        raise _failure({dataset: error}, 1) from None


def _job_call(
    memory: UnifiedMemory,
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


def _shared(memory: UnifiedMemory, given: Any) -> Frame:
    if isinstance(given, str):
        return memory.get(given)
    return given if isinstance(given, Frame) else memory.share(given)


def _check_function(work: Any, **only_for_jobs: Any) -> None:
    if not callable(work):
        raise BadParameterError(
            f"work is {work!r}: expected a function of a frame, or a workload's name",
            hint="e.g. lambda frame: frame['close'].mean(), or 'risk.portfolio'",
            parameter="work",
        )
    for name, value in only_for_jobs.items():
        if value is not None:
            raise BadParameterError(
                f"{name} is {value!r}, and a function has no {name}",
                hint="it is for workloads; leave it out",
                parameter=name,
            )


def _threads(asked: int | None) -> int:
    """As many as the cores that this process may use."""
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise BadParameterError(
            f"threads is {asked!r}: expected a whole number, 1 or more",
            hint="leave it out for one a core",
            parameter="threads",
        )
    if asked is not None:
        return asked
    # macOS has no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return allowed or 1


def _own(error: BaseException) -> bool:
    return isinstance(error, NeuralGpuBusError)


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
