"""What the machine itself takes: mapping a file, copying memory into pages that are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neural_gpu_bus.benchmarks.memory.place import Place
from neural_gpu_bus.memory.files.mapping import FileMapping, allocate

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class OpenAndMap(Place):
    """Open, fstat, mmap, close, and one byte read: a page fault. No columns come of it."""

    title: ClassVar[str] = "open, map, one page fault"
    paths: dict[str, str]

    def put(self, key: str, matrix: Matrix) -> None:
        """The files are there."""

    def find(self, key: str) -> Any:
        """A mapping of the file."""
        file = os.open(self.paths[key], os.O_RDONLY | os.O_NOFOLLOW)
        mapping = FileMapping(file, os.fstat(file).st_size).array()
        os.close(file)
        mapping[0].item()
        return mapping

    def columns(self, _found: Any) -> Mapping[str, Any]:
        """None."""
        return {}

    def drop(self, key: str) -> None:
        """The files are not its own."""


def faulted(folder: Path, matrix: Matrix) -> Matrix:
    """Shared memory of the same shape, mapped for writing, with all its pages there."""
    path = folder / "faulted"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        allocate(file, matrix.nbytes)
        mapping = FileMapping(file, matrix.nbytes, writable=True).array()
    finally:
        os.close(file)
        path.unlink()
    mapping[::_PAGE_BYTES] = 1
    target: Matrix = mapping.view(np.float64).reshape(matrix.shape)
    return target
