"""Times of series: ``python tools/measure_series.py [rows in all, default 10,000,000]``.

What a step of a hundred partitions costs and when another process sees it, what appending costs as
a partition grows, what an update costs by the size of chunks, and a table of 10,000 partitions.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.memory.series import Series, SeriesGroup, series_bytes
from neural_gpu_bus.memory.series.writer import SeriesWriter

VALUES = ("open", "high", "low", "close", "volume")
SCHEMA = pa.schema(
    [pa.field("instrument", pa.int32()), pa.field("ts", pa.timestamp("ns"))]
    + [pa.field(name, pa.float64()) for name in VALUES]
)
MIB = 1 << 20
Columns = dict[str, Any]


def bars(partitions: int, first: int, rows: int = 1) -> Columns:
    """``rows`` bars for each of that many instruments, from moment ``first`` on."""
    moments = np.tile(np.arange(first, first + rows), partitions)
    columns: Columns = {
        "instrument": np.repeat(np.arange(partitions, dtype="i4"), rows),
        "ts": moments.astype("M8[ns]"),
    }
    return columns | dict.fromkeys(VALUES, moments * 0.25)


def told(times_ns: list[int]) -> str:
    """Median and 99th percentile."""
    low, high = np.percentile(times_ns, [50, 99]) / 1e3
    return f"p50 {low:9.1f} us   p99 {high:9.1f} us   max {max(times_ns) / 1e3:10.1f} us"


def timed(step: Any, repeats: int, inner: int = 1) -> list[int]:
    """Nanoseconds of one call, that many times."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        for _ in range(inner):
            step()
        times.append((time.perf_counter_ns() - started) // inner)
    return times


@contextmanager
def opened(folder: Path, name: str, **sizes: int) -> Iterator[tuple[Series, SeriesWriter]]:
    """A series of bars in a group of its own, and its writer."""
    group = SeriesGroup.create(folder, name)
    series = group.series("bars", SCHEMA, ["instrument"], "ts", **sizes)
    with group.writer() as writer:
        yield series, writer
    group.drop()


def watch(folder: Path, changes: int, answer: Connection) -> None:
    """In another process: when it first sees each generation, and what it shows."""
    series = SeriesGroup.open(folder, "steps").series("bars")
    answer.send(True)
    seen = [(series.generation, 0)]
    while seen[-1][0] < changes:
        generation = series.generation
        if generation != seen[-1][0]:
            frame = series.last(1, instrument=0)
            seen.append((frame.as_of.generation, time.perf_counter_ns()))
    answer.send(seen)


def measure_steps(folder: Path, steps: int = 2000) -> None:
    """A hundred partitions, one row each, in one step."""
    with opened(folder, "steps") as (series, writer):
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        watcher = multiprocessing.get_context("spawn").Process(
            target=watch, args=(folder, steps, theirs)
        )
        watcher.start()
        ours.recv()
        keyed: list[int] = []
        known: list[int] = []
        published: dict[int, int] = {}
        numbers = writer.partition_ids("bars", {"instrument": np.arange(100, dtype="i4")})
        for step in range(steps):
            columns = bars(100, step)
            without = {name: columns[name] for name in columns if name != "instrument"}
            started = time.perf_counter_ns()
            if step % 2:
                writer.append("bars", columns)
            else:
                writer.append_to("bars", numbers, without)
            generation = writer.publish(step + 1, step + 1)
            published[generation] = time.perf_counter_ns()
            (keyed if step % 2 else known).append(published[generation] - started)
            time.sleep(0.0003)
        seen = ours.recv()
        watcher.join()
        print(f"{'step of 100 partitions, append':44s} {told(keyed[50:])}")
        print(f"{'step of 100 partitions, append_to':44s} {told(known[50:])}")
        lags = [at - published[generation] for generation, at in seen[50:]]
        print(f"{'seen by a polling process':44s} {told(lags)}")
        last = timed(lambda: series.last(1000, instrument=7), 500, 20)
        print(f"{'last(1000) of a known partition':44s} {told(last)}")
        column = timed(lambda: series.last(1000, instrument=7)["close"], 500, 20)
        print(f"{'  and one column':44s} {told(column)}")
        print(f"{'series_bytes':44s} {told(timed(lambda: series_bytes(folder), 500, 20))}")
        print(f"{'snapshot of 100 partitions':44s} {told(timed(series.snapshot, 500))}")


def measure_growth(folder: Path, rows: int) -> None:
    """One partition, 1,000 rows a step: the same cost however long it is."""
    with opened(folder, "growth") as (_, writer):
        batch, times = 1000, []
        for first in range(0, rows, batch):
            columns = bars(1, first, batch)
            started = time.perf_counter_ns()
            writer.append("bars", columns)
            writer.publish()
            times.append(time.perf_counter_ns() - started)
            if first + batch in {rows // 8, rows // 4, rows // 2, rows}:
                part = times[len(times) // 2 :]
                mean = sum(part) / len(part) / batch
                copied = writer.statistics.grown_rows / (first + batch)
                name = f"append of a row, up to {first + batch:,}"
                print(f"{name:44s} mean {mean:7.1f} ns, {copied:.2f} rows copied; {told(part)}")


def measure_updates(folder: Path) -> None:
    """One row in the middle of a chunk, by how many rows a chunk has."""
    for chunk_rows in (1 << 14, 1 << 17, 1 << 20):
        sizes = {"chunk_rows_max": chunk_rows, "overlap_rows": chunk_rows // 16}
        with opened(folder, f"updates{chunk_rows}", **sizes) as (_, writer):
            writer.append("bars", bars(1, 0, 3 << 19))
            writer.publish()
            places = iter(range(1000, 3 << 19, 40_000))

            def update(writer: SeriesWriter = writer, places: Iterator[int] = places) -> None:
                writer.update("bars", bars(1, next(places)))
                writer.publish()

            print(f"{f'update of a row, chunks of {chunk_rows:,}':44s} {told(timed(update, 30))}")


def measure_size(folder: Path, rows: int, partitions: int = 10_000) -> None:
    """Many partitions: loading, files, maps, looking."""
    each = rows // partitions
    with opened(folder, "size") as (_, writer):
        started = time.perf_counter()
        for first in range(0, each, 100):
            writer.append("bars", bars(partitions, first, 100))
            writer.publish()
        took_s = time.perf_counter() - started
        print(
            f"{rows:,} rows in {partitions:,} partitions: {rows / took_s / 1e6:.1f} M rows/s, "
            f"{series_bytes(folder) / MIB:,.0f} MiB, {writer.statistics.arenas} arenas"
        )
        before = _maps(), _files()
        series = SeriesGroup.open(folder, "size").series("bars")
        looks = iter(range(partitions))
        print(
            f"{'first last(10,000) of each partition':44s} "
            f"{told(timed(lambda: series.last(10_000, instrument=next(looks)), partitions))}"
        )
        again = timed(lambda: series.last(10_000, instrument=77), 500, 20)
        print(f"{'last(10,000) again':44s} {told(again)}")
        print(f"{'snapshot of all':44s} {told(timed(series.snapshot, 20))}")
        after = _maps(), _files()
        print(f"maps of the reader: {after[0] - before[0]}, files: {after[1] - before[1]}")


def _maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    in_all = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 10_000_000
    shared = Path("/dev/shm")
    memory = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    try:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        measure_steps(memory)
        measure_growth(memory, 4_000_000)
        measure_updates(memory)
        measure_size(memory, in_all)
    finally:
        shutil.rmtree(memory)
