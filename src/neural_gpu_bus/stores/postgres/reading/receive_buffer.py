"""One long stretch of memory that a reply is received into, and that is used again.

Memory that was never touched is dear: 80 MiB cost 81 ms in pages of 4 KiB, 15 ms in huge ones, and
0.5 ms the second time, where decoding what is received into it costs 35 (docs/decisions/003). So
huge pages are asked for, and the first part stays in memory between queries.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.errors import BadSettingError, QueryError

if TYPE_CHECKING:
    import numpy.typing as npt

#: What stays in memory between queries: one reply of 1,500,000 rows x 6.
KEPT_BYTES_MAX = 128 << 20

#: Most bytes for one call into the kernel: what a socket holds at once is less.
RECEIVE_BYTES = 1 << 20

MIB = 1 << 20


class ReceiveBuffer:
    """``bytes_max`` bytes of addresses; memory comes with the first touch of each page."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        try:
            self._mapping = mmap.mmap(-1, bytes_max, flags=flags)
        except OSError as error:
            raise BadSettingError(
                f"no room for a receive buffer of {bytes_max // MIB} MiB of addresses: {error}",
                hint="set NGB_QUERY_BYTES_MAX lower, or raise the limit (ulimit -v)",
                setting="query_bytes_max",
            ) from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._mapping.madvise(mmap.MADV_HUGEPAGE)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._mapping, np.uint8)
        self.view = memoryview(self._mapping)
        self.stop = 0

    def free(self) -> memoryview:
        """Where the next bytes go. Raises QueryError when the limit is reached."""
        if self.stop == self.bytes_max:
            raise QueryError(
                f"the reply is larger than {self.bytes_max // MIB} MiB",
                hint="read fewer columns or rows (WHERE, LIMIT), aggregate in the statement, or "
                "raise NGB_QUERY_BYTES_MAX",
                sqlstate=None,
                received_bytes=self.stop,
            )
        return self.view[self.stop : self.stop + RECEIVE_BYTES]

    def cut_out(self, start: int, size: int) -> None:
        """Remove bytes; what follows moves up."""
        self.view[start : self.stop - size] = self.view[start + size : self.stop]
        self.stop -= size

    def clear(self) -> None:
        """Forget the reply; memory above ``KEPT_BYTES_MAX`` goes back to the system."""
        if self.stop > KEPT_BYTES_MAX and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(
                mmap.MADV_DONTNEED, KEPT_BYTES_MAX, self.bytes_max - KEPT_BYTES_MAX
            )
        self.stop = 0


class ReceiveBuffers:
    """Lends buffers to queries that run at once; one is kept for the next."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = -(-bytes_max // mmap.PAGESIZE) * mmap.PAGESIZE
        self._lock = threading.Lock()
        self._kept: ReceiveBuffer | None = None

    @contextmanager
    def lend(self) -> Iterator[ReceiveBuffer]:
        """An empty buffer for the body."""
        with self._lock:
            buffer, self._kept = self._kept, None
        if buffer is None:
            buffer = ReceiveBuffer(self._bytes_max)
        try:
            yield buffer
        finally:
            buffer.clear()
            with self._lock:
                self._kept = buffer

    def close(self) -> None:
        """Give the kept memory back."""
        with self._lock:
            self._kept = None
