"""An array's block and place are found through whatever views lie between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.frames.origin import origin

BLOCK = "0123456789abcdef" * 2


def mapped(folder: Path, **how: Any) -> Any:
    path = folder / "block"
    path.write_bytes(bytes(range(64)) * 64)
    file = os.open(path, os.O_RDWR)
    try:
        return FileMapping(file, 4096, **how).array()
    finally:
        os.close(file)


def test_views_of_views_lead_to_the_block(tmp_path: Path) -> None:
    block = mapped(tmp_path, block=BLOCK)
    floats = block[128:1152].view("<f8")

    assert origin(block) == (BLOCK, 0)
    assert origin(floats) == (BLOCK, 128)
    assert origin(floats[16:].reshape(4, -1).T[2:]) == (BLOCK, 128 + 16 * 8 + 2 * 8)
    assert origin(floats[::-1]) == (BLOCK, 1152 - 8)
    assert origin(np.frombuffer(memoryview(block)[256:], "<i4")) == (BLOCK, 256)


@pytest.mark.parametrize(
    "how",
    [{"block": ""}, {"block": BLOCK, "writable": True}, {"block": BLOCK, "private": True}],
    ids=["nameless", "writable", "private"],
)
def test_what_is_no_sealed_block_has_no_origin(tmp_path: Path, how: dict[str, Any]) -> None:
    assert origin(mapped(tmp_path, **how)) is None


def test_copies_have_no_origin(tmp_path: Path) -> None:
    block = mapped(tmp_path, block=BLOCK)

    assert origin(block + 1) is None
    assert origin(block.copy()[3:]) is None
