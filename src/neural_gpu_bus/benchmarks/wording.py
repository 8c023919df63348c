"""Figures in words, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from neural_gpu_bus.benchmarks.results import WorkloadResult

#: The multiplication sign.
TIMES = "\N{MULTIPLICATION SIGN}"


def duration(seconds: float) -> str:
    """Three significant digits in the unit that reads best."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        value = seconds * scale
        if value >= 0.9995 or unit == "µs":
            break
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def times(ratio: float) -> str:
    """How many times less time, e.g. 12 and the sign; below ten with one digit."""
    return f"{ratio:.0f}{TIMES}" if ratio >= 9.95 else f"{ratio:.1f}{TIMES}"


def span(results: Sequence[WorkloadResult], way: str, than: str) -> str:
    """Smallest and largest ratio over the workloads, e.g. ``2.1 to 31 times``."""
    ratios = sorted(result.times_faster(way, than) for result in results)
    low, high = times(ratios[0])[:-1], times(ratios[-1])[:-1]
    return f"{low} times" if low == high else f"{low} to {high} times"


def slower(results: Sequence[WorkloadResult], way: str, than: str) -> list[str]:
    """Titles of the workloads on which ``way`` takes longer than ``than``."""
    return [result.title for result in results if result.times_faster(way, than) < 1.0]


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
