"""Tables of every type, as put, and as pyarrow, Polars and DuckDB read the block's own file."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.layout.arrow_layout import ALIGNMENT_BYTES
from random_arrow import random_column, random_type

SEEDS = range(60)
#: Types that Polars 2.1 cannot read, alone or within others, from any file.
NOT_IN_POLARS = re.compile("interval|decimal(32|64|256)")
#: The same for DuckDB 2.0; dictionaries in lists and structs it takes only where each has values.
NOT_IN_DUCKDB = re.compile("interval|decimal256|halffloat|(<.*dictionary)")


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnifiedMemory]:
    folder = tmp_path_factory.mktemp("memory")
    folder.chmod(0o700)
    opened = UnifiedMemory(folder, 256 << 20)
    yield opened
    opened.close()


def random_table(seed: int) -> pa.Table:
    """Up to six columns of up to 40 rows, nested up to three times."""
    random = np.random.default_rng(seed)
    rows = int(random.choice([0, 1, 7, 8, 40]))
    kinds = [random_type(random, depth=seed % 4) for _ in range(random.integers(1, 7))]
    return pa.table(
        {f"c{place}": random_column(random, kind, rows) for place, kind in enumerate(kinds)}
    )


def file_of(memory: UnifiedMemory, frame: Any) -> Path:
    return memory.folder / frame.descriptor.path


def without(unknown: re.Pattern[str], table: pa.Table) -> pa.Table:
    """Columns of other types, and one more, so that there are some."""
    kept = [field.name for field in table.schema if not unknown.search(str(field.type))]
    return table.select(kept).append_column("row", pa.array(np.arange(table.num_rows)))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_put_is_what_is_read(memory: UnifiedMemory, seed: int) -> None:
    given = random_table(seed)
    given.validate(full=True)
    read = memory.share(given).arrow()

    read.validate(full=True)
    assert read.schema == given.schema
    assert read.to_pylist() == given.to_pylist()


def mapped(memory: UnifiedMemory, frame: Any) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(file_of(memory, frame)))).read_all()


@pytest.mark.parametrize("seed", SEEDS)
def test_pyarrow_maps_the_file(memory: UnifiedMemory, seed: int) -> None:
    given = random_table(seed)

    assert mapped(memory, memory.share(given)).to_pylist() == given.to_pylist()


@pytest.mark.parametrize("seed", SEEDS)
def test_polars_reads_the_file_by_path(memory: UnifiedMemory, seed: int) -> None:
    given = without(NOT_IN_POLARS, random_table(seed))
    frame = memory.share(given)
    expected = pl.DataFrame(frame.arrow())  # it refuses fixed-size lists that are slices

    assert pl.read_ipc(file_of(memory, frame)).equals(expected)
    assert pl.scan_ipc(file_of(memory, frame)).collect().equals(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_duckdb_scans_the_mapped_file(memory: UnifiedMemory, seed: int) -> None:
    given = without(NOT_IN_DUCKDB, random_table(seed))
    scanned = duckdb.from_arrow(mapped(memory, memory.share(given)))

    anew = given.take(pa.array(np.arange(given.num_rows)))  # it refuses structs that are slices
    assert scanned.fetchall() == duckdb.from_arrow(anew).fetchall()


def buffers_of(memory: UnifiedMemory, frame: Any) -> tuple[pa.Buffer, list[pa.Buffer]]:
    """The whole file mapped, and all buffers with bytes in it, but for values of dictionaries."""
    with file_of(memory, frame).open("rb") as file:
        block = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    columns = pa.ipc.open_file(block).get_batch(0).columns
    return block, [b for column in columns for b in column.buffers() if b is not None and b.size]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_buffer_lies_in_the_mapping_on_its_boundary(memory: UnifiedMemory, seed: int) -> None:
    block, buffers = buffers_of(memory, memory.share(random_table(seed)))
    places = [buffer.address - block.address for buffer in buffers]

    assert all(0 < place < block.size for place in places)
    assert [place % ALIGNMENT_BYTES for place in places] == [0] * len(places)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_columns_are_equal_bytes(memory: UnifiedMemory, seed: int) -> None:
    """However they are cut, and whatever lies under their NULLs."""
    given = random_table(seed)
    whole = memory.share(given)
    parts = memory.share(pa.concat_tables([whole.arrow().slice(0, 3), whole.arrow().slice(3)]))
    anew = memory.share(given.take(pa.array(np.arange(given.num_rows))))

    found = [
        [buffer.to_pybytes() for buffer in buffers_of(memory, frame)[1]]
        for frame in (whole, parts, anew)
    ]
    assert found[1] == found[0]
    assert found[2] == found[0]
