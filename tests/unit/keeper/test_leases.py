"""When the keeper stops: a table of comings and goings, without a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from neural_gpu_bus.keeper.leases import Leases


@dataclass
class Bell:
    """A timer that rings when told to."""

    wait_s: float
    ring: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Clock:
    """Hands out bells."""

    bells: list[Bell] = field(default_factory=list)

    def call_later(self, wait_s: float, ring: Callable[[], None]) -> Bell:
        self.bells.append(Bell(wait_s, ring))
        return self.bells[-1]

    def pending(self) -> list[float]:
        return [bell.wait_s for bell in self.bells if not bell.cancelled]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(clock.call_later, lambda: None, grace_s=1.0, first_client_s=20.0)


def test_a_keeper_that_nobody_visits_stops(leases: Leases, clock: Clock) -> None:
    assert clock.pending() == [20.0]


def test_it_runs_while_somebody_is_there(leases: Leases, clock: Clock) -> None:
    leases.add()
    leases.add()
    leases.remove()

    assert (leases.counted, clock.pending()) == (1, [])


def test_it_stops_some_time_after_the_last(leases: Leases, clock: Clock) -> None:
    leases.add()
    leases.remove()
    assert clock.pending() == [1.0]

    leases.add()
    assert clock.pending() == []


def test_stay_outlives_all(leases: Leases, clock: Clock) -> None:
    leases.add()
    leases.stay()
    leases.remove()

    assert (leases.stays, leases.counted, clock.pending()) == (True, 0, [])


def test_the_starters_end_shortens_the_wait_for_the_first(leases: Leases, clock: Clock) -> None:
    leases.starter_gone()
    assert clock.pending() == [1.0]

    leases.add()
    leases.starter_gone()

    assert clock.pending() == []


def test_idle_is_after_the_last_and_not_before_the_first(leases: Leases) -> None:
    assert not leases.idle
    leases.add()
    assert not leases.idle
    leases.remove()
    assert leases.idle
    leases.stay()
    assert not leases.idle
