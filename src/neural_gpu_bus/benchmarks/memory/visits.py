"""What another process does with a place: find datasets for the first time, and tell how long."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.benchmarks.memory.datasets import sums

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.place import Place

#: Longest that one process may take for its errand.
VISIT_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What a process shall find."""

    #: Found first and not timed: it pays for imports and for connections.
    warm: str
    #: Each is found once: the first time in that process.
    keys: Sequence[str]


class Look(NamedTuple):
    """One dataset found for the first time in a process."""

    find_ns: int
    #: From there on to all columns as numpy arrays.
    columns_ns: int
    sums: dict[str, list[float]]


def fresh() -> Any:
    """Processes that start in milliseconds, forked from one that has only the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["neural_gpu_bus.benchmarks.memory.visits", "neural_gpu_bus.memory.unified_memory"]
    )
    return context


def in_fresh_processes(place: Place, errand: Errand, processes: int) -> Iterator[list[Look]]:
    """Run the errand in that many processes, one after the other."""
    with ProcessPoolExecutor(1, mp_context=fresh(), max_tasks_per_child=1) as pool:
        for _ in range(processes):
            yield pool.submit(visit, place, errand).result(VISIT_S_MAX)


def visit(place: Place, errand: Errand) -> list[Look]:
    """In the other process: find, time, then compare what was found."""
    place.open()
    held = [place.columns(place.find(errand.warm))]  # held, as one who works with it does
    times = []
    for key in errand.keys:
        started_ns = time.perf_counter_ns()
        found = place.find(key)
        found_ns = time.perf_counter_ns()
        columns = place.columns(found)
        ended_ns = time.perf_counter_ns()
        held += [found, columns]
        times.append((found_ns - started_ns, ended_ns - found_ns, columns))
    return [Look(find_ns, columns_ns, sums(columns)) for find_ns, columns_ns, columns in times]
