"""Bytes to throw away where a file system is so full that nothing can be taken out of it.

A drop is a write to the index, which takes new pages before it gives any back. A file that nobody
reads keeps some for that.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from neural_gpu_bus.errors import NeuralGpuBusError, SharedMemoryFullError
from neural_gpu_bus.memory.files.folder import TABLES, open_table
from neural_gpu_bus.memory.files.mapping import allocate

#: A transaction that drops a name changes about ten pages of 4 KiB.
BALLAST_BYTES = 128 << 10

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class Ballast:
    """The ballast of one memory folder; loaded where there is room for it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLES / "ballast"
        self._thrown = True
        self.load_again()

    def throw(self) -> None:
        """Give the pages to whoever writes next."""
        self._thrown = True
        with suppress(OSError):
            os.truncate(self._path, 0)

    def load_again(self) -> None:
        """After it was thrown here, as soon as there is room again."""
        if not self._thrown:
            return
        with suppress(OSError, NeuralGpuBusError):
            file = open_table(self._path)
            try:
                allocate(file, BALLAST_BYTES)
            finally:
                os.close(file)
            self._thrown = False


def with_ballast(
    change: Callable[Concatenate[Any, _Given], _Answer],
) -> Callable[Concatenate[Any, _Given], _Answer]:
    """A method that frees memory, of a class with a ``ballast``: without room it is tried again."""

    @functools.wraps(change)
    def tried(self: Any, *given: _Given.args, **named: _Given.kwargs) -> _Answer:
        try:
            return change(self, *given, **named)
        except SharedMemoryFullError:
            self.ballast.throw()
            return change(self, *given, **named)

    return tried  # type: ignore[return-value]  # its own type has ``self`` by name
