"""One long stretch of memory that a reply is received into, and that is used again.

Memory that was never touched is dear: 80 MiB cost 81 ms in pages of 4 KiB, 15 ms in huge ones, and
0.5 ms the second time, where decoding what is received into it costs 35 (docs/decisions/003). So
huge pages are asked for, and the first part stays in memory between queries.
"""

from __future__ import annotations

import mmap
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from neural_gpu_bus.errors import BadSettingError, QueryError

if TYPE_CHECKING:
    import numpy.typing as npt

#: What stays in memory between queries: one reply of 1,500,000 rows x 6.
KEPT_BYTES_MAX = 128 << 20

#: Most bytes for one call into the kernel: what a socket holds at once is less.
RECEIVE_BYTES = 1 << 20

MIB = 1 << 20


#: Several buffers of one read take from its limit in pieces of this size.
GRANT_BYTES = 8 << 20
#: Of a small limit, at least so many for each buffer.
GRANTS_MIN = 8


#: Addresses alone are not counted as memory; else a fork of a process with several buffers fails.
#: Python knows the flag since 3.13 (asm-generic/mman.h has the number).
_NO_RESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class Allowance:
    """Bytes that all buffers of one read may still receive; thread-safe."""

    def __init__(self, bytes_max: int, buffers: int) -> None:
        self.bytes_max = bytes_max
        #: Small enough that none takes what another needs.
        self._grant_bytes = max(1, min(GRANT_BYTES, bytes_max // (GRANTS_MIN * buffers)))
        self._left = bytes_max
        self._lock = threading.Lock()

    def take(self) -> int:
        """Some of it; 0 where nothing is left."""
        with self._lock:
            taken = min(self._grant_bytes, self._left)
            self._left -= taken
        return taken


class ReceiveBuffer:
    """``bytes_max`` bytes of addresses; memory comes with the first touch of each page."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
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
        #: Bytes whose pages may be in memory.
        self.touched_bytes = 0
        #: What the server expects of the reply, in words; empty where it was not asked.
        self.expected = ""
        self._granted = bytes_max
        self._allowance: Allowance | None = None

    def share(self, allowance: Allowance) -> None:
        """Take room from what several buffers may receive together."""
        self._granted, self._allowance = 0, allowance

    def free(self) -> memoryview:
        """Where the next bytes go. Raises QueryError when the limit is reached."""
        if self.stop >= self._granted:
            self._grow()
        return self.view[self.stop : min(self.stop + RECEIVE_BYTES, self._granted)]

    def _grow(self) -> None:
        bytes_max, more = self.bytes_max, 0
        if self._allowance is not None:
            bytes_max, more = self._allowance.bytes_max, self._allowance.take()
        if not more:
            raise QueryError(
                f"the reply is larger than {bytes_max // MIB} MiB{self.expected}",
                hint="read fewer columns or rows (WHERE, LIMIT), aggregate in the statement, "
                "read it in batches (plane.stream), or raise NGB_QUERY_BYTES_MAX",
                sqlstate=None,
                received_bytes=bytes_max,
            )
        self._granted = min(self._granted + more, self.bytes_max)

    def cut_out(self, start: int, size: int) -> None:
        """Remove bytes; what follows moves up."""
        self.view[start : self.stop - size] = self.view[start + size : self.stop]
        self.touched_bytes = max(self.touched_bytes, self.stop)
        self.stop -= size

    def clear(self, kept_bytes_max: int) -> None:
        """Forget the reply; memory above ``kept_bytes_max`` goes back to the system."""
        self.touched_bytes = max(self.touched_bytes, self.stop)
        kept_bytes = -(-kept_bytes_max // mmap.PAGESIZE) * mmap.PAGESIZE
        if self.touched_bytes > kept_bytes and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED, kept_bytes, self.bytes_max - kept_bytes)
            self.touched_bytes = kept_bytes
        self.stop, self.expected = 0, ""
        self._granted, self._allowance = self.bytes_max, None


class ReceiveBuffers:
    """Lends buffers to queries that run at once; those with most in memory are lent first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = -(-bytes_max // mmap.PAGESIZE) * mmap.PAGESIZE
        self._lock = threading.Lock()
        self._kept: list[ReceiveBuffer] = []

    @contextmanager
    def lend(self) -> Iterator[ReceiveBuffer]:
        """An empty buffer for the body."""
        with self._lock:
            buffer = self._kept.pop() if self._kept else None
        if buffer is None:
            buffer = ReceiveBuffer(self.bytes_max)
        try:
            yield buffer
        finally:
            self._keep(buffer)

    @contextmanager
    def lend_several(self, count: int) -> Iterator[list[ReceiveBuffer]]:
        """Empty buffers for the body, which together receive no more than one may."""
        with ExitStack() as lent:
            buffers = [lent.enter_context(self.lend()) for _ in range(count)]
            if count > 1:
                allowance = Allowance(self.bytes_max, count)
                for buffer in buffers:
                    buffer.share(allowance)
            yield buffers

    def close(self) -> None:
        """Give the kept memory back."""
        with self._lock:
            self._kept.clear()

    def _keep(self, buffer: ReceiveBuffer) -> None:
        """For the next one, as far as all that are kept stay within ``KEPT_BYTES_MAX``."""
        with self._lock:
            room = KEPT_BYTES_MAX - sum(kept.touched_bytes for kept in self._kept)
            buffer.clear(max(room, 0))
            if room > 0:
                self._kept.append(buffer)
                self._kept.sort(key=lambda kept: kept.touched_bytes)
