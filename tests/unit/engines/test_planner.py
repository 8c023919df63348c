"""The planner: a named engine wins, first use goes by rule, then measurements decide."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from neural_gpu_bus.engines.planner import (
    ACCELERATOR_COST_MIN,
    KEYS_MAX,
    TRIED_RUNS,
    WARM_RUNS,
    MeasuringPlanner,
    size_class,
)
from neural_gpu_bus.errors import BadParameterError, EngineUnavailableError


class Clock:
    """Time that engines spend."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakeEngine:
    """Takes as long as it is told; ``missing`` says why it cannot run."""

    def __init__(
        self, name: str, clock: Clock, takes_s: float, missing: str = "", floats: str = "float64"
    ) -> None:
        self.name, self.clock, self.takes_s, self.missing = name, clock, takes_s, missing
        self.floats = floats

    def available(self) -> tuple[bool, str]:
        return not self.missing, self.missing or "it is here"

    def supports(self, workload: Any) -> bool:
        return getattr(workload.kernels, "array" if self.name == "gpu" else self.name) is not None

    def backend(self) -> str:
        return f"fake:{self.name}"

    def float_type(self) -> str:
        return self.floats

    def run(self, workload: Any, arrays: Any, params: Any) -> dict[str, Any]:
        self.clock.now_s += self.takes_s
        return {}


