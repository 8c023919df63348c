"""Files of a series that somebody else wrote to: an error that names them, and no wrong rows."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError
from neural_gpu_bus.memory.series import SeriesGroup

SCHEMA = pa.schema([("k", pa.string()), ("ts", pa.int64()), ("said", pa.string())])
ROWS = 40


@pytest.fixture
def folder(memory_folder: Path) -> Path:
    """Of a group whose series ``s`` has chunks, spines and texts."""
    group = SeriesGroup.create(memory_folder, "g")
    group.series("s", SCHEMA, ["k"], "ts", chunk_rows_max=16, overlap_rows=4)
    with group.writer() as opened:
        for key in "abc":
            said = [f"{at}" for at in range(ROWS)]
            opened.append("s", {"k": [key] * ROWS, "ts": list(range(ROWS)), "said": said})
            opened.publish()
    return group.folder


def _write(group: SeriesGroup) -> None:
    with group.writer() as opened:
        opened.append("s", {"k": ["a"], "ts": [99], "said": ["x"]})


USES: list[Callable[[SeriesGroup], Any]] = [
    lambda group: group.series("s").last(3, k="a").arrow(),
    lambda group: group.series("s").last(30, k="a")["ts"].sum(),
    lambda group: group.series("s").last(3, k="a").nbytes,
    lambda group: group.series("s").between(2, 30, k="a").rows,
    lambda group: group.series("s").rows(),
    lambda group: group.series("s").rows(k="a"),
    lambda group: group.series("s").arrow(),
    lambda group: group.series("s").snapshot().last(3, k="a").arrow(),
    _write,
]
#: What a partition holds stands in its slot; no arena is looked at.
ROWS_OF_ONE = 5
FILES = ["arenas/1", "*/partitions", "*/keys", "*/meta"]


def _file(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("left", [0, 9, 4000], ids=["empty", "head", "page"])
def test_a_file_that_was_cut_is_refused(folder: Path, file: str, left: int) -> None:
    before = [use(SeriesGroup.open(folder.parent, "g")) for use in USES]
    path = _file(folder, file)
    _replace(path, path.read_bytes()[:left])

    _check_told_or_true(folder, before)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("seed", range(4))
def test_a_random_file_is_an_error_of_ours(folder: Path, file: str, seed: int) -> None:
    print(f"seed {seed}")
    before = [use(SeriesGroup.open(folder.parent, "g")) for use in USES]
    path = _file(folder, file)
    _replace(path, np.random.default_rng(seed).bytes(path.stat().st_size))

    _check_told_or_true(folder, before)


def _replace(path: Path, content: bytes) -> None:
    """By another file: one that is mapped cannot be cut without SIGBUS."""
    path.unlink()
    path.write_bytes(content)
    gc.collect()


def _check_told_or_true(folder: Path, before: list[Any]) -> None:
    """Each use gives what it gave before, or an error with a way out."""
    for use, expected in zip(USES, before, strict=True):
        try:
            found = use(SeriesGroup.open(folder.parent, "g"))
        except NeuralGpuBusError as error:
            found = error.hint and expected
        assert found == expected


@pytest.mark.parametrize("use", [use for at, use in enumerate(USES) if at != ROWS_OF_ONE])
def test_the_error_names_the_file_and_the_way_out(
    folder: Path, use: Callable[[SeriesGroup], Any]
) -> None:
    path = folder / "arenas" / "1"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ProtocolError, match="is damaged: it has 20,000 bytes, its head") as told:
        use(SeriesGroup.open(folder.parent, "g"))

    assert str(path) in told.value.what
    assert f"remove the group's folder {str(folder)!r}" in told.value.hint
