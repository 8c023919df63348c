"""The counters by which a process knows that a name still means the same."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.memory.catalog.names_clock import COUNTERS, NamesClock
from neural_gpu_bus.memory.files.folder import prepare


@pytest.fixture
def folder(memory_folder: Path) -> Path:
    return prepare(memory_folder)


def colliding(name: str) -> str:
    """Another name with the same counter."""
    place = NamesClock.place(name)
    return next(f"n{n}" for n in count() if NamesClock.place(f"n{n}") == place and f"n{n}" != name)


def number(clock: NamesClock, name: str) -> int:
    return clock.counters[clock.place(name)]


def test_a_change_is_odd_while_it_goes_on_and_even_after(folder: Path) -> None:
    clock = NamesClock(folder)
    before = clock.changes
    clock.begin(["a"])
    assert number(clock, "a") == 1
    clock.end(["a"])
    assert number(clock, "a") == 2
    assert clock.changes > before


def test_names_that_share_a_counter_move_it_once_a_step(folder: Path) -> None:
    clock = NamesClock(folder)
    other = colliding("a")
    clock.begin(["a", other])
    assert number(clock, other) == 1
    clock.end(["a", other])
    assert number(clock, "a") == number(clock, other) == 2


def test_all_processes_see_one_clock(folder: Path) -> None:
    first, second = NamesClock(folder), NamesClock(folder)
    first.begin(["a"])

    assert number(second, "a") == 1
    second.end(["a"])
    assert number(first, "a") == 2


def test_who_begins_where_another_died_moves_on_and_ends_even(folder: Path) -> None:
    clock = NamesClock(folder)
    clock.begin(["a"])  # and then it was killed
    seen = [number(clock, "a")]
    clock.begin(["a"])
    seen.append(number(clock, "a"))
    clock.end(["a"])
    seen.append(number(clock, "a"))

    assert seen == [1, 3, 4]


def test_two_that_overlap_leave_it_even_after_the_first_end(folder: Path) -> None:
    """Both have committed by then: each ends after its commit, under the lock."""
    clock = NamesClock(folder)
    clock.begin(["a"])
    clock.begin(["a"])
    clock.end(["a"])
    clock.end(["a"])

    assert number(clock, "a") == 4


def test_settling_makes_what_is_odd_even_and_leaves_the_rest(folder: Path) -> None:
    clock = NamesClock(folder)
    clock.begin(["a"])
    clock.begin(["b"])
    clock.end(["b"])
    before = clock.changes
    clock.settle()

    assert (number(clock, "a"), number(clock, "b")) == (2, 2)
    assert clock.changes > before
    assert not (np.array(clock.counters)[:COUNTERS] & 1).any()


def test_counters_full_of_ones_are_settled(folder: Path) -> None:
    clock = NamesClock(folder)
    path = folder / "tables" / "names"
    path.write_bytes(b"\xff" * path.stat().st_size)
    NamesClock(folder).settle()
    clock.begin(["a"])
    clock.end(["a"])

    assert number(clock, "a") == 2


@pytest.mark.parametrize("name", ["", "ä", "\ud800", "x" * 10_000, 5, None, b"a"])
def test_anything_has_a_place(name: object) -> None:
    assert 0 <= NamesClock.place(name) < COUNTERS  # type: ignore[arg-type]
