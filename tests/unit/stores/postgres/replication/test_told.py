"""Waiting for others: what is said, how long, and who may end it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neural_gpu_bus.errors import ClosedError, QueryTimeoutError
from neural_gpu_bus.stores.postgres.replication.told import WaitedFor, Waits, in_words

OTHER = WaitedFor(17, "psql", 61.4, "UPDATE bars SET x = 1", "idle in transaction")


class FakeTime:
    """A clock that goes on while it sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def pass_by(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s


def waits(time: FakeTime, told: Callable[[str], None], **other: object) -> Waits:
    return Waits(told, clock=lambda: time.now_s, sleep=time.pass_by, **other)  # type: ignore[arg-type]


def test_who_is_waited_for_reads_as_a_sentence() -> None:
    assert in_words("the lock", (OTHER, OTHER)) == (
        "waiting for transaction of pid 17 (psql, idle in transaction, 61 s old: UPDATE bars SET "
        "x = 1) and 1 more, for the lock"
    )
    assert in_words("the lock", ()) == "waiting for the lock"
    hidden = WaitedFor(17, "", None, "")
    assert str(hidden) == "transaction of pid 17 (not ours to see)"
    assert str(WaitedFor(0, "", 5, "half")) == "prepared transaction 'half' (5 s old)"


def test_each_round_tells_and_pauses_longer_up_to_half_a_second() -> None:
    time, told = FakeTime(), list[str]()
    rounds = waits(time, told.append).rounds("the lock")

    for _ in range(10):
        rounds.next((OTHER,))

    assert len(told) == 10
    assert time.pauses[:3] == [0.01, 0.02, 0.04]
    assert max(time.pauses) == time.pauses[-1] == 0.5


def test_the_limit_is_kept_to_the_moment() -> None:
    time = FakeTime()
    rounds = waits(time, lambda _: None, limit_s=0.7).rounds("the lock")

    def for_ever() -> None:
        while True:
            rounds.next((OTHER,))

    with pytest.raises(QueryTimeoutError, match=r"gave up after 0.7 s waiting for .*pid 17"):
        for_ever()

    assert time.now_s == pytest.approx(0.7)


def test_whoever_wants_it_ends_the_wait() -> None:
    time = FakeTime()
    rounds = waits(time, lambda _: None, ended=lambda: time.now_s > 0.1).rounds("the lock")
    rounds.next((OTHER,), pause=False)
    time.now_s = 1

    with pytest.raises(ClosedError, match="gave up waiting for transaction of pid 17"):
        rounds.next((OTHER,))