def workload(cost: float = 1e6, name: str = "test.work", **kernels: Any) -> Any:
    whole = {"cpu": len, "array": len, "neural": len, **kernels}
    return SimpleNamespace(
        name=name, kernels=SimpleNamespace(**whole), cost=lambda arrays, params: cost
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def planner(clock: Clock) -> MeasuringPlanner:
    engines = [FakeEngine("cpu", clock, 0.02), FakeEngine("gpu", clock, 0.005)]
    return MeasuringPlanner([*engines, FakeEngine("neural", clock, 1, "not installed")], clock)


def run(planner: MeasuringPlanner, work: Any, asked: str | None = None) -> Any:
    engine, choice = planner.choose(work, {}, None, asked)
    engine.run(work, {}, None)
    return choice


def test_the_engine_asked_for_wins(planner: MeasuringPlanner) -> None:
    choice = run(planner, workload(), "gpu")

    assert (choice.engine, choice.backend, choice.reason) == (
        "gpu",
        "fake:gpu",
        "asked for by name",
    )


def test_an_engine_that_cannot_run_is_an_error(planner: MeasuringPlanner) -> None:
    sentence = "engine 'neural' cannot run here: not installed"
    with pytest.raises(EngineUnavailableError, match=sentence):
        planner.choose(workload(), {}, None, "neural")
    with pytest.raises(BadParameterError, match="there is no engine 'gpuu'; there are cpu, gpu, n"):
        planner.choose(workload(), {}, None, "gpuu")
    with pytest.raises(BadParameterError, match=r"test\.work has no kernel for engine 'gpu'; it r"):
        planner.choose(workload(array=None), {}, None, "gpu")


def test_one_able_engine_needs_no_measuring(planner: MeasuringPlanner) -> None:
    choice = run(planner, workload(array=None))

    assert choice.engine == "cpu"
    assert choice.reason == "the only engine here that has a kernel of test.work"


def test_engines_of_fewer_digits_are_for_those_who_ask(clock: Clock) -> None:
    engines = [
        FakeEngine("cpu", clock, 1.0),
        FakeEngine("gpu", clock, 0.5),
        FakeEngine("neural", clock, 0.1, floats="float32"),
    ]
    planner = MeasuringPlanner(engines, clock)  # type: ignore[arg-type]
    chosen = {run(planner, workload()).engine for _ in range(10)}
    alone = run(planner, workload(array=None))

    assert chosen == {"cpu", "gpu"}
    assert alone.engine == "cpu"
    assert alone.reason == "the only engine here that has a kernel of test.work in float64"
    assert run(planner, workload(), "neural").engine == "neural"
    assert run(planner, workload(cpu=None, array=None)).engine == "neural"


@pytest.mark.parametrize(("cost", "first"), [(1e6, "cpu"), (ACCELERATOR_COST_MIN, "gpu")])
def test_first_use_goes_by_rule(planner: MeasuringPlanner, cost: float, first: str) -> None:
    choice = run(planner, workload(cost))

    assert choice.engine == first
    assert choice.reason.startswith("first use at about")


def test_every_able_engine_is_tried_and_the_fastest_wins(planner: MeasuringPlanner) -> None:
    tries = WARM_RUNS + TRIED_RUNS
    chosen = [run(planner, workload()).engine for _ in range(2 * tries)]
    last = run(planner, workload())

    assert chosen == ["cpu"] * tries + ["gpu"] * tries
    assert last.engine == "gpu"
    assert last.reason == "measured fastest at about 1e+06 operations: cpu 20 ms, gpu 5 ms"


def test_runs_that_warm_up_do_not_count(clock: Clock) -> None:
    slow_start = FakeEngine("gpu", clock, 60.0)
    planner = MeasuringPlanner([FakeEngine("cpu", clock, 0.02), slow_start], clock)
    for _ in range(2 * (WARM_RUNS + TRIED_RUNS)):
        choice = run(planner, workload())
        if choice.engine == "gpu":
            slow_start.takes_s = 0.001

    assert run(planner, workload()).engine == "gpu"


def test_an_engine_far_behind_is_not_tried_again(clock: Clock) -> None:
    engines = [FakeEngine("cpu", clock, 0.001), FakeEngine("gpu", clock, 0.1)]
    planner = MeasuringPlanner(engines, clock)
    chosen = [run(planner, workload()).engine for _ in range(7)]

    assert chosen == ["cpu"] * 3 + ["gpu"] * (WARM_RUNS + 1) + ["cpu"] * 2


def test_sizes_and_workloads_are_measured_apart(planner: MeasuringPlanner) -> None:
    for _ in range(7):
        run(planner, workload())

    assert run(planner, workload()).engine == "gpu"
    assert run(planner, workload(cost=10.0)).reason.startswith("first use")
    assert run(planner, workload(name="test.other")).reason.startswith("first use")


def test_a_failed_run_tells_nothing(planner: MeasuringPlanner, clock: Clock) -> None:
    engine, _ = planner.choose(workload(), {}, None, None)
    engine._engine.run = _fail
    with pytest.raises(RuntimeError, match="broken"):
        engine.run(workload(), {}, None)

    assert planner.choose(workload(), {}, None, None)[1].reason.startswith("first use")


def _fail(*arguments: Any) -> Any:
    raise RuntimeError("broken")


def test_what_is_remembered_is_bounded(planner: MeasuringPlanner) -> None:
    for place in range(KEYS_MAX + 5):
        run(planner, workload(name=f"test.{place}"))

    assert len(planner._times) == KEYS_MAX
    assert run(planner, workload(name="test.0")).reason.startswith("first use")


def test_no_engine_at_all_is_an_error(clock: Clock) -> None:
    planner = MeasuringPlanner([FakeEngine("neural", clock, 1, "not installed")], clock)
    with pytest.raises(EngineUnavailableError, match=r"no engine can run test\.work here"):
        planner.choose(workload(), {}, None, None)


@pytest.mark.parametrize(("cost", "size"), [(0.0, 0), (1.0, 0), (3.9, 0), (4.0, 1), (4.0**9, 9)])
def test_a_factor_of_four_is_one_size(cost: float, size: int) -> None:
    assert size_class(cost) == size


def test_choices_repeat_exactly() -> None:
    """The same clock gives the same choices and the same sentences."""

    def story(make: Callable[[], Clock]) -> list[str]:
        clock = make()
        engines = [FakeEngine("cpu", clock, 0.02), FakeEngine("gpu", clock, 0.005)]
        planner = MeasuringPlanner(engines, clock)
        return [run(planner, workload()).reason for _ in range(9)]

    assert story(Clock) == story(Clock)
