"""Question: what does the first copy take beside a parallel read of the same table?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.live.processes import other
from neural_gpu_bus.benchmarks.live.tables import (
    COLUMNS,
    filled,
    followed,
    make_ticks,
    require_live_equal,
)
from neural_gpu_bus.benchmarks.live.writing import Pace, write_paced
from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part
from neural_gpu_bus.benchmarks.memory.spread import spread

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround

#: Issue 5.
_TIMES_MAX = 1.10
_NAME = "ngb_bench_copy"
#: Of who writes meanwhile.
_COMMITS_PER_S = 100


class Times:
    """Nanoseconds of one call after the other."""

    def __init__(self) -> None:
        self.copies: list[int] = []
        self.reads: list[int] = []
        self.reads_again: list[int] = []

    def part(self, title: str) -> Part:
        """All of them."""
        lines = [
            Line("plane.live", "ours", spread(self.copies)),
            Line("plane.table", "limit", spread(self.reads)),
        ]
        if self.reads_again:
            line = "plane.table, into pages of a frame that was dropped"
            lines.append(Line(line, "limit", spread(self.reads_again)))
        return Part(title, lines)

    def goal(self, words: str) -> Goal:
        """Of the quickest runs: others only take time away."""
        times = min(self.copies) / min(self.reads)
        wanted = f"the first copy within {_TIMES_MAX - 1:.0%} of plane.table{words}"
        return Goal(wanted, f"{times:.2f} of its time", times <= _TIMES_MAX)


def copy_first(ground: LiveGround, _closing: ExitStack) -> Answer:
    """In turns; the process that follows tables has begun."""
    table = make_ticks(ground, "copied")
    rows = ground.sizes.rows
    ground.run(filled(table, -rows, -1))
    ground.run(f"VACUUM ANALYZE {table}")
    ground.watcher.expect(2 * ground.sizes.repeats + 1)
    quiet = _quiet(ground, table)
    written = _under_writes(ground, table)
    notes = [
        "until plane.live has returned: published, copied, split by key, ordered, looked at",
        "both write into new pages: a first copy has none to use again, nor has a first read",
        "the figure is of the quickest runs",
    ]
    question = f"the first copy of {rows:,} rows of 6 columns, of a hundred instruments"
    pace = _pace(ground)
    while_written = f"while {pace.rows_per_s:,} rows/s are written"
    parts = [quiet.part("nobody writes"), written.part(while_written)]
    goals = [quiet.goal(""), written.goal(f" {while_written}")]
    return Answer("copy", question, parts, goals, notes)


def _quiet(ground: LiveGround, table: str) -> Times:
    times, kept = Times(), []
    for turn in range(ground.sizes.repeats + 1):
        with ExitStack() as dropping:
            started_ns = ground.clock_ns()
            live = followed(ground, table, dropping, _NAME)
            copied_ns = ground.clock_ns() - started_ns
            require_live_equal(ground, "copy", table, live)
        again_ns, again = _read(ground, table)  # it takes the pages of the turn before
        read_ns, frame = _read(ground, table)
        kept.append(frame)
        del again, frame
        if turn:
            times.copies.append(copied_ns)
            times.reads.append(read_ns)
            times.reads_again.append(again_ns)
        ground.watcher.step()
    return times


def _under_writes(ground: LiveGround, table: str) -> Times:
    """Somebody inserts all the time; what was copied last is compared when he has ended."""
    times, kept, pace = Times(), [], _pace(ground)
    with other(write_paced, ground.dsn, table, pace, "") as writer, ExitStack() as dropping:
        writer.wait_ready()
        writer.go()
        for turn in range(1, ground.sizes.repeats + 1):
            started_ns = ground.clock_ns()
            live = followed(ground, table, dropping, _NAME)
            times.copies.append(ground.clock_ns() - started_ns)
            if turn < ground.sizes.repeats:
                dropping.close()
            read_ns, frame = _read(ground, table)
            kept.append(frame)
            times.reads.append(read_ns)
            ground.watcher.step()
        writer.answer()
        require_live_equal(ground, "copy", table, live)
    return times


def _pace(ground: LiveGround) -> Pace:
    commits = int(ground.sizes.seconds * _COMMITS_PER_S)
    return Pace(commits, _COMMITS_PER_S, max(1, ground.sizes.rates[0] // _COMMITS_PER_S))


def _read(ground: LiveGround, table: str) -> tuple[int, Any]:
    started_ns = ground.clock_ns()
    frame = ground.plane.table(table, columns=list(COLUMNS))
    return ground.clock_ns() - started_ns, frame
