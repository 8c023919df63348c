"""Batches of several connections come out in the order of the statements, and few are held."""

from __future__ import annotations

import random
import threading
from typing import Any, NamedTuple

import pytest

from neural_gpu_bus.stores.postgres.reading.table import in_order
from neural_gpu_bus.stores.postgres.reading.table.in_order import Held, InOrder


class Taker:
    """Keeps what it gets; ``held``: batches that were prepared and not taken, at most.
    ``takes_received``: all rows of odd batches, of the others only the first four.
    """

    def __init__(self, refused: Any = None, *, takes_received: bool = False) -> None:
        self.takes_received = takes_received
        self.taken: list[Any] = []
        self.learnt: list[Any] = []
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
        return prepared

    def take_received(self, rows: Any) -> int:
        self.taken.append((rows.name, None))
        return 10 if rows.name[1] % 2 else 4

    def learn(self, rows: Any, taken: Any) -> None:
        assert rows.start == 4
        self.learnt.append(taken)


class Part(NamedTuple):
    """As ``ReceivedRange``."""

    name: tuple[int, int]
    start: int = 0
    stop: int = 10
    rows: int = 10

    def scanned(self) -> Part:
        return self


def part(index: int, number: int) -> Any:
    return Part((index, number))


def order_of(taker: Taker) -> InOrder:
    return InOrder(taker, lambda received: received.name)  # type: ignore[attr-defined]


def never() -> bool:
    return False


@pytest.mark.parametrize("takes_received", [False, True])
def test_statements_side_by_side(takes_received: bool) -> None:
    statements, threads_count = 40, 4
    taker, chance = Taker(takes_received=takes_received), random.Random(5)
    batches, lock = order_of(taker), threading.Lock()
    waiting = [(index, chance.randint(0, 3)) for index in range(statements)][::-1]
    expected = [(index, number) for index, count in waiting[::-1] for number in range(count)]

    def read() -> None:
        held = Held()
        while True:
            with lock:
                if not waiting:
                    return
                index, count = waiting.pop()
            for number in range(count):
                batches.put(index, part(index, number), 7, held, never)
            batches.end(index)
            batches.wait(held, never)
            assert held.count == 0

    threads = [threading.Thread(target=read) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert batches.rows == batches.nbytes == 10 * len(expected)
    if not takes_received:
        assert taker.taken == [(name, 7) for name in expected]
        assert taker.held_max <= in_order.WAITING_MAX + 2 * threads_count
        return
    rest = [(name, 7) for name in expected if name[1] % 2 == 0]
    assert [one for one in taker.taken if one[1] is None] == [(name, None) for name in expected]
    assert [one for one in taker.taken if one[1] == 7] == taker.learnt == rest


def test_one_that_is_far_ahead_waits_until_the_read_is_given_up() -> None:
    taker = Taker()
    batches, stopped = order_of(taker), threading.Event()

    def ahead() -> None:
        for number in range(in_order.WAITING_MAX + 1):
            batches.put(1, part(1, number), None, Held(), stopped.is_set)

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
    batches.put(0, part(0, 0), None, Held(), never)
    with pytest.raises(ValueError, match="refused"):
        batches.put(0, part(0, 1), None, Held(), never)
    assert batches.begun
