"""Whole transactions out of the bytes of a stream: no socket and no clock.

``TransactionReader`` looks at what has arrived and hands out a ``StreamBatch`` of what is whole;
its changes point into the buffer and are good until ``forget``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication import pgoutput
from neural_gpu_bus.stores.postgres.replication import stream_kernels as kernels
from neural_gpu_bus.stores.postgres.replication.stream_walk import StreamWalk
from neural_gpu_bus.stores.postgres.replication.transactions import (
    Relation,
    RowChanges,
    StreamBatch,
    Transaction,
)
from neural_gpu_bus.stores.postgres.replication.wal_positions import NO_LSN, unix_ns

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer

    Mark = list[int]

TAG, AT, END = kernels.TAG, kernels.AT, kernels.END
BEFORE, RUN_OF = kernels.BEFORE, kernels.RUN_OF
FIRST, SECOND, THIRD = kernels.FIRST, kernels.SECOND, kernels.THIRD


class TransactionReader:
    """Looks at ``buffer`` as it fills. After ``take`` its bytes stay until ``forget``."""

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self.walk = StreamWalk(buffer)
        #: Tables as they were last described, by OID.
        self.relations: dict[int, Relation] = {}
        #: Of a transaction whose first parts have been taken.
        self._open: Transaction | None = None
        self._taken_bytes = 0

    @property
    def has_whole(self) -> bool:
        """Whether there is something to take."""
        return self.walk[kernels.WHOLE_MARKS] > 0

    @property
    def received_lsn(self) -> int:
        """How far the log has come."""
        return self.walk[kernels.RECEIVED]

    @property
    def taken_bytes(self) -> int:
        """Of what was taken last, until it is forgotten."""
        return self._taken_bytes

    @property
    def open_bytes(self) -> int:
        """Bytes so far of a transaction that has not ended."""
        return self.walk.buffer.stop - self.walk[kernels.WHOLE_POSITION]

    def take(self) -> StreamBatch:
        """All whole transactions. Raises ProtocolError."""
        self._taken_bytes = self.walk[kernels.WHOLE_POSITION]
        return self._batch(self.walk[kernels.WHOLE_MARKS])

    def take_part(self) -> StreamBatch:
        """All whole transactions, and what there is of the one that is open. Raises
        ProtocolError.
        """
        self._taken_bytes = self.walk.position
        batch = self._batch(self.walk[kernels.MARKS])
        if self._open is not None:
            self._close_part(self._open, self.walk[kernels.CHANGES])
        return batch

    def forget(self) -> None:
        """Drop the bytes of what was taken."""
        if not self._taken_bytes:
            return
        self.walk.forget(self._taken_bytes, is_open=self._open is not None)
        self._taken_bytes = 0
        if self._open is not None:
            self._open = _next_part(self._open)

    # ---- a batch

    def _batch(self, marks: int) -> StreamBatch:
        self._batch_ = batch = StreamBatch([], NO_LSN)
        if self._open is not None:
            batch.transactions.append(self._open)
        self._changes_taken = 0
        keepalive_lsn = NO_LSN
        for mark in self.walk.marks[:marks].tolist():
            if mark[TAG] == kernels.KEEPALIVE:
                keepalive_lsn = mark[FIRST]
            elif mark[TAG] == kernels.BEGIN:
                batch.transactions.append(self._begin(mark))
            elif self._open is not None:
                self._within(self._open, mark, batch)
            else:
                batch.messages.append(pgoutput.read_message(self._body(mark)))
        return StreamBatch(batch.transactions, keepalive_lsn, batch.messages)

    def _begin(self, mark: Mark) -> Transaction:
        found = Transaction(mark[THIRD], mark[FIRST], NO_LSN, unix_ns(mark[SECOND]), ends=False)
        found.first_byte = mark[AT]
        self._open = found
        return found

    def _within(self, open_: Transaction, mark: Mark, batch: StreamBatch) -> None:
        tag = mark[TAG]
        if tag == kernels.COMMIT:
            self._take_changes(open_, mark[BEFORE], mark[RUN_OF])
            self._commit(open_, mark)
        elif tag == kernels.RELATION:
            self._take_changes(open_, mark[BEFORE], mark[RUN_OF])
            relation = pgoutput.read_relation(self._body(mark))
            self.relations[relation.oid] = relation
            open_.steps.append(relation)
        elif tag == kernels.TRUNCATE:
            self._take_changes(open_, mark[BEFORE], mark[RUN_OF])
            open_.steps.append(pgoutput.read_truncate(self._body(mark)))
        elif tag == kernels.MESSAGE:
            self._take_changes(open_, mark[BEFORE], mark[RUN_OF])
            message = pgoutput.read_message(self._body(mark))
            (open_.steps if message.transactional else batch.messages).append(message)
        elif tag == kernels.ORIGIN:
            open_.origin = pgoutput.read_origin(self._body(mark)).name
        else:
            pgoutput.read_type(self._body(mark))

    def _commit(self, open_: Transaction, mark: Mark) -> None:
        if mark[FIRST] != open_.final_lsn:
            raise ProtocolError(
                f"transaction {open_.xid} was announced to commit at {open_.final_lsn:X} and "
                f"commits at {mark[FIRST]:X}",
                hint="connect again; if it happens again, report it",
                position=mark[AT],
            )
        open_.end_lsn, open_.ends, open_.end_byte = mark[SECOND], True, mark[END]
        self._open = None

    def _close_part(self, open_: Transaction, changes: int) -> None:
        self._take_changes(open_, changes, self.walk[kernels.RUN])
        open_.end_byte = self.walk.position

    def _body(self, mark: Mark) -> bytes:
        """Of a message, behind its tag."""
        return bytes(self.walk.buffer.view[mark[AT] : mark[END]])

    # ---- changes

    def _take_changes(self, open_: Transaction, end: int, relation: int) -> None:
        """Those up to a place, of one relation or each one's together."""
        first, self._changes_taken = self._changes_taken, end
        if end == first:
            return
        if relation != kernels.SEVERAL:
            open_.steps.append(self._changes(relation, slice(first, end)))
            return
        oids = self.walk.oids[first:end]
        order = np.argsort(oids, kind="stable")
        borders = np.flatnonzero(np.diff(oids[order])) + 1
        for places in np.split(order, borders):
            open_.steps.append(self._changes(int(oids[places[0]]), places + first))

    def _changes(self, oid: int, places: slice | npt.NDArray[np.int64]) -> RowChanges:
        relation = self.relations.get(oid)
        if relation is None:
            raise ProtocolError(
                f"the stream changes the relation with OID {oid}, which it has not described",
                hint="connect again; if it happens again, report it",
                position=0,
            )
        walk = self.walk
        return RowChanges(
            relation,
            walk.buffer.bytes,
            walk.kinds[places],
            walk.new_at[places],
            walk.old_at[places],
            walk.old_kinds[places],
        )


def _next_part(part: Transaction) -> Transaction:
    """What follows of a transaction."""
    return Transaction(
        part.xid,
        part.final_lsn,
        NO_LSN,
        part.committed_ns,
        begins=False,
        ends=False,
        origin=part.origin,
    )
