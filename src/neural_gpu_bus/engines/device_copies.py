"""What the device has seen is not sent again: copies of blocks' bytes in the device's own memory.

Only where the device has a memory of its own (CUDA). On Apple's unified memory and on every CPU
device nothing is kept, so nothing is held twice. Never run on hardware: tested with libraries' CPU
devices declared to have a memory of their own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Array, ArrayBackend

    #: Uuid of the block that an array is a view of, and its offset there in bytes; None for arrays
    #: of their own.
    Origin = Callable[[Array], tuple[str, int] | None]


class DeviceCopiesStatistics(msgspec.Struct, frozen=True):
    """Device copies of one process at one moment; counts are since it began."""

    bytes_max: int
    #: Of the arrays on the device.
    bytes_used: int
    copies: int
    #: Arrays that were on the device already, and arrays of blocks that had to be sent.
    hits: int
    misses: int
    #: Copies given up for want of room, or because their block is gone.
    evictions: int


class _Key(NamedTuple):
    """The very bytes, and how they are read. A new version of a dataset is another block."""

    block: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: str


class DeviceCopies:
    """Device arrays of one process, the least recently used first to go. Safe for threads.

    ``bytes_max`` bounds them together; an array larger than that is never kept. ``lives`` says
    whether a block can still be had: copies of those that cannot go at the next miss. Kernels
    never write into what a backend's ``from_numpy`` gives.
    """

    def __init__(
        self, bytes_max: int, origin: Origin, *, lives: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._bytes_max = bytes_max
        self._origin = origin
        self._lives = lives
        self._copies: OrderedDict[_Key, Any] = OrderedDict()
        self._nbytes: dict[_Key, int] = {}
        self._bytes_used = 0
        self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def behind(self, backend: ArrayBackend) -> ArrayBackend:
        """That backend, with ``from_numpy`` through these copies where its memory is its own."""
        return backend if backend.unified else BackendWithCopies(backend, self)

    def find_or_send(self, backend: ArrayBackend, array: Array) -> Any:
        """The array on the device: the copy kept, or a new one."""
        found = self._origin(array) if array.nbytes else None
        if found is None or array.nbytes > self._bytes_max:
            return backend.from_numpy(array)
        device = f"{backend.name}:{backend.device}"
        key = _Key(*found, array.dtype.str, array.shape, array.strides, device)
        with self._lock:
            if key in self._copies:
                self._hits += 1
                self._copies.move_to_end(key)
                return self._copies[key]
            self._misses += 1
            self._forget_gone()
        copy = self._sent(backend, array)
        self._keep(key, copy, int(getattr(copy, "nbytes", array.nbytes)))
        return copy

    def forget(self) -> None:
        """Give up all copies."""
        with self._lock:
            self._evict(list(self._copies))

    def statistics(self) -> DeviceCopiesStatistics:
        """Counts and bytes at this moment."""
        with self._lock:
            return DeviceCopiesStatistics(
                bytes_max=self._bytes_max,
                bytes_used=self._bytes_used,
                copies=len(self._copies),
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
            )

    def _sent(self, backend: ArrayBackend, array: Array) -> Any:
        try:
            return backend.from_numpy(array)
        except (MemoryError, RuntimeError):
            # A full device is the one or the other, by library (cupy, torch): make room and try
            # once more; what was wrong otherwise is raised again.
            self.forget()
            return backend.from_numpy(array)

    def _keep(self, key: _Key, copy: Any, nbytes: int) -> None:
        with self._lock:
            if key in self._copies:  # another thread sent it at the same time
                return
            self._copies[key], self._nbytes[key] = copy, nbytes
            self._bytes_used += nbytes
            while self._bytes_used > self._bytes_max:
                self._evict([next(iter(self._copies))])

    def _forget_gone(self) -> None:
        gone = {block for block in {key.block for key in self._copies} if not self._lives(block)}
        self._evict([key for key in self._copies if key.block in gone])

    def _evict(self, keys: list[_Key]) -> None:
        for key in keys:
            del self._copies[key]
            self._bytes_used -= self._nbytes.pop(key)
        self._evictions += len(keys)


class BackendWithCopies:
    """A backend whose ``from_numpy`` sends a block's bytes once. See ``ports.ArrayBackend``."""

    def __init__(self, backend: ArrayBackend, copies: DeviceCopies) -> None:
        self._backend, self._copies = backend, copies
        self.name, self.device = backend.name, backend.device
        self.accelerated, self.float_type = backend.accelerated, backend.float_type
        self.unified = backend.unified
        self.xp: Any = backend.xp
        self.to_numpy, self.sort = backend.to_numpy, backend.sort
        self.active, self.wait_ready = backend.active, backend.wait_ready

    def from_numpy(self, array: Array) -> Any:
        """On the device; the same array twice where it is a view of a block."""
        return self._copies.find_or_send(self._backend, array)
