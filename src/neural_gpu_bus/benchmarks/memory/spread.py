"""Times of single calls: their median and their slow end. Pure: the clock is passed in."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

#: Nanoseconds from an arbitrary start, e.g. ``time.perf_counter_ns``.
ClockNs = Callable[[], int]

#: Readings of the clock, one right after the other, that tell what a reading takes.
_CLOCK_READINGS = 1001


class Spread(msgspec.Struct, frozen=True):
    """Single calls, summed up. With under 100 samples ``p99_s`` is the slowest of them."""

    p50_s: float
    p99_s: float
    min_s: float
    samples: int


def spread(samples_ns: Sequence[int]) -> Spread:
    """Sum up at least one sample."""
    ordered = sorted(samples_ns)
    slow_end = min(len(ordered) * 99 // 100, len(ordered) - 1)
    return Spread(
        p50_s=statistics.median(ordered) / 1e9,
        p99_s=ordered[slow_end] / 1e9,
        min_s=ordered[0] / 1e9,
        samples=len(ordered),
    )


def clock_cost_ns(clock_ns: ClockNs) -> int:
    """What two readings of the clock, with nothing between them, say has passed: the median."""
    return sorted(-clock_ns() + clock_ns() for _ in range(_CLOCK_READINGS))[_CLOCK_READINGS // 2]


def call_samples(
    function: Callable[[Any], Any],
    argument: Any,
    *,
    calls_max: int,
    limit_s: float,
    clock_ns: ClockNs,
) -> list[int]:
    """Nanoseconds of each of ``calls_max`` calls, fewer where they take longer than ``limit_s``.

    Each call is timed by itself, because a mean over a loop has no slow end. What the clock takes
    is subtracted; the call itself is Python's own and stays in. The result of a call is let go
    after its time was taken.
    """
    own_ns = clock_cost_ns(clock_ns)
    samples: list[int] = []
    deadline_ns = clock_ns() + int(limit_s * 1e9)
    for _ in range(calls_max):
        started_ns = clock_ns()
        result = function(argument)
        ended_ns = clock_ns()
        del result
        samples.append(max(ended_ns - started_ns - own_ns, 0))
        if ended_ns > deadline_ns:
            break
    return samples
