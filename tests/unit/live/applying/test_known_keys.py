"""Keys of several columns, one of them a text, against a plain dict."""

from __future__ import annotations

import random

import numpy as np
import pytest

from neural_gpu_bus.live.applying import known_keys
from neural_gpu_bus.live.applying.few_kernels import _find_partitions
from neural_gpu_bus.live.applying.known_keys import KnownKeys
from neural_gpu_bus.memory.series.kernels import DATA, SOURCE_FIELDS, VALUES

ROWS = 64
#: A text and four bytes.
KEY = np.array([[1, 0], [0, 4]], np.int64)


class Rows:
    """Where columns lie."""

    def __init__(self) -> None:
        self.numbers, self.ends = np.zeros(ROWS, np.int32), np.zeros(ROWS + 1, np.int64)
        self.text = np.zeros(ROWS * 2000, np.uint8)
        self.sources = np.zeros((2, SOURCE_FIELDS), np.int64)
        self.sources[0, VALUES] = self.numbers.ctypes.data
        self.sources[1, VALUES] = self.ends.ctypes.data
        self.sources[1, DATA] = self.text.ctypes.data

    def put(self, keys: list[tuple[str, int]]) -> None:
        for row, (text, number) in enumerate(keys):
            self.numbers[row] = number
            self.ends[row + 1] = self.ends[row] + len(text)
            self.text[self.ends[row] : self.ends[row + 1]] = list(text.encode())


def found(keys: KnownKeys, rows: Rows, count: int) -> list[int]:
    partitions = np.full(count, -7)
    why = _find_partitions(KEY, rows.sources, *keys.arguments, partitions)
    return partitions.tolist() if why == count else [int(why)]


def test_keys_that_were_learnt_are_known() -> None:
    rows, chance, known = Rows(), random.Random(3), dict[tuple[str, int], int]()
    keys = KnownKeys(KEY, rows.sources)
    for _ in range(60):
        here = [("k" * chance.randrange(40), chance.randrange(60)) for _ in range(ROWS)]
        rows.put(here)
        missed = any(key not in known for key in here)
        assert found(keys, rows, ROWS) == ([-1] if missed else [known[key] for key in here])
        for key in here:
            known.setdefault(key, len(known))
        keys.learn(np.array([known[key] for key in here]))
        assert found(keys, rows, ROWS) == [known[key] for key in here]
    assert len(keys.arguments[1]) > known_keys.SLOTS_MIN


def test_all_keys_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_keys, "SLOTS_MAX", known_keys.SLOTS_MIN)
    rows = Rows()
    keys = KnownKeys(KEY, rows.sources)
    for first in range(0, 2 * known_keys.SLOTS_MIN, ROWS):
        rows.put([("key", first + row) for row in range(ROWS)])
        keys.learn(np.arange(first, first + ROWS))
        assert found(keys, rows, ROWS) == list(range(first, first + ROWS))
    rows.put([("key", 0)])
    assert found(keys, rows, 1) == [-1]


def test_a_long_key_is_not_kept() -> None:
    rows = Rows()
    keys = KnownKeys(KEY, rows.sources)
    rows.put([("k" * known_keys.KEY_BYTES_MAX, 1)])
    keys.learn(np.array([5]))
    assert found(keys, rows, 1) == [0]
