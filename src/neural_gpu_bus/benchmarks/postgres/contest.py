"""Readers that take part: opened where they are installed, checked for equality, timed in turns."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.memory.answers import Line
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.benchmarks.postgres.comparing import in_order, require_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from neural_gpu_bus.benchmarks.memory.answers import Kind
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround
    from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader


#: Who is slow is asked less often, once it has taken so long: the table says how often.
_SLOW_SAMPLES = 3
_SLOW_NS_MAX = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """Something timed in turns with others."""

    title: str
    kind: Kind
    run: Callable[[], object]
    #: Untimed, before each run.
    before: Callable[[], object] = lambda: None
    #: Measured times are multiplied by it, where a part stands for the whole.
    factor: int = 1


@dataclass(slots=True)
class Field:
    """Who takes part, and who does not and why."""

    readers: list[Reader] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def opened(candidates: Sequence[Reader], closing: ExitStack) -> Field:
    """Open those whose libraries are there."""
    found = Field()
    for reader in candidates:
        missing = [
            package
            for module, package in reader.needs.items()
            if importlib.util.find_spec(module) is None
        ]
        if missing:
            found.skipped[reader.title] = f"not installed: pip install {' '.join(missing)}"
            continue
        closing.callback(reader.close)
        reader.open()
        found.readers.append(reader)
    return found


def require_equal_readers(question: str, readers: Sequence[Reader], asked: Asked, key: str) -> None:
    """Everybody reads once; the first one's result is what the others' must be."""
    first = None
    for reader in readers:
        columns = reader.columns(reader.read(asked), asked)
        if not columns:
            continue  # a bound has no columns
        if first is None:
            first = reader.title, in_order(columns, key)
        else:
            require_same(question, first, reader.title, columns, key)


def read_lines(
    ground: PostgresGround, readers: Sequence[Reader], asked: Asked, repeats: int
) -> list[Line]:
    """Warm: every reader in turns, connected, after a first read that does not count."""
    steps = [Step(reader.title, reader.kind, partial(reader.read, asked)) for reader in readers]
    return list(in_turns(ground, steps, repeats))


def connecting_lines(
    ground: PostgresGround, readers: Sequence[Reader], asked: Asked, repeats: int
) -> list[Line]:
    """Cold: each run connects, reads and disconnects."""

    def whole(reader: Reader) -> None:
        with ExitStack() as closing:
            closing.callback(reader.close)
            reader.open()
            reader.read(asked)

    steps = [Step(reader.title, reader.kind, partial(whole, reader)) for reader in readers]
    return list(in_turns(ground, steps, repeats))


def in_turns(ground: PostgresGround, steps: Sequence[Step], repeats: int) -> Iterator[Line]:
    """Each step so many times in turns, so that a noisy neighbour hits all of them; a first turn
    warms them up.
    """
    samples: list[list[int]] = [[] for _ in steps]
    ground.watcher.expect((repeats + 1) * len(steps))
    for turn in range(repeats + 1):
        for step, taken in zip(steps, samples, strict=True):
            ground.watcher.step()
            if len(taken) >= _SLOW_SAMPLES and sum(taken) > _SLOW_NS_MAX * step.factor:
                continue
            step.before()
            started_ns = ground.clock_ns()
            result = step.run()
            ended_ns = ground.clock_ns()
            del result
            if turn:
                taken.append((ended_ns - started_ns) * step.factor)
    for step, taken in zip(steps, samples, strict=True):
        yield Line(step.title, step.kind, spread(taken))


def median_s(lines: Sequence[Line], title: str) -> float | None:
    """Of the line of that title; None where it did not take part."""
    return next((line.spread.p50_s for line in lines if line.title == title), None)
