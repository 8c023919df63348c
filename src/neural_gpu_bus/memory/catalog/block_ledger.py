"""What everybody knows of each named block's use, in shared memory: one record a block version.

The index says what there is; this is what eviction goes by. A lost or stale record costs a worse
choice, never a wrong block: each use of a record compares the block's uuid first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.memory.catalog.block_table import (
    BLOCK_RECORD,
    BLOCK_RECORD_BYTES,
    POLICY_STATE_WORDS,
    REGION_CODES,
    insert,
    touch_one,
)
from neural_gpu_bus.memory.files.folder import TABLES, foreign_table, uuid_head
from neural_gpu_bus.memory.files.shared_table import SharedTable

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import Region
    from neural_gpu_bus.memory.catalog.block_table import PolicyState, Records

#: Records of a new table, 64 KiB; it doubles as it fills.
RECORDS_FIRST = 1024

# Words beside the records: last sequence number, first free record + 1, the format, then policies'
# states.
_SEQUENCE, _FREE, _FORMAT_AT, _STATES, _WORDS = 0, 1, 2, 8, 64
#: A file of other numbers is never taken for this one.
_FORMAT = int.from_bytes(b"ngbuses1", "little")


class BlockLedger:
    """The records of one memory folder. All but ``count`` runs under the writers' lock."""

    def __init__(self, folder: Path) -> None:
        self._table = SharedTable(folder / TABLES / "blocks", BLOCK_RECORD, RECORDS_FIRST)
        order = folder / TABLES / "order"
        self._words = SharedTable(order, "<u8", _WORDS).records
        if self._words[_FORMAT_AT] not in {0, _FORMAT}:
            raise foreign_table(order, "another layout")
        self._words[_FORMAT_AT] = _FORMAT

    @property
    def records(self) -> Records:
        """All records, free ones (uuid 0) among them."""
        self._table.refresh()
        return self._table.records

    def policy_state(self, region: Region) -> PolicyState:
        """What the policy of that region keeps between two choices."""
        start = _STATES + REGION_CODES[region] * POLICY_STATE_WORDS
        return self._words[start : start + POLICY_STATE_WORDS]

    def add(self, block: BlockDescriptor, now_ns: int, hits: int = 0) -> int:
        """A record for a block that is being published; ``hits`` are its predecessor's."""
        records = self.records
        place = self._free_place(records)
        if place == len(records):
            self._table.grow(2 * len(records))
        self._words[_SEQUENCE] += 1
        insert(
            self._table.records,
            place,
            uuid=uuid_head(block.uuid),
            nbytes=block.nbytes,
            reload_ns=block.reload_ns,
            sequence=int(self._words[_SEQUENCE]),
            now_ns=now_ns,
            region=block.region,
            hits=hits,
        )
        return place

    def _free_place(self, records: Records) -> int:
        """First of the list of freed records, else one never used, else the end.

        A process killed in between may leave the list broken: then it is given up, and the records
        on it are found again when the table has to grow.
        """
        head = int(self._words[_FREE])
        if 0 < head <= len(records) and records["uuid"][head - 1] == 0:
            self._words[_FREE] = records["nbytes"][head - 1]
            return head - 1
        self._words[_FREE] = 0
        free = np.flatnonzero(records["uuid"] == 0)
        if not len(free):
            return len(records)
        self._link(records, free[1:])
        return int(free[0])

    def _link(self, records: Records, free: np.ndarray[tuple[int], np.dtype[np.intp]]) -> None:
        """Make these the list of free records."""
        if len(free):
            records["nbytes"][free[:-1]] = free[1:] + 1
            records["nbytes"][free[-1]] = 0
            self._words[_FREE] = free[0] + 1

    def remove(self, block: BlockDescriptor) -> None:
        """Free a block's record; nothing where it has none."""
        if self.holds(block):
            records = self._table.records
            records["uuid"][block.record] = 0
            records["nbytes"][block.record] = self._words[_FREE]
            self._words[_FREE] = block.record + 1

    def holds(self, block: BlockDescriptor) -> bool:
        """Whether the record that the block was given is still its own."""
        start = block.record * BLOCK_RECORD_BYTES
        if start >= len(self._table.buffer):
            self._table.refresh()
        head: memoryview | bytes = self._table.buffer[start : start + 8] if start >= 0 else b""
        return head == uuid_head(block.uuid).to_bytes(8, "little")

    def count(self, block: BlockDescriptor, hits: int, now_ns: int) -> None:
        """The block was found so often. Without a lock: of two at once, one may be lost."""
        if self.holds(block):
            touch_one(self._table.buffer, block.record, now_ns, hits)

    def hits(self, block: BlockDescriptor) -> int:
        """How often it was found; 0 where nobody knows."""
        return int(self._table.records["hits"][block.record]) if self.holds(block) else 0

    def is_pinned(self, block: BlockDescriptor) -> bool:
        """Whether it is never to be evicted."""
        return self.holds(block) and bool(self._table.records["pinned"][block.record])

    def pin(self, block: BlockDescriptor, *, pinned: bool) -> None:
        """Mark it as never to be evicted, or as any other."""
        if self.holds(block):
            self._table.records["pinned"][block.record] = pinned

    def keep_only(self, blocks: Iterable[BlockDescriptor]) -> None:
        """Free the records of all others: a process killed while publishing may leave one."""
        records = self.records
        known = np.zeros(len(records), np.bool_)
        for block in blocks:
            if self.holds(block):
                known[block.record] = True
        records["uuid"][~known] = 0
        self._words[_FREE] = 0
        self._link(records, np.flatnonzero(~known))
