"""Question: how long until another process has a dataset that it never saw, of any size?"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part, under
from neural_gpu_bus.benchmarks.memory.bounds import OpenAndMap
from neural_gpu_bus.benchmarks.memory.datasets import check, columns, made_up, sums
from neural_gpu_bus.benchmarks.memory.ground import Attached, MemoryGround
from neural_gpu_bus.benchmarks.memory.place_ours import ByDescriptor, ByName, ByPickle
from neural_gpu_bus.benchmarks.memory.spread import spread
from neural_gpu_bus.benchmarks.memory.visits import Errand, Look

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.answers import Kind
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix
    from neural_gpu_bus.benchmarks.memory.place import Place

_WARM = "warm"
#: Issue 3.
_P50_S = 30e-6


def attach_first(ground: MemoryGround, closing: ExitStack) -> Answer:
    """By name, by descriptor and by pickle, beside the bare system calls and the rivals."""
    parts: list[Part] = []
    goals: list[Goal] = []
    skipped = dict(ground.missing)
    ours = ground.ours("attach")
    closing.callback(ours.close)
    ours.put(_WARM, made_up(1))
    ground.watcher.expect(len(ground.sizes.attach) * (4 + len(ground.rivals)))
    for size in ground.sizes.attach:
        if lack := ground.lack_of_room(3 * size.nbytes * (1 + size.datasets)):
            skipped[size.title] = lack
            continue
        part = Part(f"{size.title}, 10 columns", list(_lines(ground, ours, size, skipped)))
        parts.append(part)
        goals += [_goal(line, size) for line in part.lines[:2]]
    return Answer(
        "attach",
        "A dataset found for the first time in another process",
        parts,
        goals,
        [
            "a fresh process; its start, its imports and opening the memory are not in it, nor is "
            "a first look at another, tiny dataset",
            "to the dataset itself; rivals that copy have read all of it by then, and the others "
            "fault its pages in when they are touched",
        ],
        skipped,
    )


def _goal(line: Line, size: Attached) -> Goal:
    return under(f"p50 of {size.title}, {line.title}", line.spread.p50_s, _P50_S)


def _lines(
    ground: MemoryGround, ours: ByName, size: Attached, skipped: dict[str, str]
) -> Iterator[Line]:
    matrix = made_up(size.nbytes)
    errand = Errand(_WARM, [f"attach/{number}" for number in range(size.datasets)])
    visits = _Visits(ground, matrix, errand, size.processes)
    for key in errand.keys:
        ours.put(key, matrix)
    frames = {key: ours.find(key) for key in (_WARM, *errand.keys)}
    folder, bytes_max = ours.folder, ours.bytes_max
    known = {key: frame.descriptor for key, frame in frames.items()}
    yield visits.line(ours)
    yield visits.line(ByDescriptor(folder, bytes_max, known))
    pickled = {key: pickle.dumps(frame) for key, frame in frames.items()}
    yield visits.line(ByPickle(folder, bytes_max, pickled))
    paths = {key: str(folder / block.path) for key, block in known.items()}
    yield visits.line(OpenAndMap(paths), "limit")
    for key in errand.keys:
        ours.drop(key)
    del frames
    for name, place in ground.rivals.items():
        if place.nbytes_max < size.nbytes:
            skipped[f"{name}, {size.title}"] = "its values cannot be that large"
            ground.watcher.step()
            continue
        yield from _rival(place, visits)


def _rival(place: Place, visits: _Visits) -> Iterator[Line]:
    place.put(_WARM, made_up(1))
    for key in visits.errand.keys:
        place.put(key, visits.matrix)
    first = dict(place.columns(place.find(visits.errand.keys[0])))
    check("attach", place.title, columns(visits.matrix), first)
    del first
    try:
        yield visits.line(place)
    finally:
        for key in (_WARM, *visits.errand.keys):
            place.drop(key)


@dataclass(frozen=True, slots=True)
class _Visits:
    """The same errand for every place."""

    ground: MemoryGround
    matrix: Matrix
    errand: Errand
    processes: int

    def line(self, place: Place, kind: Kind | None = None) -> Line:
        looks: list[Look] = []
        for found in place.visits(self.errand, self.processes):
            looks += found
        expected = sums(columns(self.matrix))
        compare = partial(check, "attach", place.title, expected)
        if kind != "limit":
            for look in looks:
                compare(look.sums)
        self.ground.watcher.step()
        kind = kind or ("ours" if isinstance(place, ByName) else "rival")
        return Line(place.title, kind, spread([look.find_ns for look in looks]))
