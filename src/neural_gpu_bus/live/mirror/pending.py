"""Changes of one table that came while it was copied: kept until its snapshot tells them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges, Truncated

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.replication.transactions import Transaction
    from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

#: What changes rows.
RowStep = RowChanges | Truncated


class PendingChanges:
    """Of one copy, in the order of the stream. ``is_full``: read no further until it is over."""

    def __init__(self, bytes_max: int) -> None:
        self.nbytes = 0
        self._bytes_max = bytes_max
        self._kept: list[Transaction] = []

    @property
    def is_full(self) -> bool:
        """Whether it holds as much as it may; what was received is kept all the same."""
        return self.nbytes >= self._bytes_max

    def keep(self, transaction: Transaction, steps: Sequence[RowStep]) -> None:
        """Copy one transaction's changes: their bytes are used again for the next ones."""
        kept = structs.replace(transaction, steps=list(steps)).kept()
        self.nbytes += kept.size_bytes
        self._kept.append(kept)

    def unseen(self, visible: VisibleTransactions) -> Iterator[RowStep]:
        """Those that the snapshot does not hold, oldest first."""
        for kept in self._kept:
            if not visible.sees(kept.xid):
                yield from (step for step in kept.steps if isinstance(step, RowStep))
