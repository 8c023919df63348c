"""Batches of several connections come out in the order of the statements, and few are held."""

from __future__ import annotations

import random
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from neural_gpu_bus.stores.postgres.reading.table import in_order
from neural_gpu_bus.stores.postgres.reading.table.in_order import InOrder


class Taker:
    """Keeps what it gets; ``held``: batches that were prepared and not taken, at most."""

    def __init__(self, refused: Any = None) -> None:
        self.taken: list[Any] = []
        self.prepared = self.held_max = 0
        self._refused = refused
        self._lock = threading.Lock()

    def prepare(self, batch: Any, rows_expected: int | None) -> Any:
        with self._lock:
            self.prepared += 1
            self.held_max = max(self.held_max, self.prepared - len(self.taken))
        return batch, rows_expected

    def take(self, prepared: Any) -> None:
        if prepared[0] == self._refused:
            raise ValueError("refused")
        self.taken.append(prepared)


def part(index: int, number: int) -> Any:
    return SimpleNamespace(name=(index, number), scan=SimpleNamespace(rows=10))


def order_of(taker: Taker) -> InOrder:
    return InOrder(taker, lambda received: received.name)  # type: ignore[attr-defined]


def test_statements_side_by_side() -> None:
    statements, threads_count = 40, 4
    taker, chance = Taker(), random.Random(5)
    batches, lock = order_of(taker), threading.Lock()
    waiting = [(index, chance.randint(0, 3)) for index in range(statements)][::-1]
    expected = [(index, number) for index, count in waiting[::-1] for number in range(count)]

    def read() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                index, count = waiting.pop()
            for number in range(count):
                batches.put(index, part(index, number), 7, lambda: False)
            batches.end(index)

    threads = [threading.Thread(target=read) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert taker.taken == [(name, 7) for name in expected]
    assert batches.rows == 10 * len(expected)
    assert taker.held_max <= in_order.WAITING_MAX + 2 * threads_count


def test_one_that_is_far_ahead_waits_until_the_read_is_given_up() -> None:
    taker = Taker()
    batches, stopped = order_of(taker), threading.Event()

    def ahead() -> None:
        for number in range(in_order.WAITING_MAX + 1):
            batches.put(1, part(1, number), None, stopped.is_set)

    thread = threading.Thread(target=ahead)
    thread.start()
    while taker.prepared <= in_order.WAITING_MAX:
        thread.join(0.001)
    thread.join(0.01)
    assert thread.is_alive()
    assert not taker.taken
    stopped.set()
    thread.join()
    assert not batches.begun


def test_what_the_taker_raises_comes_out_where_it_was_put() -> None:
    batches = order_of(Taker(refused=(0, 1)))
    batches.put(0, part(0, 0), None, lambda: False)
    with pytest.raises(ValueError, match="refused"):
        batches.put(0, part(0, 1), None, lambda: False)
    assert batches.begun
