"""Keys whose partition is known, for compiled code: by their bytes as columns hold them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.live.applying import few_kernels as kernels

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]

#: Slots at first, of which half are used; they double.
SLOTS_MIN = 1 << 10
#: With so many that are half full all keys are forgotten, and learnt again.
SLOTS_MAX = 1 << 17
#: Keys of 24 bytes fill as much of the store as of the slots.
STORE_BYTES_A_SLOT = 16
#: Longer keys are not kept.
KEY_BYTES_MAX = 1 << 10


class KnownKeys:
    """Of one series."""

    def __init__(self, key: Numbers, sources: Numbers) -> None:
        """``key``: fields of each of its columns, see ``few_kernels``. ``sources``: where the
        columns of all rows lie, again and again.
        """
        self._key, self._sources = key, sources
        self._found = np.zeros(KEY_BYTES_MAX, np.uint8)
        self._slots: Numbers
        self._store: Bytes
        self._forget()

    @property
    def arguments(self) -> tuple[Bytes, Numbers, Bytes, Numbers]:
        """What loops take."""
        return self._found, self._slots, self._store, self._table

    def learn(self, partitions: Numbers) -> None:
        """Of the rows that lie there now."""
        while self._learn(partitions) < len(partitions):
            if len(self._slots) < SLOTS_MAX:
                self._grow()
            else:
                self._forget()

    def _learn(self, partitions: Numbers) -> int:
        found: int = kernels.learn_keys(self._key, self._sources, partitions, *self.arguments)
        return found

    def _grow(self) -> None:
        slots, store = self._slots, self._store
        self._slots = np.zeros((2 * len(slots), kernels.SLOT_FIELDS), np.int64)
        kernels.move_slots(slots, self._slots)
        self._store = np.concatenate([store, np.zeros_like(store)])

    def _forget(self) -> None:
        self._slots = np.zeros((SLOTS_MIN, kernels.SLOT_FIELDS), np.int64)
        self._store = np.zeros(SLOTS_MIN * STORE_BYTES_A_SLOT, np.uint8)
        self._table = np.zeros(kernels.TABLE_FIELDS, np.int64)
        # Nobody knows it, so nobody can make keys that meet.
        self._table[kernels.SEED] = secrets.randbits(63)
