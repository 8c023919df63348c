"""``ngb bench postgres``: reading, storing and computing beside the rivals and beside the server
alone, in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.memory.answers import Answer, QuestionResults
from neural_gpu_bus.benchmarks.postgres.ground import FULL, QUICK, PostgresGround, postgres_ground
from neural_gpu_bus.benchmarks.postgres.grouping import group_by
from neural_gpu_bus.benchmarks.postgres.reading import read_fixed, read_mixed, read_newest
from neural_gpu_bus.benchmarks.postgres.scaling import scale
from neural_gpu_bus.benchmarks.postgres.storing import store_few, store_many, upsert_many
from neural_gpu_bus.benchmarks.server_questions import answered

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseWatcher
    from neural_gpu_bus.benchmarks.memory.spread import ClockNs
    from neural_gpu_bus.plane import DataPlane

#: All that takes part.
DISTRIBUTIONS = (
    "neural-gpu-bus", "numpy", "numba", "pyarrow", "psycopg", "asyncpg", "adbc-driver-postgresql",
    "connectorx", "duckdb", "duckdb-extension-postgres-scanner", "polars", "pandas", "SQLAlchemy",
    "psycopg2-binary",
)  # fmt: skip

#: Asks one question; what it opens is closed with the stack.
Question = Callable[[PostgresGround, ExitStack], Answer]

QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "fixed": read_fixed,
        "mixed": read_mixed,
        "newest": read_newest,
        "store": store_many,
        "upsert": upsert_many,
        "durable": store_few,
        "group": group_by,
        "scale": scale,
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
    """One after the other; ResultsDifferError before any time where a way is not equal."""

    sizes = QUICK if quick else FULL
    with postgres_ground(plane, sizes, clock_ns, watcher) as ground:
        return answered(questions, ground, quick=quick, distributions=DISTRIBUTIONS)
