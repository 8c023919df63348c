"""Lost connections are tried again within limits, on a clock of the test's own."""

from __future__ import annotations

import pytest

from neural_gpu_bus.errors import QueryError, ServerError, ServerUnreachableError
from neural_gpu_bus.stores.postgres.connections.retrying import (
    READ_ONLY,
    TROUBLE_S_MAX,
    WAITS_S,
    retried,
)


class World:
    """A clock that moves by sleeping and by working, and an attempt that fails as told."""

    def __init__(self, *failures: Exception, each_takes_s: float = 0.0) -> None:
        self.now_s, self.slept_s = 100.0, []
        self._failures, self._each_takes_s = list(failures), each_takes_s
        self.attempts: list[tuple[bool, float | None]] = []

    def attempt(self, again: bool, left_s: float | None) -> str:
        self.attempts.append((again, left_s))
        self.now_s += self._each_takes_s
        if self._failures:
            raise self._failures.pop(0)
        return "rows"

    def pause(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    def run(self, timeout_s: float | None = 60.0) -> str:
        return retried(
            self.attempt, timeout_s=timeout_s, clock=lambda: self.now_s, sleep=self.pause
        )


def lost(text: str = "cut") -> ServerUnreachableError:
    return ServerUnreachableError(text, hint="look", server="PostgreSQL", address="here")


def refused(sqlstate: str) -> QueryError:
    return QueryError("refused", hint="mend", sqlstate=sqlstate)


def test_what_succeeds_is_done_once() -> None:
    world = World()
    assert world.run() == "rows"
    assert world.attempts == [(False, 60.0)]


def test_a_lost_connection_is_tried_again_with_the_time_that_is_left() -> None:
    world = World(lost(), lost(), each_takes_s=1.0)
    assert world.run() == "rows"
    assert [again for again, _ in world.attempts] == [False, True, True]
    assert [left_s for _, left_s in world.attempts] == pytest.approx([60.0, 58.9, 57.5])


def test_a_server_that_stays_away_is_an_error_that_counts() -> None:
    world = World(*(lost(f"cut {n}") for n in range(9)))
    with pytest.raises(ServerUnreachableError, match=r"cut 3 \(tried 4 times\)\nhint: look") as e:
        world.run(None)
    assert world.slept_s == list(WAITS_S)
    assert world.attempts[-1] == (True, None)
    assert e.value.address == "here"


def test_no_attempt_begins_long_after_the_first_failure() -> None:
    world = World(*(lost() for _ in range(9)), each_takes_s=TROUBLE_S_MAX)
    with pytest.raises(ServerUnreachableError, match=r"tried 2 times"):
        world.run()


def test_a_long_read_that_is_lost_late_has_all_its_time_again() -> None:
    world = World(lost(), each_takes_s=1_000.0)
    assert world.run(None) == "rows"
    assert World(lost(), each_takes_s=20.0).run(100.0) == "rows"


def test_no_attempt_begins_after_the_end_of_the_time() -> None:
    world = World(lost(), lost(), each_takes_s=0.0)
    with pytest.raises(ServerUnreachableError, match=r"^cut\nhint"):
        world.run(0.05)
    assert world.slept_s == []


def test_a_statement_that_writes_is_not_run_twice() -> None:
    world = World(lost("cut in the middle"), refused(READ_ONLY))
    with pytest.raises(ServerUnreachableError, match="cut in the middle"):
        world.run()


@pytest.mark.parametrize("error", [refused("42P01"), refused(READ_ONLY), ServerError("no")])
def test_all_else_is_raised_at_once(error: Exception) -> None:
    world = World(error)
    with pytest.raises(type(error), match=str(error).splitlines()[0]):
        world.run()
    assert len(world.attempts) == 1
