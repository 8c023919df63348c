"""In a process of its own: when each transaction of a paced writer was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import psycopg

from neural_gpu_bus.benchmarks.live.processes import say_ready
from neural_gpu_bus.benchmarks.live.psycopg2_stream import Psycopg2Stream
from neural_gpu_bus.benchmarks.live.row_stream import RowStream
from neural_gpu_bus.benchmarks.live.tables import COLUMNS, INSTRUMENT, STEP

#: Between two looks: a reader that never rests takes a whole core from the others.
PAUSE_S = 50e-6
#: Longest that nothing new is waited for.
SILENT_S_MAX = 30.0
CHANNEL = "ngb_bench_live"


class Seen(NamedTuple):
    """What is looked at."""

    home: Path
    dsn: str
    table: str
    name: str


#: Gives the number of the newest transaction that is visible; -1 for none.
Newest = Callable[[], int]


def see_commits(pipe: Connection, way: str, seen: Seen, commits: int) -> None:
    """Answers with a moment a transaction by ``time.monotonic_ns``."""
    with ExitStack() as closing:
        newest = WAYS[way](seen, closing)
        newest()
        say_ready(pipe)
        pipe.send(_moments(newest, commits))


def _moments(newest: Newest, commits: int) -> list[int]:
    moments: list[int] = []
    silent_ns = time.monotonic_ns() + int(SILENT_S_MAX * 1e9)
    while len(moments) < commits:
        found, now_ns = newest(), time.monotonic_ns()
        if found >= len(moments):
            moments += [now_ns] * (found + 1 - len(moments))
            silent_ns = now_ns + int(SILENT_S_MAX * 1e9)
        elif now_ns > silent_ns:
            break
    return moments


def _by_live(seen: Seen, closing: ExitStack) -> Newest:
    import neural_gpu_bus as ngb
    from neural_gpu_bus.live_tables import live_table

    plane = closing.enter_context(ngb.open(home=seen.home))
    live = live_table(plane, seen.name)

    def newest() -> int:
        found = int(live.last(1, instrument_id=INSTRUMENT)["ts"][0])
        time.sleep(PAUSE_S)
        return found // STEP if found >= 0 else -1

    return newest


def _by_select(seen: Seen, closing: ExitStack) -> Newest:
    ask = _asking(seen, closing)

    def newest() -> int:
        found = ask()
        time.sleep(PAUSE_S)
        return found

    return newest


def _by_notify(seen: Seen, closing: ExitStack) -> Newest:
    ask = _asking(seen, closing)
    listening = closing.enter_context(psycopg.connect(seen.dsn, autocommit=True))
    listening.execute(f"LISTEN {CHANNEL}")

    def newest() -> int:
        for _ in listening.notifies(timeout=0.1, stop_after=1):
            pass
        return ask()

    return newest


def _asking(seen: Seen, closing: ExitStack) -> Newest:
    """Rows behind the last that was seen, fetched as tuples."""
    connection = closing.enter_context(psycopg.connect(seen.dsn, autocommit=True))
    connection.prepare_threshold = 1
    statement = f"SELECT {', '.join(COLUMNS)} FROM {seen.table} WHERE id > %s"  # noqa: S608
    last_id, last_step = 0, -1

    def newest() -> int:
        nonlocal last_id, last_step
        cursor = connection.execute(statement.encode(), (last_id,), binary=True)
        for row in cursor:
            last_id = max(last_id, row[0])
            last_step = max(last_step, row[2] // STEP if row[2] >= 0 else -1)
        return last_step

    return newest


def _by_rows(seen: Seen, closing: ExitStack) -> Newest:
    return _newest_of(closing.enter_context(RowStream(seen.dsn, seen.table)))


def _by_psycopg2(seen: Seen, closing: ExitStack) -> Newest:
    return _newest_of(closing.enter_context(Psycopg2Stream(seen.dsn, seen.table)))


def _newest_of(stream: RowStream | Psycopg2Stream) -> Newest:
    last = -1

    def newest() -> int:
        nonlocal last
        for row in stream.receive(0.1):
            last = max(last, row[2] // STEP)
        return last

    return newest


OURS, PSYCOPG2, ROWS, SELECT, NOTIFY = (
    "plane.live, polled",
    "psycopg2 replication cursor, rows",
    "psycopg get_copy_data, rows",
    "SELECT WHERE id >, polled",
    "NOTIFY, then SELECT",
)
WAYS: Mapping[str, Callable[[Seen, ExitStack], Newest]] = MappingProxyType(
    {
        OURS: _by_live,
        **({PSYCOPG2: _by_psycopg2} if find_spec("psycopg2") else {}),
        ROWS: _by_rows,
        SELECT: _by_select,
        NOTIFY: _by_notify,
    }
)
