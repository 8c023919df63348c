"""What ``ngb bench memory`` and ``ngb bench postgres`` found: lines beside each other, and the
figures that were asked for.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from neural_gpu_bus.benchmarks.machine import Machine
from neural_gpu_bus.benchmarks.memory.spread import Spread

#: ``limit``: what the machine itself takes for the least that has to be done.
Kind = Literal["ours", "limit", "rival"]


class Line(msgspec.Struct, frozen=True):
    """One way, or one bound, measured."""

    title: str
    kind: Kind
    spread: Spread


class Share(msgspec.Struct, frozen=True):
    """Memory that several processes take together for one dataset, in multiples of its size."""

    title: str
    kind: Kind
    #: Proportional set size of the mappings, summed over the processes.
    mapped: float
    #: Growth of what each has for itself, summed over the processes.
    private: float


class Part(msgspec.Struct, frozen=True):
    """Lines that can be compared."""

    title: str
    lines: list[Line] = []
    shares: list[Share] = []


class Goal(msgspec.Struct, frozen=True):
    """A figure that was asked for, and what was found."""

    wanted: str
    found: str
    met: bool


class Answer(msgspec.Struct, frozen=True):
    """One question."""

    name: str
    question: str
    parts: list[Part]
    goals: list[Goal] = []
    notes: list[str] = []
    #: Rival -> why it is not there, or how to get it.
    skipped: dict[str, str] = {}


class QuestionResults(msgspec.Struct, frozen=True):
    """All questions of one run."""

    measured_at: str
    machine: Machine
    versions: dict[str, str]
    quick: bool
    answers: list[Answer]

    def to_json(self) -> bytes:
        """Readable JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def under(what: str, found_s: float, wanted_s: float) -> Goal:
    """A time that shall stay under another."""
    from neural_gpu_bus.benchmarks.wording import duration

    return Goal(f"{what} under {duration(wanted_s)}", duration(found_s), found_s < wanted_s)
