"""Question: how long until rows for a hundred partitions are seen by another process?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.memory.answers import Answer, Line, Part, under
from neural_gpu_bus.benchmarks.memory.datasets import check
from neural_gpu_bus.benchmarks.memory.ground import MemoryGround
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.benchmarks.memory.visits import VISIT_S_MAX, fresh
from neural_gpu_bus.memory.series import SeriesGroup

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from neural_gpu_bus.benchmarks.memory.spread import ClockNs

_PARTITIONS = 100
_GROUP, _SERIES = "bench", "bars"
_PRICES = ("open", "high", "low", "close", "volume")
_SCHEMA = pa.schema(
    {"instrument": pa.int32(), "ts": pa.timestamp("us")} | dict.fromkeys(_PRICES, pa.float64())
)
#: Generations before the first that counts: kernels are compiled and pages are there by then.
_WARM = 20
#: Between two publications: a reader that is late shows as late, not as one that missed some.
_PAUSE_S = 500e-6
#: Issue 3.
_PUBLISH_S, _VISIBLE_S = 300e-6, 100e-6


class Look(NamedTuple):
    """A row in another process's hands."""

    #: That its close tells: the polled one, or one that was published meanwhile.
    generation: int
    seen_ns: int
    volume: float


@dataclass(slots=True)
class _Times:
    """Nanoseconds of the host's clock by generation, from ``_WARM`` on."""

    append: list[int] = field(default_factory=list)
    append_to: list[int] = field(default_factory=list)
    copy: list[int] = field(default_factory=list)
    #: All generations: taken by the writer just before the store that makes it visible.
    published: list[int] = field(default_factory=list)


def publish_many(ground: MemoryGround, closing: ExitStack) -> Answer:
    """One row for each of a hundred partitions, appended and published; a reader polls."""
    folder = ground.folder / "series"
    folder.mkdir()
    group = SeriesGroup.create(folder, _GROUP)
    group.series(_SERIES, _SCHEMA, key=["instrument"], order_by="ts")
    closing.callback(group.drop)
    last = _WARM + ground.sizes.publish_repeats
    ground.watcher.expect(last)
    ours, theirs = fresh().Pipe()
    reader = fresh().Process(target=_watch, args=(folder, last, theirs), daemon=True)
    reader.start()
    closing.callback(reader.kill)
    _told(ours)
    times = _written(ground, group, last, ours)
    looks: list[Look] = _told(ours)
    reader.join(VISIT_S_MAX)
    closes = [float(look.generation) for look in looks]
    volumes = {"volume": [look.volume for look in looks]}
    check("publish", "the reader's newest row", {"volume": closes}, volumes)
    visible = visible_ns(looks, times.published)[_WARM:]
    lines = [
        Line("append and publish", "ours", spread(times.append)),
        Line("append_to and publish", "ours", spread(times.append_to)),
        Line("the same columns copied", "limit", spread(times.copy)),
        Line("published to seen elsewhere", "ours", spread(visible)),
    ]
    goals = [
        under("p50 of append and publish", lines[0].spread.p50_s, _PUBLISH_S),
        under("p50 of append_to and publish", lines[1].spread.p50_s, _PUBLISH_S),
        under("p50 of published to seen elsewhere", lines[3].spread.p50_s, _VISIBLE_S),
    ]
    notes = [
        "append_to: the caller knows which partition each row belongs to; the two take turns",
        "published to seen: from just before the store that publishes until a reader that polls "
        "in another process has read the close of a partition's newest row",
    ]
    return Answer(
        "publish",
        f"Rows for {_PARTITIONS} partitions of a series published in one step",
        [Part("one row each, 7 columns", lines)],
        goals,
        notes,
    )


def visible_ns(looks: Sequence[Look], published_ns: Sequence[int]) -> list[int]:
    """One that was not seen, because the next came first, was seen with the next."""
    seen = iter(looks)
    look = next(seen)
    found = []
    for generation, told_ns in enumerate(published_ns, start=1):
        while look.generation < generation:
            look = next(seen)
        found.append(max(look.seen_ns - told_ns, 0))
    return found


def _written(ground: MemoryGround, group: SeriesGroup, last: int, pipe: Connection) -> _Times:
    times = _Times()

    def told_ns() -> int:
        now_ns = ground.clock_ns()
        times.published.append(now_ns)
        return now_ns

    spare = {name: np.empty(_PARTITIONS) for name in _SCHEMA.names}
    with group.writer(told_ns) as writer:
        for generation, batch in _batches(last):
            if generation == 1:
                partitions = writer.partition_ids(_SERIES, batch.select(["instrument"]))
            known = generation % 2 == 0
            columns = batch.drop_columns(["instrument"])
            started_ns = ground.clock_ns()
            if known:
                writer.append_to(_SERIES, partitions, columns)
            else:
                writer.append(_SERIES, batch)
            writer.publish()
            ended_ns = ground.clock_ns()
            for name, column in zip(_SCHEMA.names, batch.columns, strict=True):
                np.copyto(spare[name], column.chunk(0).to_numpy(), casting="unsafe")
            copied_ns = ground.clock_ns()
            if generation > _WARM:
                (times.append_to if known else times.append).append(ended_ns - started_ns)
                times.copy.append(copied_ns - ended_ns)
            if generation == 1:
                _told(pipe)  # the reader has loaded all that its first look needs
            ground.watcher.step()
            time.sleep(_PAUSE_S)
    return times


def _batches(last: int) -> Iterator[tuple[int, pa.Table]]:
    """Close and volume of every row are the number of its generation."""
    instruments = pa.array(np.arange(_PARTITIONS, dtype="i4"))
    for generation in range(1, last + 1):
        ts = pa.array(np.full(_PARTITIONS, generation * 60_000_000)).cast(pa.timestamp("us"))
        prices = [pa.array(np.full(_PARTITIONS, float(generation)))] * len(_PRICES)
        yield generation, pa.table([instruments, ts, *prices], schema=_SCHEMA)


def _told(pipe: Connection) -> Any:
    if not pipe.poll(VISIT_S_MAX):
        raise TimeoutError(f"the reader said nothing for {VISIT_S_MAX} s")
    return pipe.recv()


def _watch(folder: Path, last: int, pipe: Connection) -> None:
    """In the other process: poll, and look at a row as soon as there is a new one."""
    series = SeriesGroup.open(folder, _GROUP).series(_SERIES)
    pipe.send("ready")
    pipe.send(_polled(series, last, time.perf_counter_ns, pipe))


def _polled(series: Any, last: int, clock_ns: ClockNs, pipe: Connection) -> list[Look]:
    looks: list[Look] = []
    generation, deadline_ns = 0, clock_ns() + int(VISIT_S_MAX * 1e9)
    while generation < last and clock_ns() < deadline_ns:
        found = series.generation
        if found != generation:
            frame = series.last(1, instrument=found % _PARTITIONS)
            close = int(frame["close"][-1])
            looks.append(Look(max(close, found), clock_ns(), float(frame["volume"][-1])))
            if not generation:
                pipe.send("seen")
            generation = close
    return looks
