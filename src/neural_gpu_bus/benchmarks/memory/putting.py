"""Question: how long until columns lie where others see them, beside one plain copy?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part
from neural_gpu_bus.benchmarks.memory.bounds import faulted
from neural_gpu_bus.benchmarks.memory.datasets import NAMES, check, columns, made_up
from neural_gpu_bus.benchmarks.memory.ground import MemoryGround
from neural_gpu_bus.benchmarks.memory.spread import spread

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.answers import Kind
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix
    from neural_gpu_bus.benchmarks.memory.place import Place
    from neural_gpu_bus.benchmarks.memory.place_ours import ByName

#: Issue 3: a put is at least that part of the speed of one memcpy.
_MEMCPY_PART = 0.8
#: Puts before the first one that counts: by then the pages of an older version are used again.
_WARM_PUTS = 4
#: Places of the lines that the goals compare.
_NEW, _AGAIN, _RESERVED, _COPY = range(4)


@dataclass(frozen=True, slots=True)
class Step:
    """Something timed in turns with others."""

    title: str
    kind: Kind
    run: Callable[[int], object]
    #: Untimed, after each run.
    after: Callable[[int], object] = lambda _turn: None


def put_large(ground: MemoryGround, closing: ExitStack) -> Answer:
    """``put`` into new pages and into pages used before, ``reserve`` and ``seal``, the rivals."""
    matrix = made_up(ground.sizes.put_bytes)
    size = f"{matrix.nbytes / 1e6:.0f} MB"
    question = f"{size} of columns put where others see them"
    needed = (ground.sizes.put_repeats + 12) * matrix.nbytes
    if lack := ground.lack_of_room(needed):
        return Answer("put", question, [], skipped={"put": lack} | dict(ground.missing))
    # A memory each: pages are used again within one process, up to a part of its budget.
    ours = [ground.ours(part) for part in ("put-new", "put-again", "put-in-place")]
    for memory in ours:
        closing.callback(memory.close)
    steps = [
        *_our_steps(ours, matrix),
        Step("one copy, pages there", "limit", _copier(ground, matrix)),
        *[_rival_step(place, matrix) for place in ground.rivals.values()],
    ]
    _check_equal([*ours, *ground.rivals.values()], matrix)
    lines = list(in_turns(ground, steps))
    for place in ground.rivals.values():
        place.drop("put")
    return Answer("put", question, [Part("", lines)], _goals(lines), _notes(), dict(ground.missing))


def _our_steps(ours: Sequence[ByName], matrix: Matrix) -> list[Step]:
    new, again, in_place = ours
    schema = pa.schema([(name, pa.float64()) for name in NAMES])

    def reserve_and_seal(_turn: int) -> None:
        in_place.memory.reserve(schema, matrix.shape[1], cleared=False).seal("put")

    for turn in range(_WARM_PUTS):
        again.put("put", matrix)
        reserve_and_seal(turn)
    return [
        Step("put, new pages", "ours", lambda turn: new.put(f"put/{turn}", matrix)),
        Step("put, pages used again", "ours", lambda _turn: again.put("put", matrix)),
        Step("reserve + seal, to fill in place", "ours", reserve_and_seal),
    ]


def _copier(ground: MemoryGround, matrix: Matrix) -> Callable[[int], None]:
    given = columns(matrix)
    target = columns(faulted(ground.folder, matrix))

    def copy(_turn: int) -> None:
        for name, column in given.items():
            np.copyto(target[name], column)

    return copy


def _rival_step(place: Place, matrix: Matrix) -> Step:
    return Step(place.title_put, "rival", lambda _turn: place.put("put", matrix))


def _check_equal(places: Sequence[Any], matrix: Matrix) -> None:
    for place in places:
        place.put("put", matrix)
        check("put", place.title, columns(matrix), dict(place.columns(place.find("put"))))


def in_turns(ground: MemoryGround, steps: Sequence[Step]) -> Iterator[Line]:
    """Each step ``put_repeats`` times in turns, so that a noisy neighbour hits all of them."""
    samples: list[list[int]] = [[] for _ in steps]
    ground.watcher.expect(ground.sizes.put_repeats * len(steps))
    for turn in range(ground.sizes.put_repeats):
        for step, taken in zip(steps, samples, strict=True):
            started_ns = ground.clock_ns()
            step.run(turn)
            taken.append(ground.clock_ns() - started_ns)
            step.after(turn)
            ground.watcher.step()
    for step, taken in zip(steps, samples, strict=True):
        yield Line(step.title, step.kind, spread(taken))


def _goals(lines: Sequence[Line]) -> list[Goal]:
    from neural_gpu_bus.benchmarks.wording import duration

    copy_s = lines[_COPY].spread.p50_s
    part = copy_s / lines[_AGAIN].spread.p50_s
    first = copy_s / lines[_NEW].spread.p50_s
    return [
        Goal(
            f"put at {_MEMCPY_PART:.0%} of the speed of one memcpy",
            f"{part:.0%}, into new pages {first:.0%}",
            part >= _MEMCPY_PART,
        ),
        Goal(
            "reserve and fill in place: no copy at all",
            f"{duration(lines[_RESERVED].spread.p50_s)} beside the filling",
            lines[_RESERVED].spread.p50_s < copy_s,
        ),
    ]


def _notes() -> list[str]:
    return [
        "pages used again: those of a version that was replaced and that nobody maps any more",
        "reserve + seal: what is added to the filling, which writes into the block's own pages",
    ]
