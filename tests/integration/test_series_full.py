"""No room is an error before anything changed; what is published stays, and the writer goes on."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory.series import SeriesGroup, series_bytes

MIB = 1 << 20
SCHEMA = pa.schema([("name", pa.string()), ("ts", pa.int64()), ("x", pa.float64())])
SIZES: dict[str, Any] = {"chunk_rows_max": 4096, "overlap_rows": 512}
ARENAS = (1 << 16, 1 << 20)


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Path]:
    """A memory file system of 4 MiB."""
    folder = tmp_path / "shm"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return filler


def _columns(first: int, rows: int, names: int = 5) -> dict[str, Any]:
    moments = np.repeat(np.arange(first, first + rows), names)
    return {
        "name": [f"n{at}" for at in range(names)] * rows,
        "ts": moments,
        "x": moments * 0.5,
    }


def _check(group: SeriesGroup, rows: int) -> None:
    series = group.series("s")
    assert series.rows() == 5 * rows
    for key in series.partitions():
        frame = series.frame(**key)
        assert frame["ts"].tolist() == list(range(rows))
        assert frame["x"].sum() == sum(range(rows)) * 0.5


def test_growing_until_the_file_system_is_full(small_folder: Path) -> None:
    group = SeriesGroup.create(small_folder, "g", arena_bytes=ARENAS)
    group.series("s", SCHEMA, ["name"], "ts", **SIZES)
    opened = group.writer()
    rows = 0

    def grow() -> None:
        nonlocal rows
        while rows < 200_000:
            opened.append("s", _columns(rows, 100))
            opened.publish()
            rows += 100

    with pytest.raises(SharedMemoryFullError, match=r"No space left.*\n.*--shm-size") as caught:
        grow()

    assert caught.value.folder.startswith(str(small_folder))
    assert rows > 5000
    _check(group, rows)
    assert opened.publish() == rows // 100 + 1
    _check(group, rows)
    assert series_bytes(small_folder) == group.count_bytes()
    opened.truncate("s")
    opened.publish()
    opened.append("s", _columns(0, 100))
    opened.publish()
    _check(group, 100)


def test_no_page_is_left_at_each_step(small_folder: Path) -> None:
    """Not for a group, a series, a partition or a row; and then there is."""
    filler = _fill(small_folder)
    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        SeriesGroup.create(small_folder, "g", arena_bytes=ARENAS)
    filler.unlink()
    group = SeriesGroup.create(small_folder, "g", arena_bytes=ARENAS)
    filler = _fill(small_folder)
    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        group.series("s", SCHEMA, ["name"], "ts", **SIZES)
    filler.unlink()
    group.series("s", SCHEMA, ["name"], "ts", **SIZES)
    filler = _fill(small_folder)
    opened = group.writer()
    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        opened.append("s", _columns(0, 10))
    opened.publish()
    assert group.series("s").rows() == 0
    filler.unlink()
    opened.append("s", _columns(0, 10))
    filler = _fill(small_folder)
    with pytest.raises(SharedMemoryFullError, match="does not fit"):
        opened.append("s", _columns(10, 1, names=2000))
    opened.publish()

    _check(group, 10)
    filler.unlink()
    opened.append("s", _columns(10, 1))
    opened.publish()
    _check(group, 11)


class SmallBudget:
    """Counts what is claimed; no more than ``left``."""

    def __init__(self, left: int) -> None:
        self.left = left

    @contextmanager
    def claimed(self, nbytes: int) -> Iterator[None]:
        if nbytes > self.left:
            raise SharedMemoryFullError(
                f"{nbytes} bytes where {self.left} are left",
                hint="less",
                needed_bytes=nbytes,
                free_bytes=self.left,
                folder="",
            )
        self.left -= nbytes
        yield

    def give_back(self, nbytes: int) -> None:
        self.left += nbytes


def test_a_budget_is_asked_first_and_given_back(memory_folder: Path) -> None:
    budget = SmallBudget(MIB)
    group = SeriesGroup.create(memory_folder, "g", budget=budget, arena_bytes=ARENAS)
    group.series("s", SCHEMA, ["name"], "ts", **SIZES)
    opened = group.writer()
    opened.append("s", _columns(0, 100))
    opened.publish()
    with pytest.raises(SharedMemoryFullError, match="are left"):
        opened.append("s", _columns(100, 100_000))
    with pytest.raises(SharedMemoryFullError, match="are left"):
        opened.upsert("s", _columns(50, 100_000))

    assert series_bytes(memory_folder) == group.count_bytes()
    _check(group, 100)
    before = budget.left
    budget.left += 64 * MIB
    opened.append("s", _columns(100, 10_000))
    opened.discard()
    opened.append("s", _columns(100, 100))
    opened.publish()
    _check(group, 200)
    opened.truncate("s")
    opened.publish()
    opened.append("s", _columns(0, 50))
    opened.publish()
    _check(group, 50)
    assert budget.left + opened.statistics.arena_bytes == before + 64 * MIB + (MIB - before)
