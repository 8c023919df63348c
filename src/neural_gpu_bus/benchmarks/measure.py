"""Times as samples and their quartiles. Pure: the clock is passed in, nothing is printed.

Candidates take turns (A B C, A B C ...), so that a noisy neighbour hits all of them alike, and each
is warmed once before anything counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

#: Seconds from an arbitrary start, e.g. ``time.perf_counter``.
Clock = Callable[[], float]


def nothing() -> None:
    """Prepare nothing."""


class Stopwatch:
    """Splits one run into named stages; a stage named twice adds up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = clock()
        self._stages_s: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to that stage."""
        now_s = self._clock()
        self._stages_s[stage] = self._stages_s.get(stage, 0.0) + now_s - self._last_s
        self._last_s = now_s

    def move(self, source: str, target: str, duration_s: float) -> None:
        """Name a part of a lap that another process timed; never more than the lap holds."""
        moved_s = min(max(duration_s, 0.0), self._stages_s.get(source, 0.0))
        self._stages_s[source] = self._stages_s.get(source, 0.0) - moved_s
        self._stages_s[target] = self._stages_s.get(target, 0.0) + moved_s

    @property
    def stages_s(self) -> Mapping[str, float]:
        """Stage to seconds, in the order of their first lap."""
        return dict(self._stages_s)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to do the work that is timed."""

    name: str
    run: Callable[[Stopwatch], None]
    #: Undoes the run before it, untimed, e.g. empties the table that it writes.
    prepare: Callable[[], object] = nothing


class Timing(msgspec.Struct, frozen=True):
    """Samples of one candidate, summed up. Quartiles by linear interpolation."""

    median_s: float
    min_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    repeats: int
    #: Median of each stage by itself: they need not add up to the median of the whole.
    stages_s: dict[str, float] = {}


def summarise(samples_s: Sequence[float], stages_s: Sequence[Mapping[str, float]] = ()) -> Timing:
    """Sum up at least one sample."""
    if len(samples_s) == 1:
        lower_s = upper_s = samples_s[0]
    else:
        lower_s, _, upper_s = statistics.quantiles(samples_s, n=4, method="inclusive")
    names = list(dict.fromkeys(name for stages in stages_s for name in stages))
    return Timing(
        median_s=statistics.median(samples_s),
        min_s=min(samples_s),
        lower_quartile_s=lower_s,
        upper_quartile_s=upper_s,
        repeats=len(samples_s),
        stages_s={
            name: statistics.median(stages.get(name, 0.0) for stages in stages_s) for name in names
        },
    )


def measure(
    candidates: Sequence[Candidate],
    *,
    repeats: int,
    clock: Clock,
    warmups: int = 1,
    told: Callable[[str], None] | None = None,
) -> dict[str, Timing]:
    """Run every candidate ``warmups + repeats`` times in turns; ``told`` hears of every run."""
    samples_s: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    stages_s: dict[str, list[Mapping[str, float]]] = {
        candidate.name: [] for candidate in candidates
    }
    for turn in range(warmups + repeats):
        for candidate in candidates:
            candidate.prepare()
            watch = Stopwatch(clock)
            started_s = clock()
            candidate.run(watch)
            elapsed_s = clock() - started_s
            if turn >= warmups:
                samples_s[candidate.name].append(elapsed_s)
                stages_s[candidate.name].append(watch.stages_s)
            if told is not None:
                told(candidate.name)
    return {name: summarise(samples_s[name], stages_s[name]) for name in samples_s}
