"""Where rows lie that are known by columns other than the key and the order.

20 bytes a slot, between 4/3 and 8/3 slots a row: 27 to 54 bytes a row, in this process alone. A
hash of 64 bits may be that of two rows: who looks compares the rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.live.applying import place_kernels as kernels

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_SLOTS_MIN = 1024


class PlaceIndex:
    """Hash of a row's identity -> its partition and order value."""

    def __init__(self, rows: int = 0) -> None:
        """``rows``: expected."""
        self._rows = 0
        self._make(rows)

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """Of the table."""
        return self._slots.nbytes + self._partitions.nbytes + self._values.nbytes

    def put(self, hashes: Hashes, partitions: Numbers, values: Numbers) -> None:
        """Add rows; those of a hash that is there stand beside them."""
        self._make_room(len(hashes))
        kept = np.where(hashes == 0, np.uint64(1), hashes)
        kernels.put(*self._table, kept, partitions.astype(np.int32), values)
        self._rows += len(hashes)

    def look(self, hashes: Hashes, skipped: Numbers) -> tuple[Numbers, Numbers]:
        """Partitions (-1: none) and order values; ``skipped``: the how many-th of that hash."""
        partitions, values = np.full(len(hashes), -1, np.int64), np.zeros(len(hashes), np.int64)
        kernels.look(*self._table, hashes, skipped, partitions, values)
        return partitions, values

    def drop(self, hashes: Hashes, partitions: Numbers, values: Numbers) -> int:
        """Remove rows; how many were there."""
        dropped: int = kernels.drop(*self._table, hashes, partitions, values)
        self._rows -= dropped
        return dropped

    @property
    def _table(self) -> tuple[Hashes, npt.NDArray[np.int32], Numbers]:
        return self._slots, self._partitions, self._values

    def _make(self, rows: int) -> None:
        slots = _SLOTS_MIN
        while slots * 3 < rows * 4:
            slots *= 2
        self._slots = np.zeros(slots, np.uint64)
        self._partitions, self._values = np.empty(slots, np.int32), np.empty(slots, np.int64)

    def _make_room(self, more: int) -> None:
        if (self._rows + more) * 4 <= len(self._slots) * 3:
            return
        slots, partitions, values = self._table
        self._make(max(self._rows + more, len(slots)))
        kernels.put(*self._table, slots, partitions, values)
