"""Changes that wait for a copy of their table."""

from __future__ import annotations

import numpy as np

from neural_gpu_bus.live.mirror.pending import KeptBytes, PendingChanges
from neural_gpu_bus.stores.postgres.replication.transactions import (
    Relation,
    RowChanges,
    Transaction,
    Truncated,
)
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

NOBODY = VisibleTransactions(1, 1, frozenset())


def changes(oid: int, buffer: np.ndarray, at: int) -> RowChanges:
    places, none = np.array([at], np.int64), np.array([-1], np.int64)
    kinds = np.array([ord("I")], np.uint8)
    relation = Relation(oid, "public", f"t{oid}", "d", ())
    return RowChanges(relation, buffer, kinds, places, none, np.zeros(1, np.uint8))


def test_tables_share_one_copy_of_a_transactions_bytes() -> None:
    buffer = np.arange(64, dtype=np.uint8)
    first, second = changes(1, buffer, 20), changes(2, buffer, 30)
    transaction = Transaction(7, 100, 110, 0, [first, second], first_byte=16, end_byte=48)
    kept, mine, its = KeptBytes(transaction), PendingChanges(1000), PendingChanges(1000)
    mine.keep(kept, [first])
    its.keep(kept, [Truncated((2,), False, False), second])
    buffer[:] = 0
    (one,) = mine.unseen(NOBODY)
    truncated, other = its.unseen(NOBODY)
    assert isinstance(one, RowChanges)
    assert isinstance(other, RowChanges)
    assert isinstance(truncated, Truncated)
    assert one.buffer is other.buffer
    assert (one.buffer[one.new_at[0]], other.buffer[other.new_at[0]]) == (20, 30)
    assert mine.nbytes == its.nbytes == 32
