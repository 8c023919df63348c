"""Different texts of a column and the number of each, found by compiled loops."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.stores.postgres.decoding import hash_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

#: Different texts of a column that becomes a dictionary by itself: their lengths and hashes stay in
#: the second level of a processor's cache.
AUTO_TEXTS_MAX = 4096
#: Of so many the share of the rows does not count yet: prices of 500 instruments come one after the
#: other before any comes again.
AUTO_TEXTS_FREE = 1000
#: Fewer rows gain nothing.
AUTO_ROWS_MIN = 1000

#: Different texts where a dictionary is asked for.
ASKED_TEXTS_MAX = 100_000

#: Labels that may be added to an enum after the server was asked about it.
NEW_LABELS_MAX = 4096


class TextTable:
    """Texts in the order in which they came first, behind those known before. ``clear`` first."""

    def __init__(self, limit: int, *, free: int = -1, known: Sequence[bytes] = ()) -> None:
        self.slots: npt.NDArray[np.int64] = np.zeros(layouts.TEXT_SLOTS, np.int64)
        self._limit, self._free, self._known = limit, free, known

    @classmethod
    def of_labels(cls, labels: Sequence[str]) -> TextTable:
        """The labels of an enum, and room for more."""
        known = [label.encode() for label in labels]
        made = cls(len(known) + NEW_LABELS_MAX, known=known)
        made.clear()
        return made

    def clear(self) -> None:
        """Forget what was found."""
        limit = self._limit
        size = 1 << (2 * limit - 1).bit_length()
        self._table = np.zeros(size, np.int32)
        self._entries = np.empty((limit, kernels.ENTRY_BYTES // 8), np.int64)
        self._bytes = np.frombuffer(b"".join(self._known) or b"\0", np.uint8)
        slots = self.slots
        slots[:] = 0
        slots[layouts.TABLE_AT] = self._table.ctypes.data
        slots[layouts.ENTRIES_AT] = self._entries.ctypes.data
        slots[layouts.KNOWN_AT] = self._bytes.ctypes.data
        slots[layouts.TABLE_MASK] = size - 1
        slots[layouts.LIMIT], slots[layouts.FREE] = limit, self._free
        slots[layouts.LAST_CODE] = -1
        at = 0
        for number, text in enumerate(self._known):
            self._entries[number, :2] = -1 - at, len(text)
            at += len(text)
        if self._known:
            kernels.enter_known(slots.ctypes.data, len(self._known))

    def __len__(self) -> int:
        return int(self.slots[layouts.ENTRIES])

    def find(
        self,
        addresses: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int32],
    ) -> int:
        """Numbers of texts at addresses; -1, or the place of one that is one too many."""
        return int(kernels.find_codes(self.slots.ctypes.data, addresses, lengths, codes))

    def texts(self, base: int) -> list[bytes]:
        """All texts; ``base``: address of the buffer that they lie in."""
        known = self._bytes.tobytes()
        return [
            ctypes.string_at(base + at, length) if at >= 0 else known[-1 - at : -1 - at + length]
            for at, length, _ in self._entries[: len(self)].tolist()
        ]


def text_array(texts: Sequence[bytes]) -> pa.Array[Any]:
    """Texts as Arrow has them; the server vouches for their being UTF-8."""
    import pyarrow as pa

    made: pa.Array[Any] = pa.array(texts, pa.large_binary()).view(pa.large_string())
    return made
