"""What is to be done on which datasets: found, held, worked on, merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.matching.functions import run_function
from neural_gpu_bus.matching.jobs import JobMemory, Submit, job_call, run_jobs
from neural_gpu_bus.matching.merging import merge

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory import Frame
    from neural_gpu_bus.ports import Progress

#: All of them are mapped at once, and a process has 65,530 maps (Linux, vm.max_map_count).
DATASETS_MAX = 10_000


class MapMemory(JobMemory, Protocol):
    """What is needed of a memory; ``UnifiedMemory`` has it."""

    def put(self, name: str, columns: Mapping[str, Any] | pa.Table) -> Frame: ...  # noqa: D102

    def names(self) -> Sequence[str]: ...  # noqa: D102


def map_datasets(
    memory: MapMemory,
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
        call = job_call(memory, work, params or {}, input_name=input, engine=engine, submit=submit)
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
    memory: MapMemory, pattern: str, matches: Sequence[str], datasets_max: int = DATASETS_MAX
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
            hint="load them again; plane.keep(name) keeps a dataset from being evicted",
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
