"""A small file of fixed records that every process of a memory folder maps and writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.files.folder import foreign_table, make_file, no_room_told
from neural_gpu_bus.memory.files.mapping import allocate, map_path

if TYPE_CHECKING:
    import numpy.typing as npt


class SharedTable:
    """Records of one numpy type in shared memory.

    Every page is allocated before it is mapped, so that no write can end in SIGBUS. ``open`` and
    ``grow`` are called by one process at a time: under the lock of the folder or of the index.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, count: int) -> None:
        """Open the table; make it, of ``count`` records of zeros, where it is not there.

        Raises SharedMemoryFullError, HostError for a file that is none of ours.
        """
        import numpy as np

        self._path = path
        self._dtype = np.dtype(dtype)
        self._bytes_min = count * self._dtype.itemsize
        if not path.exists():
            self._make(count)
        self._map()

    def grow(self, count: int) -> None:
        """Have at least so many records; those added are zeros. Raises SharedMemoryFullError."""
        needed = count * self._dtype.itemsize
        file = os.open(self._path, os.O_RDWR)
        try:
            # Longer, never shorter: whoever maps the file keeps what he has.
            if os.fstat(file).st_size < needed:
                with no_room_told(self._path.parent, needed):
                    allocate(file, needed)
        finally:
            os.close(file)
        self._map()

    def refresh(self) -> None:
        """See the records that another process added."""
        if self._path.stat().st_size > self.records.nbytes:
            self._map()

    def _make(self, count: int) -> None:
        """Under another name first: nobody may map a file that is shorter than it will be."""
        making = self._path.with_suffix(".making")
        nbytes = count * self._dtype.itemsize
        making.unlink(missing_ok=True)
        file = make_file(making)
        try:
            with no_room_told(self._path.parent, nbytes):
                allocate(file, nbytes)
        finally:
            os.close(file)
        making.rename(self._path)

    def _map(self) -> None:
        try:
            array = map_path(self._path, self._bytes_min, writable=True).array()
        except OSError as error:
            raise foreign_table(self._path, str(error.strerror)) from None
        array = array[: len(array) // self._dtype.itemsize * self._dtype.itemsize]
        self.records: npt.NDArray[Any] = array.view(self._dtype)
        #: The same as bytes: one field of one record costs a tenth of numpy's.
        self.buffer = memoryview(array).cast("B")  # type: ignore[arg-type]  # numpy's stub
