"""What a series asks of the memory it lies in: room, and a mapping that is counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from neural_gpu_bus.memory.files.folder import SERIES
from neural_gpu_bus.memory.files.mapping import FileMapping

#: Maps an open file of that size and name (its path within the memory folder); whoever counts
#: what a process maps puts itself here.
MapFile = Callable[[int, int, str], FileMapping]


class Budget(Protocol):
    """Who says whether there is room."""

    def claimed(self, nbytes: int) -> AbstractContextManager[None]:
        """Within it that many bytes more count as taken; afterwards the group counts them itself.

        Raises SharedMemoryFullError where they are too many.
        """

    def give_back(self, nbytes: int) -> None:
        """That many of the bytes claimed are free again."""


class NoBudget:
    """Only the file system says no."""

    def claimed(self, nbytes: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Always room."""
        return nullcontext()

    def give_back(self, nbytes: int) -> None:
        """Nobody counts."""


def map_file(descriptor: int, nbytes: int, name: str) -> FileMapping:  # noqa: ARG001
    """A read-only mapping that nobody counts."""
    return FileMapping(descriptor, nbytes)


def file_name(path: Path) -> str:
    """A file of a series as its memory folder calls it: ``series/<group>/...``."""
    parts = path.parts
    return "/".join(parts[parts.index(SERIES) :]) if SERIES in parts else path.name
