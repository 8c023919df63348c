"""Question: does any of it slow down when the index has a hundred thousand datasets?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part
from neural_gpu_bus.benchmarks.memory.datasets import made_up
from neural_gpu_bus.benchmarks.memory.ground import MemoryGround
from neural_gpu_bus.benchmarks.memory.place_ours import ByName
from neural_gpu_bus.benchmarks.memory.spread import Spread, call_samples, spread
from neural_gpu_bus.benchmarks.memory.visits import Errand

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix

#: What a dataset of one row takes: its block and its entries.
_DATASET_BYTES = 48 << 10
#: Datasets between two signs of life.
_STEP = 1000
_ROUNDS = 8
_LIMIT_S = 1.0
#: Slower than that beside the same alone counts as slower: twice the difference between two runs.
_SLOWER_MAX = 1.1


def in_a_crowd(ground: MemoryGround, closing: ExitStack) -> Answer:
    """Find, attach and put, alone and then among many."""
    count = ground.sizes.crowd_datasets
    question = f"The same among {count:,} datasets in the index"
    needed = count * _DATASET_BYTES
    if lack := ground.lack_of_room(needed + (1 << 30)):
        return Answer("crowd", question, [], skipped={"crowd": lack})
    place = ByName(ground.folder / "crowd", needed + (1 << 30))
    closing.callback(place.close)
    ground.watcher.expect(count // _STEP + 2)
    keys = [f"attached/{number}" for number in range(20)]
    for key in ("warm", "found", *keys):
        place.put(key, made_up(1))
    alone = _measured(ground, place, keys)
    ground.watcher.step()
    for first in range(0, count, _STEP):
        numbers = range(first, min(first + _STEP, count))
        place.memory.put_all({f"crowd/{number}": _ONE_COLUMN for number in numbers})
        ground.watcher.step()
    crowded = _measured(ground, place, keys)
    ground.watcher.step()
    parts = [
        Part(
            what,
            [Line(f"among {count:,}", "ours", crowded[what]), Line("alone", "limit", alone[what])],
        )
        for what in alone
    ]
    there = place.memory.statistics().datasets
    goals = [
        Goal("all of them are there", f"{there:,}", there > count),
        *(_goal(what, alone[what], crowded[what]) for what in alone),
    ]
    return Answer("crowd", question, parts, goals)


_ROW: Matrix = made_up(1)
#: Columns lie 16 KiB apart: of ten of them a hundred thousand times there is no room.
_ONE_COLUMN = {"c0": _ROW[0]}


def _measured(ground: MemoryGround, place: ByName, keys: list[str]) -> Mapping[str, Spread]:
    found = call_samples(
        place.memory.get,
        "found",
        calls_max=ground.sizes.find_calls,
        limit_s=_LIMIT_S,
        clock_ns=ground.clock_ns,
    )
    put = call_samples(
        lambda name: place.put(name, _ROW),
        "put",
        calls_max=ground.sizes.find_calls // 20,
        limit_s=_LIMIT_S,
        clock_ns=ground.clock_ns,
    )
    return {
        "find": spread(found),
        "attach": spread(list(_attached(place, keys))),
        "put of one row": spread(put),
    }


def _attached(place: ByName, keys: list[str]) -> Iterator[int]:
    for looks in place.visits(Errand("warm", keys), _ROUNDS):
        for look in looks:
            yield look.find_ns


def _goal(what: str, alone: Spread, crowded: Spread) -> Goal:
    ratio = crowded.p50_s / alone.p50_s
    return Goal(f"{what}: no slower", f"{ratio:.2f} times as long", ratio < _SLOWER_MAX)
