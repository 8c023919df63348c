"""Turns to read: one at a time for a query, none for whoever only shares its file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.memory.files.folder import TABLES, prepare
from neural_gpu_bus.query_cache import load_turns
from neural_gpu_bus.query_cache.load_turns import TURNS, LoadTurns

MINE = "0" * 32
SAME_FILE = f"{TURNS:08x}" + "0" * 24


@pytest.fixture
def turns(memory_folder: Path) -> LoadTurns:
    return LoadTurns(prepare(memory_folder))


def nothing() -> None:
    return None


def test_a_turn_is_given_back(turns: LoadTurns, memory_folder: Path) -> None:
    for _ in range(2):
        with turns.taken(MINE, 0, nothing) as found:
            assert found is None
            (file,) = (memory_folder / TABLES).glob("query-*")
            assert file.read_bytes().startswith(MINE.encode())

    assert file.stat().st_size == 0
    assert load_turns._open == set()


def test_a_turn_is_given_back_after_an_error(turns: LoadTurns) -> None:
    with pytest.raises(ZeroDivisionError, match="division"), turns.taken(MINE, 0, nothing):
        _ = 1 / 0

    with turns.taken(MINE, 0, nothing) as found:
        assert found is None


def test_who_waits_is_told_or_finds_it(turns: LoadTurns) -> None:
    looks = iter([None, None, "it"])
    with turns.taken(MINE, 0, nothing):
        with (
            pytest.raises(
                QueryTimeoutError, match="another thread of this process has been reading the same"
            ),
            turns.taken(MINE, 0, nothing),
        ):
            pass
        with turns.taken(MINE, 10, lambda: next(looks)) as found:
            assert found == "it"


def test_one_that_shares_the_file_is_not_waited_for(turns: LoadTurns) -> None:
    with turns.taken(MINE, 0, nothing), turns.taken(SAME_FILE, 0, nothing) as found:
        assert found is None

    with turns.taken(SAME_FILE, 0, nothing) as found:
        assert found is None


def test_in_a_full_memory_each_reads_for_himself(
    turns: LoadTurns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> Any:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(load_turns, "open_table", full)

    with turns.taken(MINE, 0, lambda: "it") as found:
        assert found == "it"
