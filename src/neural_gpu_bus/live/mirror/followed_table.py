"""One live table as its writer sees it: which version readers look at, and which comes next.

    starting -> waiting -> copying -> catching up -> live -> copying anew -> catching up -> live ...

A table is live from the moment when the stream has passed everything that its snapshot holds. What
changes a table in a way that the stream cannot tell has it copied anew; readers keep the version
before, which is marked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from msgspec import structs

from neural_gpu_bus.live.mirror.pending import KeptBytes, PendingChanges, RowStep
from neural_gpu_bus.live.mirror.table_copy import Copied, TableCopy

if TYPE_CHECKING:
    from neural_gpu_bus.live.applying.applied_table import AppliedTable, ApplyCounts
    from neural_gpu_bus.live.applying.no_rows import NoRows
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.stores.postgres.replication.shape_changes import MadeLeaf
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
    from neural_gpu_bus.stores.postgres.replication.transactions import Transaction


@dataclass(slots=True)
class FollowedTable:
    """One definition's versions. Nothing here reads or writes anything by itself."""

    definition: LiveDefinition
    #: Of the newest version; each copy has a series of its own.
    version: int
    #: As it was published, until it is copied.
    shape: TableShape | None = None
    #: What the version that follows the stream was copied from; its shape is that of the last look.
    #: None while none follows it.
    copied: Copied | None = None
    #: Transactions that altered it while it was copied.
    altered_by: set[int] = field(default_factory=set)
    #: Partitions that the stream told of as they were made.
    made: set[MadeLeaf] = field(default_factory=set)
    #: What follows the stream and readers look at.
    current: AppliedTable | NoRows | None = None
    copy: TableCopy | None = None
    #: A copy that is there, and waits for the stream to pass its snapshot.
    coming: Copied | None = None
    pending: PendingChanges | None = None
    #: Why it is copied anew; empty where readers have no version yet.
    reason: str = ""
    #: Attempts that failed in a row, and when the next one may begin.
    failures: int = 0
    next_attempt_s: float = 0.0
    #: Changes of the batch in hand, by version.
    current_steps: list[RowStep] = field(default_factory=list)
    coming_steps: list[RowStep] = field(default_factory=list)
    #: Of the batch: transactions with any, bytes of the stream that these take. The last of them,
    #: which may go on in the next batch.
    transactions: int = 0
    stream_bytes: int = 0
    last_xid: int = -1

    @property
    def series(self) -> str:
        """Of the version that is being made, or was made last."""
        return f"{self.definition.name}@{self.version}"

    @property
    def reads_on(self) -> bool:
        """Whether the stream may be read further."""
        return self.pending is None or not self.pending.is_full

    @property
    def relations(self) -> frozenset[int]:
        """Whose changes are this table's."""
        if self.shape is None:
            return frozenset()
        return frozenset((self.shape.oid, *self.shape.leaves))

    @property
    def has_failed(self) -> bool:
        """Whether it waits for its next attempt."""
        idle = self.current is None and self.copy is None and self.coming is None
        return bool(self.failures) and idle

    @property
    def is_partitioned(self) -> bool:
        """Whether changes come under other OIDs than its own."""
        return self.shape is not None and self.shape.partitioned

    def take_shape(self, shape: TableShape) -> None:
        """As the last look found it, where that did no harm."""
        assert self.copied is not None  # noqa: S101  looks are at tables that were copied
        moment = structs.replace(self.copied.moment, shape=shape)
        self.shape, self.copied = shape, replace(self.copied, moment=moment)
        for applied in (self.current, self.coming.applied if self.coming else None):
            if applied is not None:
                applied.take_shape(shape)

    def take(self, transaction: Transaction, steps: list[RowStep], kept: KeptBytes) -> None:
        """Changes of one transaction, in order."""
        self.transactions += transaction.xid != self.last_xid
        self.stream_bytes += transaction.size_bytes
        self.last_xid = transaction.xid
        if self.current is not None:
            self.current_steps.extend(steps)
        if self.coming is not None:
            if not self.coming.moment.visible.sees(transaction.xid):
                self.coming_steps.extend(steps)
        elif self.pending is not None:
            self.pending.keep(kept, steps)

    def apply(self) -> int:
        """Bring both versions to the end of the batch; how many changes that were.

        Raises what ``AppliedTable.apply`` raises.
        """
        changes = 0
        if self.current is not None and self.current_steps:
            changes += _count(self.current.apply(self.current_steps))
        if self.coming is not None and self.coming_steps:
            changes += _count(self.coming.applied.apply(self.coming_steps))
        return changes

    def discarded(self) -> None:
        """The writer took back what was not published."""
        for applied in (self.current, self.coming.applied if self.coming else None):
            if applied is not None:
                applied.discarded()

    def lose_copy(self) -> None:
        """Begin it again."""
        if self.copy is not None:
            self.copy.stop()
        self.copy = self.pending = None

    def forget_batch(self) -> None:
        """Its bytes are used for the next one."""
        self.current_steps, self.coming_steps = [], []
        self.transactions = self.stream_bytes = 0

    def take_copy(self, copied: Copied) -> None:
        """A copy is there: bring it up to what was received meanwhile."""
        copied.applied.check_rows()
        pending, self.pending, self.copy = self.pending, None, None
        self.coming = self.copied = copied
        self.shape, self.made = copied.moment.shape, set()
        if pending is not None:
            steps = list(pending.unseen(copied.moment.visible))
            if steps:
                copied.applied.apply(steps)

    def go_on(self, applied: AppliedTable, copied: Copied) -> None:
        """Its version is followed from where it was published last."""
        self.current, self.copied, self.shape = applied, copied, copied.moment.shape
        self.failures, self.reason, self.made = 0, "", set()

    def is_due(self, position: int) -> bool:
        """Whether the stream has passed all that the coming version's snapshot holds."""
        return self.coming is not None and position >= self.coming.moment.bound_lsn

    def switch(self) -> AppliedTable | NoRows | None:
        """The coming version becomes the one that readers look at; what they looked at before."""
        assert self.coming is not None  # noqa: S101  asked before: is_due
        before, self.current = self.current, self.coming.applied
        self.coming, self.failures, self.reason = None, 0, ""
        return before

    def lose(self) -> None:
        """No version can be followed any more: the stream is gone, or the table changed."""
        if self.copy is not None:
            self.copy.stop()
        self.current = self.copy = self.coming = self.copied = self.pending = None
        self.altered_by = set()
        self.forget_batch()


def _count(done: ApplyCounts) -> int:
    """A TRUNCATE is one change."""
    return done.changes + done.truncated
