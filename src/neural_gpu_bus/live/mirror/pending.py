"""Changes of one table that came while it was copied: kept until its snapshot tells them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges, Truncated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.stores.postgres.replication.transactions import Transaction
    from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

#: What changes rows.
RowStep = RowChanges | Truncated


class KeptBytes:
    """One transaction, whose bytes are copied once, however many tables keep some of it."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._buffer: npt.NDArray[np.uint8] | None = None

    def of(self, steps: Sequence[RowStep]) -> Transaction:
        """These of its steps, good for as long as they are held."""
        kept = structs.replace(self._transaction, steps=list(steps)).kept(self._buffer)
        for step in kept.steps:
            if isinstance(step, RowChanges):
                self._buffer = step.buffer
        return kept


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

    def keep(self, transaction: KeptBytes, steps: Sequence[RowStep]) -> None:
        """Keep one transaction's changes: their bytes are used again for the next ones."""
        kept = transaction.of(steps)
        self.nbytes += kept.size_bytes
        self._kept.append(kept)

    def unseen(self, visible: VisibleTransactions) -> Iterator[RowStep]:
        """Those that the snapshot does not hold, oldest first."""
        for kept in self._kept:
            if not visible.sees(kept.xid):
                yield from (step for step in kept.steps if isinstance(step, RowStep))
