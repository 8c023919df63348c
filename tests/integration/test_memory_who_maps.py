"""Who maps what, told by real processes: stopped, foreign, and gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fix_servers import wait_until
from neural_gpu_bus.memory.accounting.process_statistics import process_statistics
from neural_gpu_bus.memory.accounting.processes import ProcessTable
from neural_gpu_bus.memory.files import folder as folders

NBYTES = 1 << 16
#: A reader without this package, as pyarrow or Polars by path.
FOREIGN = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("mapped", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def block(memory_folder: Path) -> Path:
    """A file where named blocks lie."""
    path = folders.prepare(memory_folder) / "datasets" / f"{uuid.uuid4().hex}.arrow"
    path.write_bytes(bytes(NBYTES))
    return path


@contextmanager
def reader(program: str, *arguments: object) -> Iterator[int]:
    """Pid of a process that runs the program and has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mapped\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists another process's maps")
def test_a_foreign_reader_that_is_stopped_shows_with_what_it_holds(
    block: Path, memory_folder: Path
) -> None:
    table = ProcessTable(memory_folder)

    with reader(FOREIGN, block) as pid:
        os.kill(pid, signal.SIGSTOP)
        stopped = psutil.Process(pid)
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "the stop")
        (before,), _ = process_statistics(memory_folder, table.records())
        block.unlink()
        (after,), _ = process_statistics(memory_folder, table.records())

    assert (before.pid, before.state, before.gone_bytes) == (pid, "stopped", 0)
    assert (after.mapped_blocks, after.mapped_bytes, after.gone_bytes) == (1, NBYTES, NBYTES)
    assert after.gone_since_ns == 0  # nobody wrote it down
    assert process_statistics(memory_folder, table.records()) == ((), {})
