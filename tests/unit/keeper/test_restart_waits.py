"""How long the keeper waits before a process of ours runs again."""

from __future__ import annotations

from neural_gpu_bus.keeper.workers import (
    RESTART_WAIT_S,
    RESTART_WAIT_S_MAX,
    STEADY_S,
    restart_wait_s,
)


def test_one_that_ran_and_was_killed_is_back_at_once_however_often() -> None:
    assert restart_wait_s(RESTART_WAIT_S_MAX, STEADY_S + 1) == RESTART_WAIT_S


def test_one_that_cannot_start_waits_as_long_as_it_has_come_to() -> None:
    assert restart_wait_s(RESTART_WAIT_S_MAX, 4.0) == RESTART_WAIT_S_MAX
