"""A memory folder of its own for each test, in real shared memory where there is any."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_gpu_bus.memory import UnifiedMemory

BYTES_MAX = 256 << 20


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """An empty folder, private to this user, gone after the test."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="ngb-test-", dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def memory(memory_folder: Path) -> Iterator[UnifiedMemory]:
    """Unified memory over that folder."""
    opened = UnifiedMemory(memory_folder, BYTES_MAX)
    yield opened
    opened.close()
