"""Datasets that this process found by name: the next ``get`` finds them in 0.2 us.

An entry holds while the counter of its name stands (``names_clock``). The latest few also hold
their frame, so that it need not be mapped again; of the others only a weak reference is kept.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable

from neural_gpu_bus.memory.frames.frame import Frame

#: Datasets that a process keeps mapped because it got them by name.
FRAMES_HELD_MAX = 64
#: Entries in all, most of them of frames that the caller holds.
ENTRIES_MAX = 4096
#: Finds of one dataset that a process counts for itself before it tells the others.
HITS_TOLD_AT = 256


class Kept:
    """One name that was found."""

    __slots__ = ("counters", "descriptor", "frame", "held", "hits", "number", "place")

    def __init__(self, frame: Frame, counters: memoryview, place: int, number: int) -> None:
        self.descriptor = frame.descriptor
        #: Gives the frame, or None when it has died.
        self.frame = weakref.ref(frame)
        self.held: Frame | None = None
        #: Counter of the name, and what it said before the index was asked.
        self.counters = counters
        self.place = place
        self.number = number
        #: Finds since they were last told.
        self.hits = 0


class KeptFrames(OrderedDict[str, Kept]):
    """Name -> entry; the latest found last. ``bytes_max`` says what may be held mapped now.

    Safe for threads. Finding takes no lock.
    """

    def __init__(self, bytes_max: Callable[[], int]) -> None:
        super().__init__()
        self._bytes_max = bytes_max
        self._held: OrderedDict[str, Kept] = OrderedDict()
        self._held_bytes = 0
        # A finalizer that runs in here may come back.
        self._lock = threading.RLock()

    def keep(self, name: str, frame: Frame, counters: memoryview, place: int, number: int) -> None:
        """Remember what a name means; ``number``: an even one, seen before the index was asked."""
        entry = Kept(frame, counters, place, number)
        most = self._bytes_max()
        with self._lock:
            if name in self:
                self.forget(name)
            self[name] = entry
            if entry.descriptor.nbytes <= most:
                entry.held = frame
                self._held[name] = entry
                self._held_bytes += entry.descriptor.nbytes
            while len(self._held) > FRAMES_HELD_MAX or self._held_bytes > most:
                self._let_go(next(iter(self._held)))
            while len(self) > ENTRIES_MAX:
                self.forget(next(iter(self)))

    def forget(self, name: str) -> None:
        """This name means something else now, or nothing."""
        with self._lock:
            self._let_go(name)
            self.pop(name, None)

    def held(self) -> list[tuple[str, Kept]]:
        """Names whose frames are held here, 64 at most."""
        return list(self._held.items())

    def clear(self) -> None:
        """Forget every name: the memory is closed."""
        with self._lock:
            self.release()
            super().clear()

    def forked_in_child(self) -> None:
        """Another thread of the parent may hold the lock for ever; the parent tells its finds."""
        self._lock = threading.RLock()
        for kept in self.values():
            kept.hits = 0

    def release(self) -> None:
        """Hold no frame: memory is short."""
        with self._lock:
            for name in list(self._held):
                self._let_go(name)

    def _let_go(self, name: str) -> None:
        entry = self._held.pop(name, None)
        if entry is not None:
            entry.held = None
            self._held_bytes -= entry.descriptor.nbytes
