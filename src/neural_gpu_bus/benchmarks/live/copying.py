"""Question: what does the first copy take beside a parallel read of the same table?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.live.tables import (
    COLUMNS,
    filled,
    followed,
    make_ticks,
    require_live_equal,
)
from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part
from neural_gpu_bus.benchmarks.memory.spread import spread

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround

#: Issue 5.
_TIMES_MAX = 1.10
_NAME = "ngb_bench_copy"


def copy_first(ground: LiveGround, _closing: ExitStack) -> Answer:
    """In turns; the process that follows tables has begun."""
    table = make_ticks(ground, "copied")
    rows = ground.sizes.rows
    ground.run(filled(table, 1, rows))
    ground.run(f"VACUUM ANALYZE {table}")
    copies: list[int] = []
    reads: list[int] = []
    ground.watcher.expect(ground.sizes.repeats + 1)
    for turn in range(ground.sizes.repeats + 1):
        with ExitStack() as dropping:
            started_ns = ground.clock_ns()
            live = followed(ground, table, dropping, _NAME)
            ended_ns = ground.clock_ns()
            require_live_equal(ground, "copy", table, live)
        read_ns = ground.clock_ns()
        frame = ground.plane.table(table, columns=list(COLUMNS))
        read_ns = ground.clock_ns() - read_ns
        del frame
        if turn:
            copies.append(ended_ns - started_ns)
            reads.append(read_ns)
        ground.watcher.step()
    lines = [
        Line("plane.live", "ours", spread(copies)),
        Line("plane.table", "limit", spread(reads)),
    ]
    times = min(copies) / min(reads)
    goal = Goal(
        f"the first copy within {_TIMES_MAX - 1:.0%} of plane.table",
        f"{times:.2f} of its time",
        times <= _TIMES_MAX,
    )
    notes = [
        "until plane.live has returned: published, copied, split by key, ordered, looked at",
        "the figure is of the quickest runs",
    ]
    question = f"the first copy of {rows:,} rows of 6 columns, of a hundred instruments"
    return Answer("copy", question, [Part("", lines)], [goal], notes)
