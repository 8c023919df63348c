"""``ngb bench memory``: unified memory beside its rivals and beside what the machine can do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.machine import this_machine, versions
from neural_gpu_bus.benchmarks.memory.answers import Answer, QuestionResults
from neural_gpu_bus.benchmarks.memory.attaching import attach_first
from neural_gpu_bus.benchmarks.memory.crowding import in_a_crowd
from neural_gpu_bus.benchmarks.memory.finding import find_again
from neural_gpu_bus.benchmarks.memory.ground import FULL, QUICK, MemoryGround, memory_ground
from neural_gpu_bus.benchmarks.memory.publishing import publish_many
from neural_gpu_bus.benchmarks.memory.putting import put_large
from neural_gpu_bus.benchmarks.memory.sharing import share_one

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

#: All that takes part.
DISTRIBUTIONS = (
    "neural-gpu-bus", "numpy", "pyarrow", "lmdb", "redis", "hiredis", "ray", "arcticdb", "pandas",
)  # fmt: skip

#: Asks one question; what it opens is closed with the stack.
Question = Callable[[MemoryGround, ExitStack], Answer]

QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "find": find_again,
        "attach": attach_first,
        "put": put_large,
        "publish": publish_many,
        "share": share_one,
        "crowd": in_a_crowd,
    }
)

#: Those that Ray takes part in: it needs seconds to start.
RAY_QUESTIONS = frozenset({"find", "attach", "put"})


def run_questions(
    questions: Mapping[str, Question],
    plane: DataPlane,
    *,
    quick: bool,
    clock_ns: ClockNs,
    watcher: CaseWatcher,
) -> QuestionResults:
    """One after the other; ResultsDifferError before any time where a place is not equal."""

    def answers(ground: MemoryGround) -> Iterator[Answer]:
        for name, ask in questions.items():
            watcher.say(name)
            with ExitStack() as closing:
                answer = ask(ground, closing)
            ground.begin_anew()
            yield answer

    sizes = QUICK if quick else FULL
    ray = not RAY_QUESTIONS.isdisjoint(questions)
    with memory_ground(plane, sizes, clock_ns, watcher, ray=ray) as ground:
        found = list(answers(ground))
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return QuestionResults(now, this_machine(), versions(DISTRIBUTIONS), quick, found)
