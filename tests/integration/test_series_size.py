"""Many partitions: few files, few maps, and a cost of appending that stays what it was."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.memory.series import SeriesGroup, series_bytes

SCHEMA = pa.schema(
    [("instrument", pa.int32()), ("bar", pa.string()), ("ts", pa.int64()), ("x", pa.float64())]
)
PARTITIONS = 10_000
ROWS = 30


def _maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process maps")
def test_ten_thousand_partitions_take_few_files_and_maps(memory_folder: Path) -> None:
    group = SeriesGroup.create(memory_folder, "g")
    group.series("s", SCHEMA, ["instrument", "bar"], "ts")
    instruments = np.arange(PARTITIONS, dtype="i4") // 2
    bars = np.where(np.arange(PARTITIONS) % 2 == 0, "1m", "1h")
    with group.writer() as opened:
        for step in range(ROWS):
            columns = {
                "instrument": instruments,
                "bar": bars.tolist(),
                "ts": np.full(PARTITIONS, step),
                "x": instruments * 1000.0 + step,
            }
            opened.append("s", columns)
            opened.publish()
        assert len(list((group.folder / "arenas").iterdir())) < 20
    files, maps = _files(), _maps()
    series = SeriesGroup.open(memory_folder, "g").series("s")
    frames = [series.last(7, instrument=at, bar="1h") for at in range(PARTITIONS // 2)]
    snapshot = series.snapshot()

    for at, frame in enumerate(frames):
        assert frame["x"].tolist() == [at * 1000.0 + step for step in range(ROWS - 7, ROWS)]
    assert snapshot.rows() == PARTITIONS * ROWS
    assert len(snapshot.partitions()) == PARTITIONS
    assert snapshot.arrow()["x"].to_numpy().sum() == sum(
        (instruments * 1000.0 + step).sum() for step in range(ROWS)
    )
    assert _files() <= files
    assert _maps() - maps < 50
    assert series_bytes(memory_folder) == group.count_bytes()


def _copied_rows(folder: Path, rows: int, step: int) -> float:
    """Rows copied for each that was appended, one partition of that length."""
    group = SeriesGroup.create(folder, f"g{rows}")
    group.series("s", SCHEMA, ["instrument", "bar"], "ts", chunk_rows_max=4096, overlap_rows=256)
    with group.writer() as opened:
        for first in range(0, rows, step):
            moments = np.arange(first, first + step)
            zeros = np.zeros(step, "i4")
            columns = {"instrument": zeros, "bar": ["1m"] * step, "ts": moments, "x": moments * 1.0}
            opened.append("s", columns)
            opened.publish()
        found = opened.statistics
    assert found.appended_rows == rows
    assert group.series("s").last(256, instrument=0, bar="1m")["ts"][-1] == rows - 1
    return (found.grown_rows + found.rewritten_rows) / found.appended_rows


@pytest.mark.slow
def test_rows_copied_for_each_appended_stay_few_however_long_a_partition(
    memory_folder: Path,
) -> None:
    copied = [_copied_rows(memory_folder, rows, 128) for rows in (4096, 16_384, 65_536, 131_072)]

    assert all(ratio < 2 for ratio in copied)
    assert copied[-1] < copied[1] * 1.2


def test_an_update_writes_a_chunk_or_two_again_and_no_more(memory_folder: Path) -> None:
    group = SeriesGroup.create(memory_folder, "g")
    series = group.series(
        "s", SCHEMA, ["instrument", "bar"], "ts", chunk_rows_max=1024, overlap_rows=128
    )
    rows = 20_000
    with group.writer() as opened:
        moments = np.arange(rows)
        zeros = np.zeros(rows, "i4")
        opened.append(
            "s", {"instrument": zeros, "bar": ["1m"] * rows, "ts": moments, "x": moments * 1.0}
        )
        opened.publish()
        for place in (0, 700, 9_999, rows - 1):
            before = opened.statistics.rewritten_rows
            one = {"instrument": zeros[:1], "bar": ["1m"], "ts": [place], "x": [-1.0]}
            assert opened.update("s", one) == 1
            opened.publish()
            assert opened.statistics.rewritten_rows - before <= 2 * 1024
            assert series.frame(instrument=0, bar="1m")["x"][place] == -1.0
