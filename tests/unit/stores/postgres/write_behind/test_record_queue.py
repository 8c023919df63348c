"""Places of records: first in, first out, within limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.stores.postgres.write_behind.record_queue import Place, RecordQueue


def place(n: int, nbytes: int = 10) -> Place:
    return Place(n // 7 + 1, n * 1_000_003, nbytes, n)


@settings(deadline=None)
@given(st.lists(st.integers(-3000, 3000), max_size=20))
def test_it_is_a_queue(moves: list[int]) -> None:
    queue, plain, born = RecordQueue(), list[Place](), 0
    for move in moves:
        if move >= 0:
            for _ in range(move):
                queue.append(place(born))
                plain.append(place(born))
                born += 1
        else:
            for _ in range(min(-move, len(plain))):
                assert queue.pop() == plain.pop(0)
        assert len(queue) == len(plain)
        assert queue.nbytes == sum(one.nbytes for one in plain)
        assert queue.head(5, 1 << 40) == plain[:5]


def test_the_first_comes_whatever_its_size() -> None:
    queue = RecordQueue()
    for n, nbytes in enumerate((100, 10, 20, 30)):
        queue.append(place(n, nbytes))

    assert [one.sequence for one in queue.head(4, 1)] == [0]
    assert [one.sequence for one in queue.head(4, 130)] == [0, 1, 2]
    assert [one.sequence for one in queue.head(2, 1000)] == [0, 1]
