"""Question: how long until a dataset that is mapped already is found again, in one process?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Kind, Line, Part, under
from neural_gpu_bus.benchmarks.memory.datasets import NAMES, check, columns, made_up
from neural_gpu_bus.benchmarks.memory.ground import MemoryGround
from neural_gpu_bus.benchmarks.memory.place import Place
from neural_gpu_bus.benchmarks.memory.place_redis import RedisValues
from neural_gpu_bus.benchmarks.memory.spread import call_samples, clock_cost_ns, spread
from neural_gpu_bus.benchmarks.removal import remove_datasets

NAME = "ngb_bench/found"
_LIMIT_S = 0.5
_EIGHT = NAMES[:8]
#: Issue 3.
_P50_S, _P99_S, _COLUMNS_S = 0.5e-6, 1.5e-6, 2e-6


def find_again(ground: MemoryGround, closing: ExitStack) -> Answer:
    """``plane.get(name)`` beside a dict look-up and the rivals; then 8 columns as numpy."""
    matrix = made_up(ground.sizes.find_bytes)
    given = columns(matrix)
    plane = ground.plane
    closing.callback(remove_datasets, plane, [NAME])
    frame = plane.put(NAME, given)
    check("find", "direct", given, plane.get(NAME))
    held = {NAME: frame}
    ground.watcher.expect(5 + 2 * len(ground.rivals))
    found = _Lines(ground)
    found.add("plane.get(name)", "ours", plane.get, NAME)
    found.add("the memory's get(name)", "ours", plane.memory.get, NAME)
    found.add("dict look-up", "limit", held.__getitem__, NAME)
    shown = _Lines(ground)
    shown.add("8 columns of a frame", "ours", _eight, frame)
    shown.add("plane.get(name), 8 columns", "ours", lambda name: _eight(plane.get(name)), NAME)
    for place in ground.rivals.values():
        _rival(place, matrix, found, shown)
    goals = [
        under("p50 of plane.get(name)", found.lines[0].spread.p50_s, _P50_S),
        under("p99 of plane.get(name)", found.lines[0].spread.p99_s, _P99_S),
        under("p50 of 8 columns as numpy", shown.lines[0].spread.p50_s, _COLUMNS_S),
        _newest_goal(ground, given),
    ]
    size = f"{matrix.nbytes / 1e3:.0f} KB"
    return Answer(
        "find",
        f"A resident dataset of {size} found again in the same process",
        [Part("name to dataset", found.lines), Part("and as numpy", shown.lines)],
        goals,
        [
            f"each call is timed by itself; the clock's {clock_cost_ns(ground.clock_ns)} ns are "
            "subtracted",
            *(f"{place.title}: {place.how}" for place in ground.rivals.values()),
        ],
        dict(ground.missing),
    )


class _Lines:
    """Lines of one part, as they are measured."""

    def __init__(self, ground: MemoryGround) -> None:
        self.lines: list[Line] = []
        self._ground = ground

    def add(self, title: str, kind: Kind, function: Callable[[Any], Any], argument: Any) -> None:
        samples = call_samples(
            function,
            argument,
            calls_max=self._ground.sizes.find_calls,
            limit_s=_LIMIT_S,
            clock_ns=self._ground.clock_ns,
        )
        self.lines.append(Line(title, kind, spread(samples)))
        self._ground.watcher.step()


def _eight(frame: Any) -> list[Any]:
    return [frame[name] for name in _EIGHT]


def _rival(place: Place, matrix: Any, found: _Lines, shown: _Lines) -> None:
    place.put("found", matrix)
    check("find", place.title, columns(matrix), dict(place.columns(place.find("found"))))
    found.add(place.title, "rival", place.find, "found")
    shown.add(place.title, "rival", lambda key: place.columns(place.find(key)), "found")
    place.drop("found")
    if isinstance(place, RedisValues):
        place.put("small", made_up(1))
        found.add("Redis GET of 80 bytes", "rival", place.find, "small")
        place.drop("small")


def _newest_goal(ground: MemoryGround, given: dict[str, Any]) -> Goal:
    """What was found so fast is checked: a newer version of another process shows at once."""
    from neural_gpu_bus.benchmarks.memory.visits import fresh

    plane = ground.plane
    before = plane.get(NAME).descriptor.version
    budget = plane.settings.memory_limit_bytes
    newer = {name: column[:1] for name, column in given.items()}
    arguments = plane.addresses.memory_folder, budget, NAME, newer
    process = fresh().Process(target=_put_elsewhere, args=arguments)
    process.start()
    process.join()
    after = plane.get(NAME)
    met = after.descriptor.version == before + 1 and after.rows == 1
    found = f"version {after.descriptor.version} after {before}"
    return Goal("a newer version, put by another process, is what is found next", found, met)


def _put_elsewhere(folder: Any, bytes_max: int, name: str, given: dict[str, Any]) -> None:
    from neural_gpu_bus.memory import UnifiedMemory

    memory = UnifiedMemory(folder, bytes_max)
    memory.put(name, given)
    memory.close()
