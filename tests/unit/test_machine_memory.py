"""Memory that may be counted on: the container's limit, where it is less than the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neural_gpu_bus.machine_memory import container_limit_bytes, usable_memory_bytes


@pytest.mark.parametrize(("text", "limit"), [("4294967296\n", 1 << 32), ("max\n", sys.maxsize)])
def test_the_limit_is_read_from_the_control_group(tmp_path: Path, text: str, limit: int) -> None:
    file = tmp_path / "memory.max"
    file.write_text(text)

    assert container_limit_bytes((file,)) == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert container_limit_bytes((tmp_path / "missing",)) == sys.maxsize


def test_usable_memory_is_some() -> None:
    assert 0 < usable_memory_bytes() <= container_limit_bytes()
