"""Times of readers of live tables: ``python tools/measure_live.py [seconds of each rate, 4]``.

A process plays the one that follows PostgreSQL: it publishes steps of a hundred partitions and says
how far it is, without a server. So what is measured is the memory's and the readers' share alone.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.live_table import LiveTable
from neural_gpu_bus.live.shared import LiveState, LiveView, TableState
from neural_gpu_bus.memory.series import SeriesGroup

COLUMNS: dict[str, pa.DataType] = {"id": pa.int32(), "ts": pa.int64(), "x": pa.float64()}
SCHEMA = pa.schema(COLUMNS)
PARTITIONS, ROWS = 100, 20_000
SERIES = "bars@1"
#: Positions between two steps.
STEP = 0x20


def told(times_ns: Any) -> str:
    """Median and 99th percentile."""
    low, high = np.percentile(times_ns, [50, 99]) / 1e3
    return f"p50 {low:9.2f} us   p99 {high:9.2f} us   max {max(times_ns) / 1e3:10.1f} us"


def looks(look: Callable[[], Any], repeats: int = 4000) -> str:
    """Of single calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        look()
        times.append(time.perf_counter_ns() - started)
    return told(times)


def follow(folder: Path, rate: int, rows: int, answer: Connection) -> None:
    """``rate`` rows a second in steps of so many, until told to end; then when each was begun."""
    group = SeriesGroup.open(folder / "series", "live")
    with LiveState(folder) as state, group.writer() as writer:
        ids = writer.partition_ids(SERIES, {"id": np.arange(PARTITIONS, dtype="i4")})
        state.set_table(TableState("bars", SERIES, "live"))
        written, lsn, first = 0, writer.stamp.lsn, time.time_ns()
        state.applied(lsn)
        begun_ns = {}
        answer.send(lsn)
        began = time.perf_counter()
        while not answer.poll(0):
            wait_s = began + (written + rows) / rate - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            numbers = np.arange(written, written + rows)
            begun_ns[writer.generation + 1] = time.perf_counter_ns()
            writer.append_to(
                SERIES, ids[numbers % PARTITIONS], {"ts": first + numbers, "x": numbers * 0.5}
            )
            written, lsn = written + rows, lsn + STEP
            writer.publish(lsn, time.time_ns())
            state.applied(lsn, time.time_ns())
            state.confirmed(host_clock_ns())
            state.beat(lsn)
        answer.send((written / (time.perf_counter() - began), begun_ns))


def waits(table: LiveTable, seconds: float) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Generation that was waited for, and when it was seen: by position, and by any change."""
    until = time.monotonic() + seconds
    positions, changes = [], []
    while time.monotonic() < until:
        stamp = table.last(1, id=0).as_of
        table.wait_for(int(stamp.lsn.split("/")[1], 16) + STEP, 10)
        positions.append((stamp.generation + 1, time.perf_counter_ns()))
        mark = table.mark
        table.wait_for_change(mark, 10)
        changes.append((mark.generation + 1, time.perf_counter_ns()))
    return positions, changes


def measure(folder: Path, seconds: float) -> None:
    """Looks without a writer, then with one at 1,000 and at 20,000 rows a second."""
    group = SeriesGroup.open(folder / "series", "live")
    table = LiveTable("bars", LiveView(folder), group.series)
    series = group.series(SERIES)
    print(f"{'nobody writes: series.last(10,000)':44s} {looks(lambda: series.last(10_000, id=7))}")
    print(f"{'  table.last(10,000)':44s} {looks(lambda: table.last(10_000, id=7))}")
    print(f"{'  table.as_of':44s} {looks(lambda: table.as_of)}")
    for rate, rows in ((1_000, 1), (20_000, 20)):
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=follow, args=(folder, rate, rows, theirs)
        )
        process.start()
        table.wait_for(ours.recv() + 2 * STEP, 60)
        print(f"{f'{rate:,} rows/s: table.last(10,000)':44s} ", end="")
        print(looks(lambda: table.last(10_000, id=7), 20_000))
        print(f"{'  with max_lag_s':44s} {looks(lambda: table.last(10_000, 60, id=7))}")
        positions, changes = waits(table, seconds)
        ours.send("end")
        reached, begun_ns = ours.recv()
        for name, seen in (("wait_for", positions), ("wait_for_change", changes)):
            times = [at - begun_ns[generation] for generation, at in seen if generation in begun_ns]
            print(f"{f'  begun to be written to {name}':44s} {told(times)}")
        print(f"  {reached:,.0f} rows/s were written")
        process.join()


def main() -> None:
    """In a folder of its own."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="ngb-measure-", dir=shared if shared.is_dir() else None))
    try:
        for part in ("series", "live"):
            (folder / part).mkdir()
        group = SeriesGroup.create(folder / "series", "live")
        group.series(SERIES, SCHEMA, ["id"], "ts")
        with LiveState(folder) as state, group.writer() as writer:
            numbers = np.arange(PARTITIONS * ROWS)
            ids = (numbers % PARTITIONS).astype("i4")
            zeros = np.zeros(len(numbers))
            writer.append(SERIES, {"id": ids, "ts": numbers // PARTITIONS, "x": zeros})
            writer.publish(0x1000)
            state.set_table(TableState("bars", SERIES, "live"))
            state.applied(0x1000)
        measure(folder, seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
