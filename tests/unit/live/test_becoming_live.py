"""Waiting for a table that was declared: what counts, and what becomes of the declaration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neural_gpu_bus.descriptors import ErrorRecord
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError, NotRunningError
from neural_gpu_bus.live import becoming_live
from neural_gpu_bus.live.becoming_live import BecomingLive
from neural_gpu_bus.live.definitions import LiveDefinitions, live_definition
from neural_gpu_bus.live.shared import LiveState, LiveTableState, LiveView, TableState

BARS = live_definition("bars")


class Played:
    """The process that follows, in the hands of a test."""

    def __init__(self, memory: Path) -> None:
        (memory / "live").mkdir()
        self.wall_ns = 2 * 10**18
        self.state = LiveState(memory, wall_clock_ns=lambda: self.wall_ns)
        self.view = LiveView(memory)
        self.definitions = LiveDefinitions(memory)

    def tell(self, state: LiveTableState, why: str = "") -> None:
        """Of the table as it is declared."""
        error = ErrorRecord("BadParameterError", why, "mend it") if why else None
        added_ns = self.definitions.all()["bars"].added_ns
        self.state.set_table(TableState("bars", "1", state, error=error, added_ns=added_ns))

    def wait(self, follow: Callable[[], object], timeout_s: float = 30.0) -> None:
        """As ``plane.live`` does; ``follow``: what happens once it is declared."""
        BecomingLive(self.view, self.definitions, follow, BARS).wait(timeout_s, None)


@pytest.fixture
def played(memory_folder: Path) -> Iterator[Played]:
    found = Played(memory_folder)
    yield found
    found.state.close()


def gone() -> None:
    raise NotRunningError("the keeper has ended", hint="open again", home="/home")


def test_what_is_declared_to_a_keeper_that_is_gone_does_not_stay(played: Played) -> None:
    with pytest.raises(NotRunningError, match="has ended"):
        played.wait(gone)
    assert played.definitions.all() == {}


def test_a_keeper_that_goes_meanwhile_is_noticed(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(becoming_live, "_FOLLOW_S", 0.0)
    played.state.close()  # nobody follows
    asked: list[None] = []

    def follow() -> None:
        if asked:
            gone()
        asked.append(None)

    with pytest.raises(NotRunningError, match="has ended"):
        played.wait(follow)
    assert played.definitions.all() == {}


def test_a_failure_from_before_counts_for_nothing_whatever_the_clock_says(played: Played) -> None:
    played.definitions.add(BARS)
    played.tell("failed", "it has no key")
    played.wall_ns -= 10**12

    def mended() -> None:
        played.tell("starting")
        played.tell("live")

    played.wait(mended)

    played.tell("failed", "it has no key")

    def fails_again() -> None:
        played.wall_ns -= 10**12
        played.tell("starting")
        played.tell("failed", "it has no column")

    with pytest.raises(BadParameterError, match="no column"):
        played.wait(fails_again)
    assert played.definitions.all()  # it was there before


def test_one_who_gives_up_leaves_it_to_another_who_waits(played: Played) -> None:
    def second_gives_up() -> None:
        with pytest.raises(NotRunningError, match="has ended"):
            played.wait(gone)
        played.tell("live")

    played.wait(second_gives_up)
    assert list(played.definitions.all()) == ["bars"]


def test_one_that_is_dropped_is_waited_for_no_longer(played: Played) -> None:
    with pytest.raises(DatasetNotFoundError, match="was dropped while it was waited for"):
        played.wait(lambda: played.definitions.drop("bars"))
