"""What the process of live tables tells of changes, before it publishes them: ``ToldChanges``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.live.changes import words as layout
from neural_gpu_bus.live.shared.state import ordered_store
from neural_gpu_bus.memory.series.clock import view
from neural_gpu_bus.stores.postgres.replication.ddl_trigger import MESSAGE_PREFIX
from neural_gpu_bus.stores.postgres.replication.transactions import LogicalMessage

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.replication.transactions import Transaction
    from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions


class ToldChanges:
    """The writer's side: one a memory folder, in the thread that reads the stream.

    The order of its calls makes true what readers conclude: ``tell`` a transaction, *then* publish
    it; ``cover`` a table with False *before* anything of it can be missed.
    """

    def __init__(self, memory: Path, *, clock_ns: Callable[[], int] = host_clock_ns) -> None:
        """Nothing is told of yet; what the writer before told counts no more."""
        import numpy as np

        array = layout.map_changes(memory)
        octets = array.view(np.uint8)
        self._words = view(octets).cast("q")
        self._store = ordered_store(octets, self._words)
        self._clock_ns = clock_ns
        self._places: dict[str, int] = {}
        self._covered: dict[str, tuple[int, bool]] = {}
        self._unseen: list[int] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        """Another stream, or none: no table is told of, and nothing that was read before holds."""
        self._places, self._covered, self._unseen = {}, {}, []
        for place in range(layout.TABLES_MAX):
            self._store(layout.table_word(place, layout.COVERS), 0)
            self._grow(layout.table_word(place, layout.COUNT))
        self._grow(layout.ARRANGED)
        self._store(layout.SEEN, self._words[layout.TOLD])

    # ---- transactions

    def tell(self, transaction: Transaction, names: Iterable[str]) -> None:
        """It changed these tables: rows, or what they are."""
        if transaction.begins:
            self._put(transaction.xid)
            self._unseen.append(transaction.xid)
        for step in transaction.steps:
            if isinstance(step, LogicalMessage) and step.prefix == MESSAGE_PREFIX:
                self._grow(layout.DEFINITIONS)
        for name in names:
            place = self._places.get(name)
            if place is not None:
                self._grow(layout.table_word(place, layout.COUNT))

    @property
    def waits(self) -> bool:
        """Whether transactions were told that PostgreSQL may not show yet: a commit comes with the
        stream as soon as it is in the WAL.
        """
        return bool(self._unseen)

    def seen(self, visible: VisibleTransactions) -> None:
        """What PostgreSQL shows now: readers need not look at it any more. The others are put
        behind, so that one that waits for a standby does not keep all later ones.
        """
        before = self._words[layout.TOLD]
        self._unseen = [xid for xid in self._unseen if not visible.sees(xid)]
        for xid in self._unseen:
            self._put(xid)
        self._store(layout.SEEN, before)

    # ---- tables

    def cover(self, name: str, oid: int, covers: bool) -> None:
        """Whether all changes of that live table's table are told from now on."""
        if self._covered.get(name) == (oid, covers):
            return
        place = self._places.get(name)
        if place is None:
            taken = set(self._places.values())
            place = next(number for number in range(len(taken) + 1) if number not in taken)
            if place >= layout.TABLES_MAX:
                return  # as many as can be live: it is not told of
            self._places[name] = place
        self._covered[name] = (oid, covers)
        self._store(layout.table_word(place, layout.COVERS), 0)
        self._grow(layout.table_word(place, layout.COUNT))
        self._store(layout.table_word(place, layout.OID), oid)
        if covers:
            self._store(layout.table_word(place, layout.USED_NS), self._clock_ns())
            self._store(layout.table_word(place, layout.COVERS), 1)
        self._grow(layout.ARRANGED)

    def drop(self, name: str) -> None:
        """It is told of no more."""
        if name in self._places:
            self.cover(name, 0, False)
            del self._places[name], self._covered[name]

    def unused_s(self, name: str) -> float:
        """How long ago somebody asked whether it changed; 0 where it is not told of yet."""
        place = self._places.get(name)
        if place is None or not self._covered[name][1]:
            return 0.0
        used_ns = self._words[layout.table_word(place, layout.USED_NS)]
        return max(self._clock_ns() - used_ns, 0) / 1e9

    # ---- inside

    def _put(self, xid: int) -> None:
        told = self._words[layout.TOLD]
        self._store(layout.RING_AT + told % layout.RING, xid)
        self._store(layout.TOLD, told + 1)

    def _grow(self, word: int) -> None:
        self._store(word, self._words[word] + 1)
