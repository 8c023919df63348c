"""When a watched workload runs, by a clock that the test sets."""

from __future__ import annotations

import random

import pytest

from neural_gpu_bus.watching.cadence import RETRY_S, RETRY_S_MAX, Cadence


def test_what_there_is_counts_as_a_change() -> None:
    cadence = Cadence()
    assert cadence.wait_s(5.0) == 0
    cadence.begun(5.0)
    cadence.succeeded()
    assert cadence.wait_s(5.0) is None


def test_changes_during_a_run_make_one_more() -> None:
    cadence = Cadence()
    cadence.begun(0.0)
    for _ in range(100):
        cadence.changed()
    cadence.succeeded()
    assert cadence.wait_s(0.0) == 0
    cadence.begun(0.0)
    cadence.succeeded()
    assert cadence.wait_s(0.0) is None


def test_runs_begin_no_sooner_than_asked() -> None:
    cadence = Cadence(at_most_every_s=10.0)
    cadence.begun(100.0)
    cadence.succeeded()
    cadence.changed()
    assert cadence.wait_s(103.0) == 7.0
    assert cadence.wait_s(110.0) == 0


def test_failures_are_tried_again_ever_less_often() -> None:
    cadence, now_s, waits_s = Cadence(), 0.0, []
    for _ in range(1100):  # 2.0 ** 1100 is too large for a float
        cadence.begun(now_s)
        cadence.failed(now_s)
        waited_s = cadence.wait_s(now_s)
        assert waited_s is not None
        waits_s.append(waited_s)
        now_s += waited_s
    assert waits_s[:3] == pytest.approx([RETRY_S, 2 * RETRY_S, 4 * RETRY_S])
    assert max(waits_s) <= RETRY_S_MAX * 1.001
    cadence.begun(now_s)
    cadence.succeeded()
    cadence.begun(now_s)
    cadence.failed(now_s)
    assert cadence.wait_s(now_s) == pytest.approx(RETRY_S)


def test_a_failure_is_tried_no_sooner_than_the_next_run_may_begin() -> None:
    cadence = Cadence(at_most_every_s=60.0)
    cadence.begun(0.0)
    cadence.failed(1.0)
    assert cadence.wait_s(1.0) == 59.0
    cadence = Cadence()
    cadence.begun(0.0)
    cadence.failed(0.0, retry_s_max=0.01)
    assert cadence.wait_s(0.0) == 0.01


@pytest.mark.parametrize("seed", range(20))
def test_the_last_change_is_always_followed_by_a_run(seed: int) -> None:
    """Whatever happens when: no change without a run that succeeded and began after it."""
    random_ = random.Random(seed)
    cadence = Cadence(random_.choice([0.0, 0.5]))
    now_s, changed_at, seen_to = 0.0, 0.0, -1.0
    began_at = -1.0
    for step in range(1, 300):
        now_s += random_.random() * 0.2
        what = random_.choice(["change", "run", "nothing"])
        if what == "change":
            cadence.changed()
            changed_at = step
        elif what == "run" and cadence.wait_s(now_s) == 0:
            cadence.begun(now_s)
            began_at = step
            if random_.random() < 0.5:
                cadence.changed()
                changed_at = step + 0.5
            if random_.random() < 0.3:
                cadence.failed(now_s)
            else:
                cadence.succeeded()
                seen_to = began_at
        assert cadence.waiting == (changed_at > seen_to)
    while (waits_s := cadence.wait_s(now_s)) is not None:
        now_s += waits_s
        cadence.begun(now_s)
        cadence.succeeded()
        seen_to = 1000
    assert seen_to > changed_at or not cadence.waiting
