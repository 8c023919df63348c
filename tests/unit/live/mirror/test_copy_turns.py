"""Few copies run at once; one that waits for somebody lets the next one begin."""

from __future__ import annotations

import threading

import pytest

from neural_gpu_bus.live.mirror.copy_turns import CopyTurns


def test_one_after_the_other() -> None:
    turns, running, most, lock = CopyTurns(2), [0], [0], threading.Lock()
    both = threading.Barrier(2, timeout=30)

    def copy() -> None:
        with turns.taken(lambda: None):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            both.wait()
            with lock:
                running[0] -= 1
            both.wait()

    threads = [threading.Thread(target=copy) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


def test_who_leaves_lets_another_one_begin() -> None:
    turns = CopyTurns(1)
    with turns.taken(lambda: None) as leave:
        leave()
        leave()
        with turns.taken(lambda: None):
            pass
        with turns.taken(lambda: None):
            pass


def test_who_waits_may_be_given_up() -> None:
    turns = CopyTurns(1)

    def stopped() -> None:
        raise KeyError("stopped")

    with (
        turns.taken(lambda: None),
        pytest.raises(KeyError, match="stopped"),
        turns.taken(stopped),
    ):
        pass
