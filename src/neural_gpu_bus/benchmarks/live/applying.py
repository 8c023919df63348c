"""Question: is the server the limit? What it sends to nobody, and what a live table takes of it."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from neural_gpu_bus.benchmarks.live.row_stream import MARK, RowStream
from neural_gpu_bus.benchmarks.live.tables import (
    REACHED_S_MAX,
    filled,
    followed,
    make_ticks,
    require_live_equal,
    written_lsn,
)
from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Kind, Line, Part
from neural_gpu_bus.benchmarks.memory.spread import spread

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.live.ground import LiveGround
    from neural_gpu_bus.live.live_table import LiveTable

#: Issue 5: shares of what the server sends where nobody decodes it.
_SHARES = {"inserts": 0.95, "updates": 0.80}
#: One that is sent before all of it is written would be decoded while it is not measured.
_TRANSACTIONS = 20
_NAME = "ngb_bench_apply"
_OURS, _DROPPED, _ROWS = "plane.live", "the server alone, dropped", "psycopg get_copy_data, rows"
_KINDS: dict[str, Kind] = {_OURS: "ours", _DROPPED: "limit", _ROWS: "rival"}
_SENDER = "the server's process that sends"


@dataclass(slots=True)
class _Taken:
    """Of one kind of change: nanoseconds by way."""

    elapsed: dict[str, list[int]] = field(default_factory=lambda: {way: [] for way in _KINDS})
    cpu: dict[str, list[int]] = field(default_factory=lambda: {way: [] for way in _KINDS})
    sender: list[int] = field(default_factory=list)


def apply_many(ground: LiveGround, closing: ExitStack) -> Answer:
    """All read the same log, begun before it was written, one after the other."""
    table = make_ticks(ground, "applied")
    live = followed(ground, table, closing, _NAME)
    rows = ground.sizes.rows
    taken = {kind: _Taken() for kind in _SHARES}
    ground.watcher.expect(ground.sizes.repeats * len(_SHARES))
    for turn in range(ground.sizes.repeats + 1):
        # The first turn warms up what is compiled; a small one is enough.
        count = rows if turn else max(rows // 20, _TRANSACTIONS)
        for kind, statement in (("inserts", filled), ("updates", _updated)):
            into = taken[kind] if turn else _Taken()
            _one_turn(ground, table, live, [statement, count], into)
            require_live_equal(ground, "apply", table, live)
            if turn:
                ground.watcher.step()
        ground.run(f"TRUNCATE {table}")
        require_live_equal(ground, "apply", table, live)
    parts, goals = [], []
    for kind, found in taken.items():
        parts += list(_parts(kind, rows, found))
        goals.append(_goal(kind, found))
    notes = [
        "the stream of each is begun before anything is written and read when all of it is: the "
        "process of live tables is stopped meanwhile",
        "shares are of the quickest runs; CPU of the server's process is what it took while "
        "nobody decoded",
    ]
    question = f"{rows:,} changes in {_TRANSACTIONS} transactions, of a table with 6 columns"
    return Answer("apply", question, parts, goals, notes)


def _updated(table: str, first: int, last: int) -> str:
    changed = "price = price + 1, size = size + 1"
    return f"UPDATE {table} SET {changed} WHERE id BETWEEN {first} AND {last}"  # noqa: S608


def _one_turn(
    ground: LiveGround, table: str, live: LiveTable, work: list[object], into: _Taken
) -> None:
    statement, count = work
    process = psutil.Process(ground.plane.live_view.progress().pid)
    with RowStream(ground.dsn, table) as dropped, RowStream(ground.dsn, table) as decoded:
        with _stopped(process):
            _write(ground, table, statement, count)  # type: ignore[arg-type]
            lsn = written_lsn(ground)
            ground.run(f"SELECT pg_logical_emit_message(true, '{MARK}', '')")
            sender = _process(dropped.server_pid)
            before = _cpu_ns(sender)
            _timed(ground, _DROPPED, psutil.Process(), dropped.drop_all, into)
            into.sender.append(_cpu_ns(sender) - before)

        def reached() -> None:
            live.wait_for(lsn, timeout_s=REACHED_S_MAX)

        _timed(ground, _OURS, process, reached, into)
        _timed(ground, _ROWS, psutil.Process(), decoded.drain_rows, into)


def _write(
    ground: LiveGround, table: str, statement: Callable[[str, int, int], str], count: int
) -> None:
    cuts = [count * part // _TRANSACTIONS for part in range(_TRANSACTIONS + 1)]
    for start, stop in itertools.pairwise(cuts):
        ground.run(statement(table, start + 1, stop))


@contextmanager
def _stopped(process: psutil.Process) -> Iterator[None]:
    """Nothing is applied meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def _timed(
    ground: LiveGround, way: str, who: psutil.Process, work: Callable[[], object], into: _Taken
) -> None:
    before, started_ns = _cpu_ns(who), ground.clock_ns()
    work()
    ended_ns = ground.clock_ns()
    into.elapsed[way].append(ended_ns - started_ns)
    into.cpu[way].append(_cpu_ns(who) - before)


def _process(pid: int) -> psutil.Process | None:
    """None where the server is on another host."""
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _cpu_ns(process: psutil.Process | None) -> int:
    if process is None:
        return 0
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0
    return int((times.user + times.system) * 1e9)


def _parts(kind: str, rows: int, found: _Taken) -> Iterator[Part]:
    lines = [Line(way, _KINDS[way], spread(taken)) for way, taken in found.elapsed.items()]
    yield Part(f"{kind}, until the last is there", lines)
    million = {
        way: [each * 1_000_000 // rows for each in taken] for way, taken in found.cpu.items()
    }
    used = [Line(way, _KINDS[way], spread(taken)) for way, taken in million.items()]
    if any(found.sender):
        sender = [each * 1_000_000 // rows for each in found.sender]
        used.append(Line(_SENDER, "limit", spread(sender)))
    yield Part(f"CPU seconds for 1,000,000 {kind}", used)


def _goal(kind: str, found: _Taken) -> Goal:
    wanted = _SHARES[kind]
    share = min(found.elapsed[_DROPPED]) / max(min(found.elapsed[_OURS]), 1)
    text = f"{kind}: at least {wanted:.0%} of what the server sends alone"
    return Goal(text, f"{share:.1%}", share >= wanted)
