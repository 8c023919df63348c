"""Chooses the engine of a job: the one asked for, else the one that measured best here.

Only engines of one precision are compared, the widest that can run the workload: else the digits
of a result would depend on which engine was being tried. First use goes by rule. After that each
is tried (its first run warms it up and does not count), and then the fastest runs of each decide,
for each workload and size class. All in this process and bounded.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import EngineChoice
from neural_gpu_bus.engines.choice import check_engine
from neural_gpu_bus.errors import EngineUnavailableError

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Array, Engine, EngineName, Workload

#: Workload and size class.
Key = tuple[str, int]

#: Pairs of workload and size class that are remembered; the one unused longest goes first.
KEYS_MAX = 512

#: Runs of an engine that warm it up (compile, load a model) and are not counted.
WARM_RUNS = 1

#: Runs that are counted before the engines are compared.
TRIED_RUNS = 2

#: An engine this many times slower in its first counted run is not tried again.
HOPELESS = 4

#: Operations from which an accelerator is worth its transfers, until it has been measured: a
#: transfer and a launch take about 100 us, in which one core does 1e6 to 1e7 operations.
ACCELERATOR_COST_MIN = 5e7


class RunTimes:
    """Fastest measured run of each engine for one workload and size class."""

    __slots__ = ("best_s", "runs")

    def __init__(self) -> None:
        self.runs: dict[str, int] = {}
        self.best_s: dict[str, float] = {}

    def add(self, engine: str, seconds: float) -> None:
        """Count one run."""
        self.runs[engine] = self.runs.get(engine, 0) + 1
        if self.runs[engine] > WARM_RUNS:
            self.best_s[engine] = min(seconds, self.best_s.get(engine, math.inf))

    def needs(self, engine: str) -> bool:
        """Whether it has not been tried often enough, and may still win."""
        if engine not in self.best_s:
            return True
        may_win = self.best_s[engine] <= HOPELESS * min(self.best_s.values())
        return may_win and self.runs[engine] < WARM_RUNS + TRIED_RUNS


class MeasuredEngine:
    """An engine whose runs are timed for the planner."""

    def __init__(
        self, engine: Engine, clock_s: Callable[[], float], add: Callable[[str, float], None]
    ) -> None:
        self._engine, self._clock_s, self._add = engine, clock_s, add
        self.name: EngineName = engine.name

    def available(self) -> tuple[bool, str]:
        """As the engine says."""
        return self._engine.available()

    def supports(self, workload: Workload) -> bool:
        """As the engine says."""
        return self._engine.supports(workload)

    def backend(self) -> str:
        """As the engine says."""
        return self._engine.backend()

    def float_type(self) -> str:
        """As the engine says."""
        return self._engine.float_type()

    def run(self, workload: Workload, arrays: Mapping[str, Array], params: Any) -> dict[str, Array]:
        """Run and tell the planner how long it took; a failed run tells nothing."""
        start_s = self._clock_s()
        outputs = self._engine.run(workload, arrays, params)
        self._add(self._engine.name, self._clock_s() - start_s)
        return outputs


class MeasuringPlanner:
    """Chooses by rule first, then by what it measured."""

    def __init__(self, engines: Sequence[Engine], clock_s: Callable[[], float]) -> None:
        """``engines``: at most one of each name; of ``clock_s`` only differences count."""
        self._engines = {engine.name: engine for engine in engines}
        self._clock_s = clock_s
        self._times: OrderedDict[Key, RunTimes] = OrderedDict()
        self._lock = threading.Lock()

    def choose(
        self, workload: Workload, arrays: Mapping[str, Array], params: Any, asked: str | None
    ) -> tuple[Engine, EngineChoice]:
        """The engine, and the sentence that says why.

        Raises BadParameterError when the engine asked for does not exist or has no kernel of this
        workload, EngineUnavailableError when it cannot run here.
        """
        check_engine(workload, asked)
        cost = workload.cost(arrays, params)
        key = (workload.name, size_class(cost))
        with self._lock:
            if asked is not None:
                name, reason = self._asked(asked), "asked for by name"
            else:
                name, reason = self._planned(workload, key, cost)
            engine = self._engines[name]
        measured = MeasuredEngine(engine, self._clock_s, lambda ran, s: self._add(key, ran, s))
        return measured, EngineChoice(name, engine.backend(), reason)

    def _asked(self, asked: str) -> EngineName:
        engine = next((engine for name, engine in self._engines.items() if name == asked), None)
        can, reason = engine.available() if engine else (False, "it was not set up")
        if engine is None or not can:
            raise EngineUnavailableError(
                f"engine {asked!r} cannot run here: {reason}",
                hint="see `ngb doctor`, or leave engine out: the planner chooses",
                engine=asked,
            )
        return engine.name

    def _planned(self, workload: Workload, key: Key, cost: float) -> tuple[EngineName, str]:
        floats = {
            name: engine.float_type()
            for name, engine in self._engines.items()
            if _can_run(engine, workload)
        }
        if not floats:
            raise EngineUnavailableError(
                f"no engine can run {workload.name} here",
                hint="see `ngb doctor`",
                engine="",
            )
        widest = max(floats.values())  # float32 < float64
        able = [name for name, float_type in floats.items() if float_type == widest]
        if len(able) == 1:
            narrower = f" in {widest}" if len(floats) > 1 else ""
            return able[0], f"the only engine here that has a kernel of {workload.name}{narrower}"
        times = self._times_of(key)
        size = f"about {cost:.1g} operations"
        if not times.runs:
            first = self._by_rule(able, cost)
            rule = f"an accelerator from {ACCELERATOR_COST_MIN:.0e} on, else cpu"
            return first, f"first use at {size}: by rule, {rule}"
        untried = [name for name in able if times.needs(name)]
        if untried:
            done = times.runs.get(untried[0], 0)
            return untried[0], f"being measured at {size}: run {done + 1} of {untried[0]}"
        fastest = min(able, key=lambda name: times.best_s[name])
        figures = ", ".join(f"{name} {times.best_s[name] * 1e3:.3g} ms" for name in able)
        return fastest, f"measured fastest at {size}: {figures}"

    def _by_rule(self, able: Sequence[EngineName], cost: float) -> EngineName:
        if "gpu" in able and cost >= ACCELERATOR_COST_MIN:
            return "gpu"
        return "cpu" if "cpu" in able else able[0]

    def _times_of(self, key: Key) -> RunTimes:
        times = self._times.setdefault(key, RunTimes())
        self._times.move_to_end(key)
        while len(self._times) > KEYS_MAX:
            self._times.popitem(last=False)
        return times

    def _add(self, key: Key, engine: str, seconds: float) -> None:
        with self._lock:
            self._times_of(key).add(engine, seconds)


def size_class(cost: float) -> int:
    """Jobs within a factor of four count as one size."""
    return int(math.log2(max(cost, 1.0)) // 2)


def _can_run(engine: Engine, workload: Workload) -> bool:
    return engine.supports(workload) and engine.available()[0]
