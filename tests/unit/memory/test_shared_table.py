"""Small tables that all processes map."""

import os
from pathlib import Path

import pytest

from neural_gpu_bus.errors import HostError, SharedMemoryFullError
from neural_gpu_bus.memory.files import shared_table
from neural_gpu_bus.memory.files.folder import prepare
from neural_gpu_bus.memory.files.shared_table import SharedTable


@pytest.fixture
def path(memory_folder: Path) -> Path:
    return prepare(memory_folder) / "tables" / "numbers"


def test_a_new_table_is_zeros_and_all_see_one(path: Path) -> None:
    first, second = SharedTable(path, "<u8", 10), SharedTable(path, "<u8", 10)
    assert first.records.tolist() == [0] * 10
    first.records[3] = 7

    assert second.records[3] == 7
    assert second.buffer[24:32] == (7).to_bytes(8, "little")
    assert list(path.parent.glob("*.making")) == []


def test_growing_keeps_what_is_there_and_the_mapping_of_others(path: Path) -> None:
    first, second = SharedTable(path, "<u8", 10), SharedTable(path, "<u8", 10)
    first.records[9] = 5
    before = second.records
    first.grow(1000)
    first.grow(20)

    assert len(first.records) == 1000
    assert first.records[9] == 5
    assert first.records[10:].sum() == 0
    first.records[0] = 1
    assert before[0] == 1
    second.refresh()
    assert len(second.records) == 1000
    assert len(SharedTable(path, "<u8", 10).records) == 1000


def test_no_room_leaves_no_table(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _nbytes: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shared_table, "allocate", full)
    with pytest.raises(SharedMemoryFullError, match="No space left on device"):
        SharedTable(path, "<u8", 10)
    assert not path.exists()
    monkeypatch.undo()
    table = SharedTable(path, "<u8", 10)
    monkeypatch.setattr(shared_table, "allocate", full)
    with pytest.raises(SharedMemoryFullError, match="No space left on device"):
        table.grow(100)
    assert len(table.records) == 10


def test_what_a_killed_maker_left_is_made_anew(path: Path) -> None:
    path.with_suffix(".making").write_bytes(b"half")

    assert SharedTable(path, "<u8", 10).records.tolist() == [0] * 10


@pytest.mark.parametrize("nbytes", [0, 1, 79])
def test_a_table_that_is_too_short_is_refused(path: Path, nbytes: int) -> None:
    """Beyond its end the kernel would answer with SIGBUS."""
    path.write_bytes(b"x" * nbytes)
    with pytest.raises(HostError, match=r"is no table of this version: \d+ bytes where 80 are"):
        SharedTable(path, "<u8", 10)
