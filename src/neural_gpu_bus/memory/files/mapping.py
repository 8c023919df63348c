"""Files mapped into memory: the one place that calls mmap.

Through ctypes, because Python's own mmap keeps a file descriptor open for each mapping (until 3.13)
and so ends at 1,024 datasets on an ordinary host.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import HostError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value

#: The same on Linux and macOS; Python's mmap has no name for it.
_FIXED = 0x10
#: Linux faults a writer's pages in at once, in one call instead of one trap for each 4 KiB.
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
_ADDRESSES_ONLY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
#: fcntl command of macOS that reserves blocks on the disk (sys/fcntl.h), and its record.
_F_PREALLOCATE = 42
_F_ALLOCATEALL = 4
_F_PEOFPOSMODE = 3


class FileMapping:
    """A whole file in memory, unmapped when the last thing that refers to its bytes is gone.

    numpy arrays made of it hold it as their base, and Arrow buffers hold the arrays. Without
    ``writable`` the pages are PROT_READ and no array over them can be made writable. ``private``:
    writable, but what is written stays in this process, on pages of its own. ``block``: uuid of
    the block it maps. ``at_end`` is called when it is unmapped; it must not raise.
    """

    __slots__ = (
        "__array_interface__",
        "__weakref__",
        "_at_end",
        "_unmap",
        "address",
        "block",
        "nbytes",
    )

    def __init__(
        self,
        descriptor: int,
        nbytes: int,
        *,
        writable: bool = False,
        private: bool = False,
        block: str = "",
        at_end: Callable[[], object] | None = None,
    ) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable or private else 0)
        sharing = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
        flags = sharing | (_POPULATE if writable else 0)
        self._at_end: Callable[[], object] | None = None
        self.block = block
        self.nbytes = nbytes
        # Addresses first: making pages takes milliseconds, an interrupt meanwhile comes between the
        # call and its answer, and what nobody knows the address of stays mapped for good.
        self.address = address = _mapped(None, nbytes, 0, _ADDRESSES_ONLY, -1)
        self._unmap = _libc.munmap  # module globals may be gone when the last array dies
        _mapped(address, nbytes, protection, flags | _FIXED, descriptor)
        self._at_end = at_end
        self.__array_interface__: dict[str, Any] = {
            "data": (address, not (writable or private)),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def array(self) -> npt.NDArray[np.uint8]:
        """The bytes; keeps the mapping alive."""
        import numpy as np

        return np.asarray(self)

    def part(self, descriptor: int) -> None:
        """From now on what is written here stays in this process: arrays that somebody kept go on
        showing the same bytes, and change the file no more.
        """
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        flags = mmap.MAP_PRIVATE | _FIXED
        if _libc.mmap(self.address, self.nbytes, protection, flags, descriptor, 0) == _FAILED:
            raise HostError(
                f"mapping {self.nbytes} bytes anew failed: {os.strerror(ctypes.get_errno())}",
                hint="raise vm.max_map_count, or hold fewer frames at once",
            )

    def __del__(self) -> None:
        if hasattr(self, "_unmap"):
            self._unmap(self.address, self.nbytes)
            if self._at_end is not None:
                self._at_end()


def _mapped(address: int | None, nbytes: int, protection: int, flags: int, descriptor: int) -> int:
    found: int = _libc.mmap(address, nbytes, protection, flags, descriptor, 0)
    if found == _FAILED:
        raise HostError(
            f"mapping {nbytes} bytes failed: {os.strerror(ctypes.get_errno())}",
            hint="raise vm.max_map_count, or hold fewer frames at once",
        )
    return found


class FileTooShortError(OSError):
    """A file that must not be mapped: whoever reads what is not there gets SIGBUS."""


def map_path(path: Path, bytes_min: int = 1, *, writable: bool = False) -> FileMapping:
    """All of a file that is there. Raises OSError, FileTooShortError for under ``bytes_min``."""
    file = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW)
    try:
        nbytes = os.fstat(file).st_size
        if nbytes < bytes_min:
            why = f"{nbytes:,} bytes where {bytes_min:,} are the least"
            raise FileTooShortError(errno.EINVAL, why, str(path))
        return FileMapping(file, nbytes, writable=writable)
    finally:
        os.close(file)


def allocate(descriptor: int, nbytes: int) -> None:
    """Give a new file its size with every page behind it, so that no write can fail later.

    Raises OSError (ENOSPC and others) where there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, nbytes)
    elif sys.platform == "darwin":
        _allocate_darwin(descriptor, nbytes)
    else:
        for start in range(0, nbytes, mmap.PAGESIZE):
            os.pwrite(descriptor, b"\0" * min(mmap.PAGESIZE, nbytes - start), start)


def _allocate_darwin(descriptor: int, nbytes: int) -> None:
    import fcntl
    import struct

    request = struct.pack("=Iiqqq", _F_ALLOCATEALL, _F_PEOFPOSMODE, 0, nbytes, 0)
    fcntl.fcntl(descriptor, _F_PREALLOCATE, request)
    os.ftruncate(descriptor, nbytes)
