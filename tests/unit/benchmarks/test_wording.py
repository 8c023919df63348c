"""Figures in words."""

from __future__ import annotations

import pytest

from neural_gpu_bus.benchmarks.results import COLD, LIBRARY, TRADITIONAL
from neural_gpu_bus.benchmarks.wording import duration, listed, slower, span, times
from sample_results import sample_results


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.8366, "1.84 s"),
        (0.7, "700 ms"),
        (0.0123, "12.3 ms"),
        (0.00123, "1.23 ms"),
        (4.2e-5, "42.0 µs"),
        (2.04e-7, "0.20 µs"),
        (0.9999, "1.00 s"),
    ],
)
def test_durations_have_three_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_ratios_below_ten_have_one_digit() -> None:
    assert [times(9.94), times(9.96), times(0.42)] == [
        "9.9\N{MULTIPLICATION SIGN}",
        "10\N{MULTIPLICATION SIGN}",
        "0.4\N{MULTIPLICATION SIGN}",
    ]


def test_span_runs_from_the_smallest_to_the_largest() -> None:
    assert span(sample_results().workloads, COLD, TRADITIONAL) == "3.7 to 30 times"


def test_workloads_that_lose_are_named() -> None:
    workloads = sample_results().workloads

    assert slower(workloads, COLD, LIBRARY) == []
    assert len(slower(workloads, TRADITIONAL, COLD)) == len(workloads)


def test_lists_read_as_sentences() -> None:
    assert listed(["a", "b", "c"]) == "a, b and c"
