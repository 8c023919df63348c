"""One demo: prepare, load, show that the results are equal, then time the ways in turns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from neural_gpu_bus.benchmarks import machine, pictures
from neural_gpu_bus.benchmarks.data import positions
from neural_gpu_bus.benchmarks.data.prepare import DemoData, prepare
from neural_gpu_bus.benchmarks.data.sources import KEYS
from neural_gpu_bus.benchmarks.direct import DirectWay
from neural_gpu_bus.benchmarks.equality import require_equal
from neural_gpu_bus.benchmarks.library import LibraryWay
from neural_gpu_bus.benchmarks.measure import Candidate, Clock, Stopwatch, measure
from neural_gpu_bus.benchmarks.removal import remove_keys
from neural_gpu_bus.benchmarks.results import COLD, WAYS, DemoResults, WorkloadResult
from neural_gpu_bus.benchmarks.tasks import FULL, Scale, Task, tasks
from neural_gpu_bus.benchmarks.traditional import TraditionalWay
from neural_gpu_bus.benchmarks.ways import ResultTables, Servers, Way, redis_key

if TYPE_CHECKING:
    from neural_gpu_bus.plane import DataPlane

#: Runs of each way before any counts; the comparison before them is another.
WARMUPS = 1


class Watcher(Protocol):
    """Told how the demo comes along; the command line draws it."""

    def say(self, text: str) -> None:
        """What happens now."""

    def expect(self, steps: int) -> None:
        """How many steps there will be."""

    def step(self) -> None:
        """One of them is done."""

    def measured(self, result: WorkloadResult) -> None:
        """One workload has its figures."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for."""

    data: Path | None = None
    repeats: int = 5
    seed: int = 7
    scale: Scale = FULL


def run_demo(
    plane: DataPlane, options: DemoOptions, *, clock: Clock, watcher: Watcher
) -> DemoResults:
    """The whole demo on a running plane.

    Raises ResultsDifferError when two ways disagree, and whatever preparing and loading raise.
    """
    cache = plane.settings.home / "cache" / "demo"
    data = prepare(cache, options.data, watcher.say)
    servers = Servers(plane.addresses.postgres_dsn, plane.addresses.compute_redis_url, data.schema)
    with ExitStack() as closing:
        stored = ResultTables(servers)
        closing.callback(stored.close)
        _load(plane, data, stored, options.seed, watcher)
        made, skipped = tasks(data, options.scale)
        watcher.expect(len(made) * len(WAYS) * (1 + WARMUPS + options.repeats))
        keys = [redis_key(way, task) for way in WAYS for task in made]
        closing.callback(remove_keys, servers.redis_url, keys)
        ways = _open_ways(plane, servers, closing, watcher)
        race = Race(ways, stored, clock, watcher)
        results = [race.run(task, options.repeats) for task in made]
        return DemoResults(
            measured_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            machine=machine.this_machine(),
            versions=machine.versions(),
            servers=stored.versions() | machine.redis_version(servers.redis_url),
            seed=options.seed,
            repeats=options.repeats,
            data_notes=[*data.notes, *_further_notes(data, options)],
            workloads=results,
            skipped=skipped,
            pictures=pictures.take(stored, made),
            over_network=machine.over_network(servers.postgres_dsn, servers.redis_url),
        )


def _further_notes(data: DemoData, options: DemoOptions) -> list[str]:
    notes = [positions.note(options.seed)] if data.price_assets else []
    if options.scale != FULL:
        notes.append("A quick run with less data: a check that all works, not figures to quote.")
    return notes


def _load(
    plane: DataPlane, data: DemoData, stored: ResultTables, seed: int, watcher: Watcher
) -> None:
    """Every prepared file into its table (a repeat is no work), and the positions of this seed."""
    stored.make_schema()
    for table, file in data.files.items():
        watcher.say(f"loading {table}")
        plane.load([file], f"{data.schema}.{table}", key=KEYS[table])
    if data.price_assets:
        made_up = positions.make_positions(data.price_assets, seed)
        plane.store(f"{data.schema}.positions", made_up, key=("desk", "asset"), mode="replace")


def _open_ways(
    plane: DataPlane, servers: Servers, closing: ExitStack, watcher: Watcher
) -> list[Way]:
    """All ways with their connections open, in the order of ``WAYS``."""
    watcher.say("opening connections")
    ways: list[Way] = []
    makers: Sequence[Callable[[], Way]] = (
        lambda: TraditionalWay(servers),
        lambda: LibraryWay(servers),
        lambda: DirectWay(plane, servers.schema, resident=False),
        lambda: DirectWay(plane, servers.schema, resident=True),
    )
    for make in makers:
        ways.append(make())
        closing.callback(ways[-1].close)
    return ways


class Race:
    """Runs every way over one task after the other: equality first, then times."""

    def __init__(
        self, ways: Sequence[Way], stored: ResultTables, clock: Clock, watcher: Watcher
    ) -> None:
        self._ways = ways
        self._stored = stored
        self._clock = clock
        self._watcher = watcher

    def run(self, task: Task, repeats: int) -> WorkloadResult:
        """One task; ResultsDifferError ends it before any time is taken."""
        self._watcher.say(f"{task.title}: are the results equal?")
        rows = self._compare(task)
        self._watcher.say(f"{task.title}: timing")
        timings = measure(
            [self._candidate(way, task) for way in self._ways],
            repeats=repeats,
            warmups=WARMUPS,
            clock=self._clock,
            told=lambda _name: self._watcher.step(),
        )
        direct = next(way for way in self._ways if isinstance(way, DirectWay) and way.name == COLD)
        choice = direct.records[task.workload].choice
        result = WorkloadResult(
            workload=task.workload,
            title=task.title,
            question=task.question,
            input_rows=sum(self._stored.count(sql) for sql in task.inputs.values()),
            result_rows=rows,
            timings=timings,
            engine=f"{choice.engine} ({choice.backend})",
            reason=choice.reason,
        )
        self._watcher.measured(result)
        return result

    def _compare(self, task: Task) -> int:
        """Run every way once; what each stored in both places must equal the traditional way's.

        The direct way goes first: its store creates the table that the others' are made like.
        """
        for way in self._ways:
            self._stored.drop(way.name, task)
        model = next(way for way in self._ways if way.name == COLD)
        for way in sorted(self._ways, key=lambda way: way is not model):
            if way is not model:
                self._stored.make_like(model.name, way.name, task)
            way.prepare(task)
            way.run(task, Stopwatch(self._clock))
            self._watcher.step()
        expected = self._stored.rows(self._ways[0].name, task)
        for way in self._ways:
            places = {
                "PostgreSQL": self._stored.rows(way.name, task),
                "Redis": way.redis_rows(task),
            }
            for place, found in places.items():
                require_equal(
                    expected,
                    {name: found[name] for name in expected if name in found},
                    workload=task.workload,
                    way=f"the {way.name} way",
                    place=place,
                    reference="the traditional way",
                    tolerances=task.tolerances,
                )
        return len(expected[task.key])

    def _candidate(self, way: Way, task: Task) -> Candidate:
        def run(watch: Stopwatch) -> None:
            way.run(task, watch)

        return Candidate(way.name, run, prepare=lambda: self._stored.empty(way.name, task))
