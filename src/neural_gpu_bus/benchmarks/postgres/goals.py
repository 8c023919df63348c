"""Figures that were asked for, beside what was found. Pure."""

from __future__ import annotations

from neural_gpu_bus.benchmarks.memory.answers import Goal
from neural_gpu_bus.benchmarks.wording import TIMES


def at_least(what: str, ours_s: float | None, theirs_s: float | None, wanted: float) -> Goal:
    """That many times as quick as a rival; not met where one of the two was not there."""
    text = f"{what}: at least {wanted:g} {TIMES}"
    if not ours_s or not theirs_s:
        return Goal(text, "one of the two did not take part", met=False)
    ratio = theirs_s / ours_s
    return Goal(text, f"{ratio:.2f} {TIMES}", met=ratio >= wanted)


def at_most(what: str, ours_s: float | None, theirs_s: float | None, wanted: float) -> Goal:
    """No more than that many times as long."""
    text = f"{what}: under {wanted:g} {TIMES}"
    if not ours_s or not theirs_s:
        return Goal(text, "one of the two did not take part", met=False)
    ratio = ours_s / theirs_s
    return Goal(text, f"{ratio:.2f} {TIMES}", met=ratio < wanted)
