"""Samples, quartiles, turns and stages."""

from __future__ import annotations

import pytest

from neural_gpu_bus.benchmarks.measure import Candidate, Stopwatch, measure, summarise


class SteppingClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_summary_has_median_minimum_and_quartiles() -> None:
    timing = summarise([4.0, 1.0, 3.0, 2.0, 5.0])

    assert (
        timing.median_s,
        timing.min_s,
        timing.lower_quartile_s,
        timing.upper_quartile_s,
        timing.repeats,
    ) == (3.0, 1.0, 2.0, 4.0, 5)


def test_one_sample_is_its_own_quartiles() -> None:
    timing = summarise([2.0])

    assert (timing.lower_quartile_s, timing.upper_quartile_s) == (2.0, 2.0)


def test_stages_add_up_by_name_and_a_missing_one_counts_as_nothing() -> None:
    timing = summarise([1.0, 1.0, 1.0], [{"read": 2.0}, {"read": 4.0, "store": 1.0}, {"read": 3.0}])

    assert timing.stages_s == {"read": 3.0, "store": 0.0}


def test_candidates_take_turns_and_the_warm_run_does_not_count() -> None:
    clock, order = SteppingClock(), []

    def candidate(name: str, durations_s: list[float]) -> Candidate:
        def run(_watch: Stopwatch) -> None:
            order.append(name)
            clock.now_s += durations_s.pop(0)

        return Candidate(name, run)

    timings = measure(
        [candidate("a", [9.0, 1.0, 2.0]), candidate("b", [9.0, 3.0, 4.0])], repeats=2, clock=clock
    )

    assert order == ["a", "b"] * 3
    assert (timings["a"].median_s, timings["b"].median_s) == (1.5, 3.5)


def test_preparing_is_not_timed() -> None:
    clock = SteppingClock()

    def slow() -> None:
        clock.now_s += 50.0

    timings = measure([Candidate("a", lambda _watch: None, slow)], repeats=3, clock=clock)

    assert timings["a"].median_s == 0.0


def test_a_stage_timed_elsewhere_is_moved_and_never_more_than_there_is() -> None:
    clock = SteppingClock()
    watch = Stopwatch(clock)
    clock.now_s += 5.0
    watch.lap("hand over")

    watch.move("hand over", "compute", 3.0)
    watch.move("hand over", "store", 99.0)

    assert pytest.approx({"hand over": 0.0, "compute": 3.0, "store": 2.0}) == watch.stages_s
