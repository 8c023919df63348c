"""Question: how long from a commit's return to its rows in another process?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.live.processes import other
from neural_gpu_bus.benchmarks.live.seeing import (
    CHANNEL,
    NOTIFY,
    OURS,
    PAUSE_S,
    WAYS,
    Seen,
    see_commits,
)
from neural_gpu_bus.benchmarks.live.tables import (
    filled,
    followed,
    make_ticks,
    require_live_equal,
)
from neural_gpu_bus.benchmarks.live.writing import Pace, write_paced
from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Kind, Line, Part, under
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.errors import StaleError

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround

#: Issue 5.
_P50_S, _P99_S = 1e-3, 5e-3
_NAME = "ngb_bench_latency"
#: As their makers publish them.
PUBLISHED = (
    "as published, not measured here: sequin 55 ms mean and 253 ms p99, Debezium Server 210 ms"
)


def see_soon(ground: LiveGround, closing: ExitStack) -> Answer:
    """At each rate, ours and the rivals, one after the other."""
    table = make_ticks(ground, "latency")
    ground.run(filled(table, -100, -1))
    live = followed(ground, table, closing, _NAME)
    seen = Seen(ground.home, ground.dsn, table, _NAME)
    parts: list[Part] = []
    goals: list[Goal] = []
    notes: list[str] = []
    ground.watcher.expect(len(ground.sizes.rates) * len(WAYS))
    for rate in ground.sizes.rates:
        pace = _pace(ground, rate)
        lines = []
        for way in WAYS:
            line, reached = _line(ground, seen, way, pace)
            require_live_equal(ground, "latency", table, live)
            ground.run(f"DELETE FROM {table} WHERE ts >= 0")  # noqa: S608
            require_live_equal(ground, "latency", table, live)
            ground.watcher.step()
            lines.append(line)
            if reached < 0.95 * rate:
                notes.append(f"{way}: the writer reached {reached:,.0f} of {rate:,} rows/s")
        parts.append(Part(f"{rate:,} rows/s in {pace.commits_per_s:,} transactions", lines))
        goals += list(_goals(rate, lines[0]))
    notes += [
        f"a reader looks again {PAUSE_S * 1e6:.0f} us after each look; 0 where the rows were "
        "there when the commit returned",
        PUBLISHED,
    ]
    return Answer("latency", "From a commit's return to its rows in another process", parts,
                  goals, notes)  # fmt: skip


def _pace(ground: LiveGround, rate: int) -> Pace:
    commits_per_s = ground.sizes.commits_per_s
    return Pace(int(ground.sizes.seconds * commits_per_s), commits_per_s, rate // commits_per_s)


def _line(ground: LiveGround, seen: Seen, way: str, pace: Pace) -> tuple[Line, float]:
    """And the rows in a second that the writer reached."""
    channel = CHANNEL if way == NOTIFY else ""
    with (
        other(see_commits, way, seen, pace.commits) as reader,
        other(write_paced, ground.dsn, seen.table, pace, channel) as writer,
    ):
        reader.wait_ready()
        writer.wait_ready()
        writer.go()
        returned, moments = writer.answer(), reader.answer()
    if len(moments) < pace.commits:
        raise StaleError(
            f"{way}: saw {len(moments)} of {pace.commits} transactions",
            hint="see the log of the home",
            table=seen.table,
            why="transactions did not come",
        )
    lags = [max(0, late - done) for done, late in zip(returned, moments, strict=True)]
    took_s = (returned[-1] - returned[0]) / 1e9
    kind: Kind = "ours" if way == OURS else "rival"
    return Line(way, kind, spread(lags)), (pace.commits - 1) * pace.rows / took_s


def _goals(rate: int, line: Line) -> Iterator[Goal]:
    yield under(f"p50 at {rate:,} rows/s", line.spread.p50_s, _P50_S)
    yield under(f"p99 at {rate:,} rows/s", line.spread.p99_s, _P99_S)
