"""Question: what does a look at the newest rows take while rows arrive?"""

from __future__ import annotations

import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.live.processes import other, say_ready
from neural_gpu_bus.benchmarks.live.tables import (
    COLUMNS,
    INSTRUMENT,
    followed,
    make_ticks,
    require_live_equal,
    require_same_rows,
)
from neural_gpu_bus.benchmarks.live.writing import Pace, write_paced
from neural_gpu_bus.benchmarks.memory.answers import Answer, Line, Part, under
from neural_gpu_bus.benchmarks.memory.spread import clock_cost_ns, spread

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround

#: Issue 5.
_P50_S = 3e-6
_NAME = "ngb_bench_look"
#: Looks, one right after the other, between two pauses: a reader has other work, too.
_LOOKS = 20
_PAUSE_S = 200e-6
#: So that it begins behind the first rows and ends before the last ones.
_SPARE_S = 0.05


def look_often(ground: LiveGround, closing: ExitStack) -> Answer:
    """In another process than the writer's and the one that follows."""
    table = make_ticks(ground, "looked")
    newest = ground.sizes.newest
    ground.run(
        f"INSERT INTO {table} (instrument_id, ts, price, size, side) "  # noqa: S608
        f"SELECT '{INSTRUMENT}', g - 1000000000, g, g, 1 FROM generate_series(1, {2 * newest}) g"
    )
    live = followed(ground, table, closing, _NAME)
    sizes = ground.sizes
    rate, commits_per_s = sizes.rates[-1], sizes.commits_per_s
    pace = Pace(int(sizes.seconds * commits_per_s), commits_per_s, rate // commits_per_s)
    look_s = max(sizes.seconds - 2 * _SPARE_S, _SPARE_S)
    with (
        other(look, ground.home, newest, look_s) as reader,
        other(write_paced, ground.dsn, table, pace, "") as writer,
    ):
        reader.wait_ready()
        writer.wait_ready()
        writer.go()
        time.sleep(_SPARE_S)
        reader.go()
        repeated, first = reader.answer()
        writer.answer()
    require_live_equal(ground, "look", table, live)
    expected = ground.plane.query(
        f"SELECT {', '.join(COLUMNS)} FROM {table} "  # noqa: S608
        f"WHERE instrument_id = '{INSTRUMENT}' ORDER BY ts DESC LIMIT {newest}"
    )
    found = live.last(newest, instrument_id=INSTRUMENT)
    require_same_rows("look", "plane.live", expected.arrow(), found.arrow())
    title = f"last({newest:,})"
    lines = [Line(f"{title}, again and again", "ours", spread(repeated))]
    if first:
        lines.append(Line(f"{title}, first behind a change", "ours", spread(first)))
    goal = under(f"p50 of {title}", lines[0].spread.p50_s, _P50_S)
    notes = [
        f"{_LOOKS} looks, then a pause of {_PAUSE_S * 1e6:.0f} us; the first one of them where "
        "something was published meanwhile: what lay in the caches has gone",
        "no column is read",
    ]
    question = f"the last {newest:,} rows of a partition while {rate:,} rows/s arrive"
    return Answer("look", question, [Part("", lines)], [goal], notes)


def look(pipe: Connection, home: Path, newest: int, look_s: float) -> None:
    """In another process: nanoseconds of looks, and of first ones behind a change."""
    import neural_gpu_bus as ngb
    from neural_gpu_bus.live_tables import live_table

    with ngb.open(home=home) as plane:
        live = live_table(plane, _NAME)
        live.last(newest, instrument_id=INSTRUMENT)
        say_ready(pipe)
        pipe.recv()
        pipe.send(_timed(live, newest, look_s))


def _timed(live: Any, newest: int, look_s: float) -> tuple[list[int], list[int]]:
    own_ns = clock_cost_ns(time.perf_counter_ns)
    repeated: list[int] = []
    first: list[int] = []
    generation, end_s = -1, time.monotonic() + look_s
    while time.monotonic() < end_s:
        for number in range(_LOOKS):
            started_ns = time.perf_counter_ns()
            frame = live.last(newest, instrument_id=INSTRUMENT)
            ended_ns = time.perf_counter_ns()
            repeated.append(max(ended_ns - started_ns - own_ns, 0))
            if number == 0 and frame.as_of.generation != generation:
                first.append(repeated[-1])
            generation = frame.as_of.generation
        time.sleep(_PAUSE_S)
    return repeated, first
