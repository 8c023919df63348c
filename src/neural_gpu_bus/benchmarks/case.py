"""One step measured by itself: entrants that do the same, equality first, then times in turns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from neural_gpu_bus.benchmarks.equality import Rows, require_equal
from neural_gpu_bus.benchmarks.machine import Machine, this_machine, versions
from neural_gpu_bus.benchmarks.measure import (
    Candidate,
    Clock,
    Stopwatch,
    Timing,
    measure,
    nothing,
)

if TYPE_CHECKING:
    from neural_gpu_bus.plane import DataPlane


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the cases run."""

    plane: DataPlane
    dsn: str
    redis_url: str
    #: Rows of the table that is read.
    rows: int
    #: Takes away, after all cases, what more than one of them uses.
    at_end: ExitStack

    @classmethod
    def of(cls, plane: DataPlane, rows: int, at_end: ExitStack) -> Ground:
        """On the plane's own servers."""
        addresses = plane.addresses
        return cls(
            plane,
            addresses.postgres_dsn.get_secret_value(),
            addresses.compute_redis_url.get_secret_value(),
            rows,
            at_end,
        )


@dataclass(frozen=True, slots=True)
class Entrant:
    """One way to do the step."""

    name: str
    #: The timed work.
    run: Callable[[], Any]
    #: Its result as columns in a common order, untimed; None where there is nothing to compare.
    rows: Callable[[Any], Rows] | None = None
    #: Untimed, before each run.
    prepare: Callable[[], object] = nothing
    #: Measured seconds times this are reported: a hundredth for a loop of 100, ten for a tenth.
    factor: float = 1.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Entrants of one step, ready to run."""

    question: str
    entrants: Sequence[Entrant]
    skipped: Mapping[str, str] = field(default_factory=dict)


#: Builds a case; what it opens is closed with the stack.
CaseMaker = Callable[[Ground, ExitStack], Case]


class CaseResult(msgspec.Struct, frozen=True):
    """One case, measured."""

    name: str
    question: str
    timings: dict[str, Timing]
    notes: dict[str, str]
    skipped: dict[str, str]


class BenchResults(msgspec.Struct, frozen=True):
    """All cases of one run."""

    measured_at: str
    machine: Machine
    versions: dict[str, str]
    cases: list[CaseResult]

    def to_json(self) -> bytes:
        """Readable JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


class CaseWatcher(Protocol):
    """Told how the cases come along."""

    def say(self, text: str) -> None:
        """What happens now."""

    def expect(self, steps: int) -> None:
        """How many steps this case has."""

    def step(self) -> None:
        """One of them is done."""


def run_cases(
    makers: Mapping[str, CaseMaker],
    ground: Ground,
    *,
    repeats: int,
    clock: Clock,
    watcher: CaseWatcher,
) -> BenchResults:
    """Each case by itself; raises ResultsDifferError before any time of a case is taken."""

    def results() -> Iterator[CaseResult]:
        for name, maker in makers.items():
            watcher.say(f"{name}: preparing")
            with ExitStack() as closing:
                case = maker(ground, closing)
                watcher.say(f"{name}: are the results equal?")
                require_equal_entrants(name, case)
                watcher.say(f"{name}: timing")
                watcher.expect(len(case.entrants) * (repeats + 1))
                yield _timed(name, case, repeats, clock, watcher)

    cases = list(results())
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return BenchResults(now, this_machine(), versions(), cases)


def require_equal_entrants(name: str, case: Case) -> None:
    """Run every entrant once; all that give rows must give the first one's."""
    first: Rows | None = None
    reference = ""
    for entrant in case.entrants:
        entrant.prepare()
        result = entrant.run()
        if entrant.rows is None:
            continue
        found = entrant.rows(result)
        if first is None:
            first, reference = found, entrant.name
        require_equal(
            first,
            found,
            workload=name,
            way=entrant.name,
            place="its result",
            reference=reference,
        )


def _timed(name: str, case: Case, repeats: int, clock: Clock, watcher: CaseWatcher) -> CaseResult:
    def candidate(entrant: Entrant) -> Candidate:
        def run(_watch: Stopwatch) -> None:
            entrant.run()

        return Candidate(entrant.name, run, entrant.prepare)

    timings = measure(
        [candidate(entrant) for entrant in case.entrants],
        repeats=repeats,
        clock=clock,
        told=lambda _name: watcher.step(),
    )
    return CaseResult(
        name=name,
        question=case.question,
        timings={
            entrant.name: scaled(timings[entrant.name], entrant.factor) for entrant in case.entrants
        },
        notes={entrant.name: entrant.note for entrant in case.entrants if entrant.note},
        skipped=dict(case.skipped),
    )


def scaled(timing: Timing, factor: float) -> Timing:
    """All seconds times a factor."""
    return msgspec.structs.replace(
        timing,
        median_s=timing.median_s * factor,
        min_s=timing.min_s * factor,
        lower_quartile_s=timing.lower_quartile_s * factor,
        upper_quartile_s=timing.upper_quartile_s * factor,
        stages_s={stage: seconds * factor for stage, seconds in timing.stages_s.items()},
    )
