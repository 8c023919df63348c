"""All tables of a home: which there are, whose changes are whose, what each is told to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import (
    BadValueError,
    NeuralGpuBusError,
    ServerError,
    SharedMemoryFullError,
)
from neural_gpu_bus.live.applying.applied_table import NeedsCopyError
from neural_gpu_bus.live.mirror.copying import copy_table
from neural_gpu_bus.live.mirror.failpoints import failpoint
from neural_gpu_bus.live.mirror.followed_table import FollowedTable
from neural_gpu_bus.live.mirror.pending import PendingChanges, RowStep
from neural_gpu_bus.live.mirror.table_copy import CopyStoppedError, TableCopy
from neural_gpu_bus.live.shared.manifest import TableState
from neural_gpu_bus.stores.postgres.replication.transactions import (
    LogicalMessage,
    Relation,
    RowChanges,
    Truncated,
)

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import ErrorRecord
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.live.mirror.means import MirrorMeans
    from neural_gpu_bus.live.shared.manifest import LiveTableState
    from neural_gpu_bus.stores.postgres.replication.shape_changes import MadeLeaf
    from neural_gpu_bus.stores.postgres.replication.snapshot_moment import SnapshotMoment
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
    from neural_gpu_bus.stores.postgres.replication.transactions import StreamBatch, Transaction

#: After an attempt that failed; doubles.
RETRY_S, RETRY_S_MAX = 1.0, 30.0

_log = structlog.get_logger(__name__)

#: What a look at the catalog needs of a table, and what it found: from which moment on, the table
#: as it is, and why it has to be copied anew.
_LookedAt = tuple["LiveDefinition", "SnapshotMoment", frozenset["MadeLeaf"]]
_Seen = tuple["SnapshotMoment", "TableShape | None", str]


class FollowedTables:
    """Every live table of a home, in the hands of its one writer."""

    def __init__(self, means: MirrorMeans, clock_s: Callable[[], float]) -> None:
        self._means = means
        self._clock_s = clock_s
        self._tables: dict[str, FollowedTable] = {}
        self._token: object = None
        self._by_oid: dict[int, list[FollowedTable]] = {}
        self._streams = False
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="ngb-look")
        self._look: Future[dict[str, _Seen]] | None = None
        #: Whether the last transaction that was applied has ended.
        self._whole = True

    # ---- which there are

    def reconcile(self) -> bool:
        """Follow what is declared now; False where nothing is."""
        token = self._means.definitions.token()
        if token != self._token:
            self._token = token
            wanted = self._means.definitions.all()
            for table in self._tables.values():
                table.next_attempt_s = 0.0  # somebody asks again, and may have mended what failed
            for name in [name for name in self._tables if name not in wanted]:
                self._drop(self._tables.pop(name))
            for name, definition in wanted.items():
                known = self._tables.get(name)
                if known is not None and known.definition != definition:
                    self._drop(self._tables.pop(name))
                if name not in self._tables:
                    version = self._means.room.last_version(name)
                    self._tables[name] = FollowedTable(definition, version)
                    self._tell(self._tables[name], "starting")
            self._index()
        self._start_due()
        return bool(self._tables)

    def begin(self) -> None:
        """There is a stream again: copy everything that does not follow it."""
        self._streams = True
        self._start_due()

    def tell_waiting(self, words: str) -> None:
        """All of them wait for the slot."""
        for table in self._tables.values():
            self._tell(table, "waiting", words)

    def close(self) -> None:
        """End copies; readers keep what they see."""
        self._looking.shutdown()
        for table in self._tables.values():
            table.lose()

    @property
    def read_on(self) -> bool:
        """False while a copy has as much waiting as it may."""
        return all(table.reads_on for table in self._tables.values())

    def _drop(self, table: FollowedTable) -> None:
        table.lose()
        self._means.state.drop_table(table.definition.name)
        self._means.room.forget(table.definition.name, keep="")
        others = [other for other in self._tables.values() if other is not table]
        shape = table.shape
        if shape is None or any(shape.oid in other.relations for other in others):
            return
        try:
            self._means.source.release(shape.oid)
        except NeuralGpuBusError as error:
            _log.warning("a table is still published", table=str(shape), reason=str(error))

    def _index(self) -> None:
        found: dict[int, list[FollowedTable]] = defaultdict(list)
        for table in self._tables.values():
            for oid in table.relations:
                found[oid].append(table)
        self._by_oid = dict(found)

    # ---- copies

    def _start_due(self) -> None:
        if not self._streams:
            return
        now_s = self._clock_s()
        for table in self._tables.values():
            idle = table.current is None and table.copy is None and table.coming is None
            if idle and now_s >= table.next_attempt_s:
                self._start(table)

    def _start(self, table: FollowedTable) -> None:
        means, name = self._means, table.definition.name
        self._tell(table, "starting")
        table.version += 1
        series = table.series

        def told(state: LiveTableState, detail: str) -> None:
            self._tell(table, state, detail)

        table.copy = TableCopy(
            name, lambda copy: copy_table(means, table.definition, series, copy, told)
        )

    def collect(self, position: int) -> bool:
        """Take copies that are over; whether a version was shown to readers.

        Not while a part of a transaction is applied: what is published then would show it.
        """
        shown = False
        for table in self._tables.values() if self._whole else ():
            self._register(table)
            if table.copy is not None and table.copy.is_over:
                self._take_copy(table, position)
            if table.is_due(position):
                self._show(table, position)
                shown = True
        return shown

    def _register(self, table: FollowedTable) -> None:
        """Keep the changes of a table that is published from now on."""
        copy = table.copy
        if copy is not None and copy.announced is not None and not copy.is_registered:
            table.shape = copy.announced
            table.pending = PendingChanges(self._means.pending_bytes_max)
            self._index()
            copy.register()

    def _take_copy(self, table: FollowedTable, position: int) -> None:
        assert table.copy is not None  # noqa: S101  asked just before
        try:
            table.take_copy(table.copy.result())
        except CopyStoppedError:
            table.lose()
        except (NeuralGpuBusError, OSError) as error:
            table.lose()
            self._discard()
            self._fail(table, error)
        else:
            # Nobody looks at it yet; what is discarded from now on is not the copy.
            self._means.room.writer.publish(position)
            self._index()
            self._tell(table, "catching up")

    def _show(self, table: FollowedTable, position: int) -> None:
        self._means.room.writer.publish(position)
        table.switch()
        self._tell(table, "live")
        self._means.room.forget(table.definition.name, keep=table.series)
        _log.info("a table is live", table=table.definition.name, series=table.series)

    def _fail(self, table: FollowedTable, error: Exception) -> None:
        table.failures += 1
        wait_s = min(RETRY_S * 2 ** (table.failures - 1), RETRY_S_MAX)
        table.next_attempt_s = self._clock_s() + wait_s
        record = to_record(error) if isinstance(error, NeuralGpuBusError) else None
        _log.warning("a table cannot be followed", table=table.definition.name, reason=str(error))
        self._tell(table, "failed", str(error).partition("\n")[0], error=record)

    # ---- changes

    def take(self, batch: StreamBatch) -> int:
        """Apply it to all tables; how many changes that were."""
        for transaction in batch.transactions:
            self._hand_out(transaction)
        changes = self._applied()
        while changes is None:  # one was given up: the others begin the batch again
            changes = self._applied()
        for table in self._tables.values():
            table.forget_batch()
        last = batch.transactions[-1] if batch.transactions else None
        self._whole = last is None or last.ends
        return changes

    def _applied(self) -> int | None:
        """Changes; None where a table could not take them, and nothing of them was done."""
        changes = 0
        for table in self._tables.values():
            try:
                done = table.apply()
            except (NeedsCopyError, BadValueError, SharedMemoryFullError) as error:
                self._give_up(table, error)
                return None
            if done:
                failpoint("in mid-apply")
                self._means.state.count(table.definition.name, changes=done)
                changes += done
        return changes

    def _give_up(self, table: FollowedTable, error: NeuralGpuBusError) -> None:
        if isinstance(error, NeedsCopyError):
            self._copy_anew(table, str(error).partition("\n")[0])
        else:
            table.lose()
            self._fail(table, error)
        self._discard()

    def _discard(self) -> None:
        """Take back what is not published. Of a transaction whose first parts are among it nothing
        can be applied any more; copies that are being written begin again.
        """
        self._means.room.writer.discard()
        for table in self._tables.values():
            if not self._whole and table.current is not None:
                self._copy_anew(table, "a large transaction could not be applied")
            elif table.copy is not None:
                table.lose_copy()
            table.discarded()

    def _hand_out(self, transaction: Transaction) -> None:
        mine: dict[str, list[RowStep]] = {}
        for step in transaction.steps:
            for table in self._tables_of(step):
                if isinstance(step, RowStep):
                    mine.setdefault(table.definition.name, []).append(step)
                else:
                    self._check(table, transaction.xid)
        for name, steps in mine.items():
            self._tables[name].take(transaction, steps)

    def _tables_of(self, step: object) -> list[FollowedTable]:
        if isinstance(step, RowChanges):
            return self._by_oid.get(step.relation.oid, [])
        if isinstance(step, Truncated):
            found = [table for oid in step.relations for table in self._by_oid.get(oid, [])]
            return list({table.definition.name: table for table in found}.values())
        if isinstance(step, Relation):
            # One that nobody knows is a partition that came since.
            return self._by_oid.get(step.oid) or [
                table for table in self._tables.values() if table.is_partitioned
            ]
        altered = self._means.source.altered(step) if isinstance(step, LogicalMessage) else None
        if altered is None:
            return []
        for table in self._tables.values():
            table.made.update(altered.made)
        return [table for table in self._tables.values() if altered.concerns(table.relations)]

    # ---- tables that changed

    def look(self) -> None:
        """Look at all of them in the catalog, beside the stream; take what the last look found."""
        if self._look is not None:
            if not self._look.done():
                return
            for name, (moment, shape, reason) in self._look.result().items():
                table = self._tables.get(name)
                if table is not None and table.moment is moment:
                    self._take_look(table, shape, reason)
        followed = {
            name: (table.definition, table.moment, frozenset(table.made))
            for name, table in self._tables.items()
            if table.is_followed and table.moment is not None
        }
        self._look = self._looking.submit(self._looked, followed)

    def _looked(self, tables: Mapping[str, _LookedAt]) -> dict[str, _Seen]:
        found = {}
        for name, (definition, moment, made) in tables.items():
            try:
                seen = self._means.source.look_again(definition, moment, made)
            except NeuralGpuBusError:
                return {}  # the stream will be lost as well, or the next look finds it
            found[name] = (moment, *seen)
        return found

    def _check(self, table: FollowedTable, xid: int) -> None:
        """Now, because the stream says that this transaction changed it: what comes behind is of
        the table as it is then, or later.
        """
        if table.moment is None or not table.is_followed:
            return
        source = self._means.source
        if not source.wait_seen(xid):
            self._copy_anew(table, "it was altered by a transaction that others do not see yet")
            return
        self._take_look(table, *source.look_again(table.definition, table.moment, table.made))

    def _take_look(self, table: FollowedTable, shape: TableShape | None, reason: str) -> None:
        if reason:
            self._copy_anew(table, reason)
        elif shape is not None and shape != table.shape:
            table.take_shape(shape)
            self._index()

    def _copy_anew(self, table: FollowedTable, reason: str) -> None:
        _log.info("a table is copied anew", table=table.definition.name, reason=reason)
        table.reason = reason
        self._tell(table, "copying anew", reason)
        table.lose()
        table.next_attempt_s = 0.0

    def lose(self, error: NeuralGpuBusError) -> None:
        """The stream is gone, and with it what tells how tables went on."""
        self._streams = False
        reason = str(error).partition("\n")[0]
        for table in self._tables.values():
            table.lose()
        self._whole = True
        self._means.state.begin_anew(f"the stream is lost: {reason}")
        if not isinstance(error, ServerError):
            for table in self._tables.values():
                self._fail(table, error)
        self._means.room.writer.discard()

    def _tell(
        self,
        table: FollowedTable,
        state: LiveTableState,
        detail: str = "",
        error: ErrorRecord | None = None,
    ) -> None:
        series = table.series if state == "live" else ""
        if table.reason and state in ("starting", "waiting", "copying", "catching up"):
            detail = f"{table.reason}; {detail or state}"
            state = "copying anew"
        told = TableState(table.definition.name, series, state, detail, error=error)
        self._means.state.set_table(told)
