"""Changes as whole transactions: what a stream hands out. Pure records over received bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from neural_gpu_bus.stores.postgres.replication.pgoutput import (
    LogicalMessage,
    Relation,
    RelationColumn,
    Truncated,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

__all__ = [
    "LogicalMessage",
    "Relation",
    "RelationColumn",
    "RowChanges",
    "Step",
    "StreamBatch",
    "Transaction",
    "Truncated",
    "merged_steps",
]


class RowChanges(msgspec.Struct, frozen=True, eq=False):
    """Changes of one relation in the order of the stream; arrays of length n. Changes of other
    relations may have stood between them.
    """

    relation: Relation
    #: What the positions point into; good until the next batch, see ``Transaction.kept``.
    buffer: Bytes
    #: ``ord`` of I, U, D.
    kinds: npt.NDArray[np.uint8]
    #: Where the new tuple begins, with its number of columns; -1 for none (D).
    new_at: Integers
    #: The same of the old tuple or the key.
    old_at: Integers
    #: ``ord`` of K (key alone), O (whole old row); 0 for none.
    old_kinds: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return int(self.kinds.size)

    def part(self, first: int, stop: int) -> RowChanges:
        """Some of them, one after the other."""
        places = slice(first, stop)
        return RowChanges(
            *(self.relation, self.buffer, self.kinds[places], self.new_at[places]),
            *(self.old_at[places], self.old_kinds[places]),
        )


Step = RowChanges | Truncated | LogicalMessage | Relation


class Transaction(msgspec.Struct, eq=False):
    """One transaction, or a part of one that is larger than the memory that is meant for it."""

    #: 32 bits, as sent.
    xid: int
    #: Where its commit stands: what a snapshot's bound is compared with.
    final_lsn: int
    #: Behind its commit: what is acknowledged. 0 in a part that does not end it.
    end_lsn: int
    committed_ns: int
    #: In order; of changes between two other steps each relation's are together.
    steps: list[Step] = msgspec.field(default_factory=list)
    #: False in a part after the first.
    begins: bool = True
    #: False in a part before the last.
    ends: bool = True
    #: Name of the replication origin it came to this server by; empty where it began here.
    origin: str = ""
    #: Bytes of the stream it lies in, ``first`` and behind.
    first_byte: int = 0
    end_byte: int = 0

    @property
    def size_bytes(self) -> int:
        """What keeping it takes."""
        return self.end_byte - self.first_byte

    def kept(self, buffer: Bytes | None = None) -> Transaction:
        """The same over memory of its own, good for as long as it is held. ``buffer``: that of
        other steps of the same transaction that are kept already.
        """
        changes = [step for step in self.steps if isinstance(step, RowChanges)]
        if not changes:
            return self
        if buffer is None:
            buffer = changes[0].buffer[self.first_byte : self.end_byte].copy()
        return msgspec.structs.replace(
            self,
            steps=[self._moved(step, buffer) for step in self.steps],
            first_byte=0,
            end_byte=buffer.size,
        )

    def _moved(self, step: Step, buffer: Bytes) -> Step:
        if not isinstance(step, RowChanges):
            return step
        new_at = np.where(step.new_at < 0, -1, step.new_at - self.first_byte)
        old_at = np.where(step.old_at < 0, -1, step.old_at - self.first_byte)
        kinds, old_kinds = step.kinds.copy(), step.old_kinds.copy()
        return RowChanges(step.relation, buffer, kinds, new_at, old_at, old_kinds)


def merged_steps(transactions: Sequence[Transaction]) -> list[Step]:
    """Steps of several transactions one after the other, each relation's changes together between
    two steps that are none: one call for a table instead of one for each transaction. For who
    shows all of them at once.
    """
    steps: list[Step] = []
    waiting: dict[int, list[RowChanges]] = {}
    for transaction in transactions:
        for step in transaction.steps:
            if isinstance(step, RowChanges):
                waiting.setdefault(step.relation.oid, []).append(step)
            else:
                steps += _joined(waiting)
                steps.append(step)
    return steps + _joined(waiting)


def _joined(waiting: dict[int, list[RowChanges]]) -> list[RowChanges]:
    """One for each relation, of kept transactions one for each memory; forgets them."""
    found = [
        _join(list(same))
        for changes in waiting.values()
        for _, same in groupby(changes, lambda each: id(each.buffer))
    ]
    waiting.clear()
    return found


def _join(changes: list[RowChanges]) -> RowChanges:
    """Several of one relation in one memory."""
    first = changes[0]
    if len(changes) == 1:
        return first
    return RowChanges(
        first.relation,
        first.buffer,
        np.concatenate([each.kinds for each in changes]),
        np.concatenate([each.new_at for each in changes]),
        np.concatenate([each.old_at for each in changes]),
        np.concatenate([each.old_kinds for each in changes]),
    )


class StreamBatch(msgspec.Struct, frozen=True, eq=False):
    """What came at once."""

    transactions: list[Transaction]
    #: When all of these and all before are applied, the log may be acknowledged up to here though
    #: no transaction ends there; 0 where nothing was said.
    keepalive_lsn: int
    #: Messages that belong to no transaction (``transactional`` false).
    messages: list[LogicalMessage] = msgspec.field(default_factory=list)

    @property
    def end_lsn(self) -> int:
        """What may be acknowledged when all of it is applied; 0 where nothing of it."""
        return max([self.keepalive_lsn, *(found.end_lsn for found in self.transactions)])
