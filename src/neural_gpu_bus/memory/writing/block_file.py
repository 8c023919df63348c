"""The file of a block while it is being filled: made or taken over, given back or sealed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.descriptors import Region
from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.memory.files.folder import make_file
from neural_gpu_bus.memory.files.mapping import FileMapping, allocate
from neural_gpu_bus.memory.files.page_reuse import WrittenFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_open_files: weakref.WeakSet[BlockFile] = weakref.WeakSet()


class BlockFile:
    """A file of its full size with memory behind every page, mapped for writing."""

    __slots__ = (
        "__weakref__",
        "_given_back",
        "_is_named",
        "_pid",
        "exposed",
        "forked",
        "nbytes",
        "region",
        "uuid",
        "written",
    )

    def __init__(
        self,
        written: WrittenFile,
        nbytes: int,
        region: Region,
        given_back: Callable[[Region, int], object],
    ) -> None:
        self.uuid = written.uuid
        self.nbytes = nbytes
        self.region = region
        self.written: WrittenFile | None = None
        #: Whether somebody may still hold an array over the writer's mapping.
        self.exposed = True
        #: Whether a child made by fork has the writer's mapping too.
        self.forked = False
        self._given_back = given_back
        self._is_named: Callable[[], bool] = bool  # no
        self._pid = os.getpid()
        _open_files.add(self)
        self.written = written  # last: from here on it is this file that gives it back

    def array(self) -> npt.NDArray[np.uint8]:
        """The block's bytes, writable."""
        assert self.written is not None  # noqa: S101  asked for once, at the start
        return self.written.mapping.array()[: self.nbytes]

    @property
    def path(self) -> Path:
        """Where the file lies now."""
        assert self.written is not None  # noqa: S101  until it is sealed
        return self.written.path

    def part(self) -> None:
        """Before it is seen by others: what somebody still writes changes it no more."""
        if self.written is not None:
            self.written.mapping.part(self.written.file)

    def move(self, target: Path, is_named: Callable[[], bool]) -> None:
        """Put it in its place, for an index that may know it a moment later: ``is_named``."""
        assert self.written is not None  # noqa: S101  until it is sealed
        self._is_named = is_named
        self.written.path.rename(target)
        self.written.path = target

    def _is_published(self) -> bool:
        """An interrupt may come when the index has it already. Where nobody can say, the file
        stays: a sweep takes what no entry names.
        """
        with suppress(NeuralGpuBusError):
            return self._is_named()
        return True

    def abandon(self) -> None:
        """Give the memory back. In a child made by fork nothing: the file is its parent's."""
        written, self.written = self.written, None
        if written is None:
            return
        if os.getpid() == self._pid:
            if not self._is_published():
                written.path.unlink(missing_ok=True)
            self._given_back(self.region, self.nbytes)
        written.close()

    def __del__(self) -> None:
        # An interrupt lost it on its way to the reservation that would have given it back.
        with suppress(Exception):
            self.abandon()


def make(path: Path, nbytes: int, uuid: str) -> WrittenFile:
    """A new file of zeros. Raises OSError where there is no room; then nothing is left."""
    file = -1
    try:
        file = make_file(path)
        allocate(file, nbytes)
        return WrittenFile(path, file, FileMapping(file, nbytes, writable=True), uuid)
    except BaseException:
        path.unlink(missing_ok=True)
        if file >= 0:
            os.close(file)
        raise


def take_over(spare: WrittenFile, path: Path, nbytes: int, uuid: str) -> WrittenFile:
    """A spare file as that of a new block: of the right size, under its own name."""
    try:
        there = os.fstat(spare.file).st_size
        # Shorter is safe: nobody else has it mapped, and we look at no page beyond the end.
        os.ftruncate(spare.file, nbytes)
        if nbytes > there:  # only then: looking at 10,000 pages that are there takes 0.7 ms
            allocate(spare.file, nbytes)
        mode = os.fstat(spare.file).st_mode
        os.fchmod(spare.file, mode | (mode & 0o440) >> 1)  # who may read may write again
        spare.path.rename(path)
    except BaseException:
        spare.path.unlink(missing_ok=True)
        spare.close()
        raise
    spare.path, spare.uuid = path, uuid
    return spare


def _before_fork() -> None:
    for file in list(_open_files):
        file.forked = True


def _after_fork_in_child() -> None:
    """The block is the parent's: what the child writes into the arrays it inherited is its own."""
    for file in list(_open_files):
        with suppress(NeuralGpuBusError):
            file.part()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
