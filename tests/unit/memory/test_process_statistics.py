"""Statistics as they are put together from counters, lists and what the kernel tells."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.memory.accounting import mapped_files, process_statistics
from neural_gpu_bus.memory.accounting.mapped_files import MappedFile
from neural_gpu_bus.memory.accounting.maps import Kind, OwnMaps
from neural_gpu_bus.memory.accounting.process_statistics import (
    COMMAND_CHARACTERS_MAX,
    engine_uses,
    gone_bytes,
    region_statistics,
    shortened,
)
from neural_gpu_bus.memory.accounting.processes import COUNTERS, ProcessTable
from neural_gpu_bus.memory.files import folder as folders

ONE, TWO = "1" * 32, "2" * 32
LINES = f"""\
7f0000000000-7f0000004000 r--s 00000000 00:1a 10   /dev/shm/ngb/datasets/{ONE}.arrow
7f0000004000-7f0000008000 r--s 00004000 00:1a 10   /dev/shm/ngb/datasets/{ONE}.arrow
7f0000010000-7f0000011000 rw-s 00000000 00:1a 11   /dev/shm/ngb/tables/processes
7f0000020000-7f0000021000 r--s 00000000 00:1a 12   /dev/shm/ngb/sessions/{ONE}/{TWO}.arrow (deleted)
7f0000030000-7f0000040000 r--s 00000000 00:1a 13   /dev/shm/ngb/series/{ONE}/arena 1
7f0000050000-7f0000060000 r--s 00000000 00:1a 14   /dev/shm/ngb-other/datasets/{TWO}.arrow
7f0000060000-7f0000070000 r-xp 00000000 08:01 15   /usr/lib/libc.so.6
7f0000070000-7f0000080000 rw-p 00000000 00:00 0
"""


def test_the_kernels_list_gives_blocks_and_series_of_this_folder_alone() -> None:
    found = mapped_files._mapped_lines(LINES, "/dev/shm/ngb/")

    assert found == [
        MappedFile(ONE, 0x8000, 0, gone=False),
        MappedFile(TWO, 0x1000, 0, gone=True),
        MappedFile(f"series/{ONE}/arena 1", 0x10000, 0, gone=False),
    ]


def test_a_gone_file_counts_once_however_many_map_it() -> None:
    gone = MappedFile(ONE, 100, 5, gone=True)
    mapped = {1: [gone, MappedFile(TWO, 50, 5, gone=False)], 2: [gone]}

    assert gone_bytes(mapped) == 100
    assert mapped_files.mapping_pids(mapped) == {ONE: (1, 2), TWO: (1,)}


def test_region_statistics_take_their_own_place_of_each_counter() -> None:
    sums = np.zeros(1, COUNTERS)[0]
    for first, name in enumerate(("hits", "misses", "evictions", "evicted_bytes", "saved_ns")):
        sums[name] = [first * 10, first * 10 + 1, first * 10 + 2]
    sums["uses"] = [7, 8, 9]

    found = region_statistics(sums, "gpu", bytes_max=5, bytes_used=4, datasets=3)

    assert (found.name, found.bytes_max, found.bytes_used, found.datasets) == ("gpu", 5, 4, 3)
    assert (found.hits, found.misses, found.evictions) == (1, 11, 21)
    assert (found.evicted_bytes, found.saved_ns) == (31, 41)
    assert engine_uses(sums) == {"cpu": 7, "gpu": 8, "neural": 9}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-c", "import x\nx.y()\x1b"], "python -c import x x.y()?"),
        (["a", "--dsn=postgresql://me:secret@host/db"], "a --dsn=postgresql://me:***@host/db"),
        (["a", "host=h password=secret"], "a host=h password=***"),
        (["a", "redis://:secret@host/0"], "a redis://:***@host/0"),
    ],
)
def test_a_command_is_one_line_without_passwords(words: list[str], expected: str) -> None:
    assert shortened(words) == expected


def test_a_long_command_is_cut() -> None:
    text = shortened(["x" * 1000])

    assert len(text) == COMMAND_CHARACTERS_MAX
    assert text.endswith("…")


@pytest.fixture
def joined(memory_folder: Path) -> tuple[ProcessTable, OwnMaps, folders.Session]:
    """This process in a memory folder, by the parts that make it."""
    folder = folders.prepare(memory_folder)
    session, table = folders.Session(folder), ProcessTable(folder)
    table.claim(session.uuid, os.getpid())
    return table, OwnMaps(session.path), session


def test_what_a_process_lists_shows_with_what_of_it_is_gone(
    joined: tuple[ProcessTable, OwnMaps, folders.Session], memory_folder: Path
) -> None:
    table, maps, session = joined
    there, gone, own = (uuid.uuid4().hex for _ in range(3))
    (memory_folder / "datasets" / f"{there}.arrow").touch()
    (session.path / f"{own}.arrow").touch()
    maps.add(there, 1)
    maps.add(gone, 20)
    maps.add(own, 300, Kind.UNNAMED)
    maps.add(uuid.uuid4().hex, 4000, Kind.KEPT)

    (found,), mapped = process_statistics.process_statistics(memory_folder, table.records())

    assert found.pid == os.getpid()
    assert "python" in found.command or "pytest" in found.command
    assert (found.mapped_blocks, found.mapped_bytes, found.gone_bytes) == (4, 4321, 4020)
    assert found.gone_since_ns > 0
    assert gone_bytes(mapped) == 4020


def test_a_record_of_an_ended_session_is_nobody(
    joined: tuple[ProcessTable, OwnMaps, folders.Session], memory_folder: Path
) -> None:
    table, _, session = joined
    session.close()

    assert process_statistics.process_statistics(memory_folder, table.records()) == ((), {})


def test_a_pid_that_means_another_process_here_is_elsewhere(
    joined: tuple[ProcessTable, OwnMaps, folders.Session], memory_folder: Path
) -> None:
    table, _, _ = joined
    records = table.records()
    records["started_ns"] -= np.uint64(3600 * 10**9)

    (found,), _ = process_statistics.process_statistics(memory_folder, records)

    assert (found.state, found.command) == (process_statistics.ELSEWHERE, "")
