"""Question: what do many rows, partitions and tables take, in memory and until they are back?"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil
import pyarrow.compute as pc

from neural_gpu_bus.benchmarks.equality import require_equal
from neural_gpu_bus.benchmarks.live.tables import followed, make_ticks, written_lsn
from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part, Share
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.errors import StaleError

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround
    from neural_gpu_bus.live.live_table import LiveTable

_NAME = "ngb_bench_size"
#: Whose names we gave; where others are live too, nobody kills the process that follows them.
_OURS = "ngb_bench_"
_SMALL_ROWS = 100
_SUMMED = ("id", "ts", "size", "side", "price")
#: Of what is held, beside what the columns themselves take.
_TIMES_MAX = 1.5
_BACK_S_MAX, _LOOK_S = 110.0, 0.005


def hold_many(ground: LiveGround, closing: ExitStack) -> Answer:
    """One large table, then many small ones, then the process that follows them is killed."""
    sizes = ground.sizes
    ground.watcher.expect(sizes.tables + 3)
    table = _large(ground)
    ground.watcher.step()
    before = _memory_bytes(ground)
    started_ns = ground.clock_ns()
    large = followed(ground, table, closing, _NAME)
    lines = [_line(f"first copy of {sizes.many_rows:,} rows", ground.clock_ns() - started_ns)]
    held = _memory_bytes(ground)
    column_bytes = _require_sums(ground, table, large)
    ground.watcher.step()
    lives, each_ns = _small(ground, closing)
    lines.append(Line(f"plane.live of {_SMALL_ROWS} rows, {sizes.tables} times", "ours",
                      spread(each_ns)))  # fmt: skip
    notes = [f"the columns take {column_bytes / sizes.many_rows:.0f} bytes a row"]
    back = _back_ns(ground, [large, *lives])
    if back is None:
        notes.append("not killed: other tables of this home are live")
    else:
        lines.append(_line(f"killed until {len(lives) + 1} tables are live again", back))
        _require_sums(ground, table, large)
    ground.watcher.step()
    mapped, private = ((now - then) / column_bytes for now, then in zip(held, before, strict=True))
    share = Share("shared memory, and the process that follows", "ours", mapped, private)
    goal = Goal(
        f"shared memory within {_TIMES_MAX} times the bytes of the columns",
        f"{mapped:.2f} times",
        mapped <= _TIMES_MAX,
    )
    question = f"{sizes.partitions:,} partitions, {sizes.tables:,} tables more, and a restart"
    parts = [Part("", lines), Part("in multiples of the bytes of the columns", shares=[share])]
    return Answer("sizes", question, parts, [goal], notes)


def _large(ground: LiveGround) -> str:
    """Filled before its rows are in the log: the stream of the tables that are live already would
    have to be decoded past ten million of them, for nobody.
    """
    sizes, table = ground.sizes, make_ticks(ground, "large")
    ground.run(f"ALTER TABLE {table} SET UNLOGGED")
    ground.run(
        f"INSERT INTO {table} SELECT g, 'I' || g % {sizes.partitions}, g, "  # noqa: S608
        f"g * 0.5, g % 1000, g % 2 FROM generate_series(1, {sizes.many_rows}) g"
    )
    ground.run(f"ALTER TABLE {table} SET LOGGED")
    ground.run(f"VACUUM ANALYZE {table}")
    return table


def _line(title: str, took_ns: int) -> Line:
    return Line(title, "ours", spread([took_ns]))


def _small(ground: LiveGround, closing: ExitStack) -> tuple[list[LiveTable], list[int]]:
    lives: list[LiveTable] = []
    took_ns: list[int] = []
    for number in range(ground.sizes.tables):
        table = make_ticks(ground, f"small_{number}")
        ground.run(
            f"INSERT INTO {table} SELECT g, 'I1', g, 0.5, g, 1 "  # noqa: S608
            f"FROM generate_series(1, {_SMALL_ROWS}) g"
        )
        started_ns = ground.clock_ns()
        lives.append(followed(ground, table, closing, f"ngb_bench_small_{number}"))
        took_ns.append(ground.clock_ns() - started_ns)
        ground.watcher.step()
    return lives, took_ns


def _back_ns(ground: LiveGround, lives: list[LiveTable]) -> int | None:
    """From its death until another process follows all of them; None: it was let live."""
    plane = ground.plane
    if not all(name.startswith(_OURS) for name in plane.live_states()):
        return None
    pid = plane.live_view.progress().pid
    started_ns = ground.clock_ns()
    os.kill(pid, signal.SIGKILL)
    ground.run(f"DELETE FROM {ground.table('small_0')} WHERE id = 1")  # noqa: S608
    lsn, end_s = written_lsn(ground), time.monotonic() + _BACK_S_MAX
    while not _are_back(ground, pid):
        if time.monotonic() > end_s:
            raise StaleError(
                f"tables are not live {_BACK_S_MAX:g} s after their process was killed",
                hint="see the log of the home",
                table=_NAME,
                why="the process that follows did not come back",
            )
        time.sleep(_LOOK_S)
    for live in lives:
        live.wait_for(lsn, timeout_s=_BACK_S_MAX)
    return ground.clock_ns() - started_ns


def _are_back(ground: LiveGround, killed: int) -> bool:
    view = ground.plane.live_view
    view.look_again()
    states = view.tables().values()
    return view.progress().pid not in {0, killed} and all(one.state == "live" for one in states)


def _memory_bytes(ground: LiveGround) -> tuple[int, int]:
    """Of the folder of shared memory, and of the process that follows, for itself."""
    files = [one.stat() for one in ground.plane.memory.folder.rglob("*") if one.is_file()]
    process = psutil.Process(ground.plane.live_view.progress().pid)
    return sum(one.st_blocks * 512 for one in files), process.memory_full_info().uss


def _require_sums(ground: LiveGround, table: str, live: LiveTable) -> int:
    """ResultsDifferError where count and sums differ from SELECT's; bytes of the columns."""
    sums = ", ".join(f"sum({name})::float8" for name in _SUMMED)
    statement = f"SELECT count(*), {sums} FROM {table}"  # noqa: S608
    wanted = ground.connection.execute(statement.encode()).fetchone() or ()
    rows = live.arrow()
    found = (rows.num_rows, *(float(pc.sum(rows[name]).as_py()) for name in _SUMMED))
    names = ("rows", *_SUMMED)
    require_equal(
        {name: [value] for name, value in zip(names, wanted, strict=True)},
        {name: [value] for name, value in zip(names, found, strict=True)},
        workload="sizes",
        way="plane.live",
        place="its sums",
        reference="SELECT",
        tolerances={"price": 1e-9},
    )
    return int(rows.nbytes)
