"""``ngb bench live``: how soon, how fast and how cheaply a live table follows its commits, beside
the rivals and beside the server alone, in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.live.applying import apply_many
from neural_gpu_bus.benchmarks.live.copying import copy_first
from neural_gpu_bus.benchmarks.live.ground import FULL, QUICK, LiveGround, live_ground
from neural_gpu_bus.benchmarks.live.latency import see_soon
from neural_gpu_bus.benchmarks.live.looking import look_often
from neural_gpu_bus.benchmarks.live.sizes import hold_many
from neural_gpu_bus.benchmarks.live.watching import watch_risk
from neural_gpu_bus.benchmarks.memory.answers import Answer, QuestionResults
from neural_gpu_bus.benchmarks.server_questions import answered

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

#: All that takes part.
DISTRIBUTIONS = ("neural-gpu-bus", "numpy", "numba", "pyarrow", "psycopg")

#: Asks one question; what it opens is closed with the stack.
Question = Callable[[LiveGround, ExitStack], Answer]

QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "latency": see_soon,
        "apply": apply_many,
        "copy": copy_first,
        "look": look_often,
        "watch": watch_risk,
        "sizes": hold_many,
    }
)


def run_questions(
    questions: Mapping[str, Question],
    plane: DataPlane,
    *,
    quick: bool,
    clock_ns: ClockNs,
    watcher: CaseWatcher,
) -> QuestionResults:
    """One after the other; ResultsDifferError before any figure where a table is not equal."""

    sizes = QUICK if quick else FULL
    with live_ground(plane, sizes, clock_ns, watcher) as ground:
        return answered(questions, ground, quick=quick, distributions=DISTRIBUTIONS)
