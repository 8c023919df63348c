"""How much of the disk the rows that wait may take."""

from __future__ import annotations

import threading

from neural_gpu_bus.errors import JournalFullError


class Room:
    """Counts bytes on disk against ``bytes_max``. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._own_bytes = 0
        self._others_bytes = 0

    @property
    def used_bytes(self) -> int:
        """By this process and, as of the last look, by others."""
        return self._own_bytes + self._others_bytes

    def take(self, nbytes: int) -> None:
        """Count bytes that are about to be written; JournalFullError where they do not fit."""
        with self._lock:
            if self.used_bytes + nbytes > self.bytes_max:
                raise JournalFullError(
                    f"rows of {nbytes:,} bytes do not fit: {self.used_bytes:,} of "
                    f"{self.bytes_max:,} bytes wait for PostgreSQL already; these rows were not "
                    "taken",
                    hint="wait (plane.write_behind.flush), see with plane.write_behind.statistics()"
                    " why rows wait, store fewer at once, or raise NGB_WRITE_BEHIND_BYTES_MAX",
                    waiting_bytes=self.used_bytes,
                    bytes_max=self.bytes_max,
                )
            self._own_bytes += nbytes

    def add(self, nbytes: int) -> None:
        """Count bytes that are there already."""
        with self._lock:
            self._own_bytes += nbytes

    def give_back(self, nbytes: int) -> None:
        """Those bytes are no longer there."""
        with self._lock:
            self._own_bytes -= nbytes

    def note_others(self, nbytes: int) -> None:
        """What other processes' journals and the rows set aside take."""
        with self._lock:
            self._others_bytes = nbytes
