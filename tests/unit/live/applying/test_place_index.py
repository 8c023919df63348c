"""The index of places against a plain dict."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

from neural_gpu_bus.live.applying.place_index import PlaceIndex


def put(index: PlaceIndex, hashes: list[int], partitions: list[int], values: list[int]) -> None:
    index.put(np.array(hashes, np.uint64), np.array(partitions), np.array(values, np.int64))


def look(index: PlaceIndex, hashed: int, skipped: int = 0) -> tuple[int, int]:
    partitions, values = index.look(np.array([hashed], np.uint64), np.array([skipped]))
    return int(partitions[0]), int(values[0])


def test_rows_of_one_hash_are_found_one_after_another() -> None:
    index = PlaceIndex()
    put(index, [7, 7, 0, 7], [1, 2, 3, 4], [10, 20, 30, 40])

    assert [look(index, 7, skipped) for skipped in range(4)] == [(1, 10), (2, 20), (4, 40), (-1, 0)]
    assert look(index, 0) == (3, 30)
    assert look(index, 5) == (-1, 0)


def test_no_line_breaks_where_rows_are_removed() -> None:
    """Hashes that want the same few slots, around the end of the table."""
    slots = 1024
    index = PlaceIndex()
    hashes = [slots - 2 + place % 3 + slots * number for number in range(9) for place in range(3)]
    put(index, hashes, list(range(27)), list(range(27)))
    for gone in range(0, 27, 2):
        dropped = index.drop(
            np.array([hashes[gone]], np.uint64), np.array([gone]), np.array([gone])
        )
        assert dropped == 1

    assert len(index) == 13
    assert [look(index, hashes[place])[0] for place in range(1, 27, 2)] == list(range(1, 27, 2))


@pytest.mark.parametrize("seed", range(4))
def test_any_changes_against_a_dict(seed: int) -> None:
    chosen = random.Random(seed)
    index = PlaceIndex()
    plain: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for _ in range(3000):
        hashed = chosen.randint(0, 400) << chosen.choice([0, 54])
        if plain[hashed] and chosen.random() < 0.4:
            place = chosen.choice(plain[hashed])
            plain[hashed].remove(place)
            gone = index.drop(
                np.array([hashed], np.uint64), np.array([place[0]]), np.array([place[1]])
            )
            assert gone == 1
        else:
            place = chosen.randint(0, 1 << 20), chosen.randint(-5, 5)
            plain[hashed].append(place)
            put(index, [hashed], [place[0]], [place[1]])
    # 0 and 1 are one hash to the index.
    plain[1] += plain.pop(0, [])

    assert len(index) == sum(map(len, plain.values()))
    for hashed, places in plain.items():
        found = [look(index, hashed, skipped) for skipped in range(len(places) + 1)]
        assert sorted(found) == sorted([*places, (-1, 0)])


def test_memory_a_row() -> None:
    rows = 100_000
    index = PlaceIndex()
    hashes = np.random.default_rng(5).integers(1, 1 << 63, rows).astype(np.uint64)
    index.put(hashes, np.zeros(rows, np.int64), np.zeros(rows, np.int64))

    assert 26 < index.nbytes / rows < 54
