"""Series between threads of one process."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from neural_gpu_bus.memory.series import SeriesGroup

THREADS, APPENDS = 8, 50


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads are switched a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("frequent_switches")
def test_threads_that_share_a_writer_lose_no_row(memory_folder: Path) -> None:
    group = SeriesGroup.create(memory_folder, "g")
    schema = pa.schema([("k", pa.string()), ("thread", pa.int64()), ("step", pa.int64())])
    series = group.series("s", schema, ["k"])
    with group.writer() as opened:

        def appended(thread: int) -> int:
            for step in range(APPENDS):
                rows = {"k": [f"{step % 3}"], "thread": [thread], "step": [step]}
                opened.append("s", rows)
                if step % 10 == thread:
                    opened.publish()
            return thread

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(appended, range(THREADS))) == list(range(THREADS))
        opened.publish()

    assert series.rows() == THREADS * APPENDS
    table = series.arrow()
    found = sorted(zip(table["thread"].to_pylist(), table["step"].to_pylist(), strict=True))
    assert found == [(thread, step) for thread in range(THREADS) for step in range(APPENDS)]
