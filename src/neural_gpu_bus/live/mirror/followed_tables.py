"""All tables of a home: which there are, whose changes are whose, what each is told to be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import (
    BadValueError,
    DatasetNotFoundError,
    NeuralGpuBusError,
    ServerError,
    SharedMemoryFullError,
)
from neural_gpu_bus.live.applying.applied_table import NeedsCopyError
from neural_gpu_bus.live.applying.refused_values import in_live_words
from neural_gpu_bus.live.mirror.catalog_looks import CatalogLooks
from neural_gpu_bus.live.mirror.copying import copy_table
from neural_gpu_bus.live.mirror.failpoints import failpoint
from neural_gpu_bus.live.mirror.followed_table import FollowedTable
from neural_gpu_bus.live.mirror.going_on import GoingOn
from neural_gpu_bus.live.mirror.pending import KeptBytes, PendingChanges, RowStep
from neural_gpu_bus.live.mirror.releasing import Releasing
from neural_gpu_bus.live.mirror.table_copy import CopyStoppedError, TableCopy
from neural_gpu_bus.live.mirror.telling import covered, soon_ns
from neural_gpu_bus.live.mirror.whose_changes import WhoseChanges
from neural_gpu_bus.live.shared.manifest import TableState

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import ErrorRecord
    from neural_gpu_bus.live.mirror.continuing import Begun
    from neural_gpu_bus.live.mirror.means import MirrorMeans
    from neural_gpu_bus.live.shared.manifest import LiveTableState
    from neural_gpu_bus.stores.postgres.replication.transactions import StreamBatch, Transaction

#: After an attempt that failed; doubles.
RETRY_S, RETRY_S_MAX = 1.0, 30.0
#: A table that is followed for its changes alone is forgotten when nobody asked for so long.
UNUSED_S_MAX = 3600.0

_log = structlog.get_logger(__name__)


class FollowedTables:
    """Every live table of a home, in the hands of its one writer."""

    def __init__(self, means: MirrorMeans, clock_s: Callable[[], float]) -> None:
        self._means = means
        self._clock_s = clock_s
        self._tables: dict[str, FollowedTable] = {}
        self._token: object = None
        self._whose = WhoseChanges(self._tables, means.source.altered)
        self._looks = CatalogLooks(means.source, self._tables, self._copy_anew, self._taken)
        self.going_on = GoingOn(
            means, self._tables, self._looks, lambda table: self._tell(table, "live")
        )
        self._streams = False
        self._releasing = Releasing(means.source, clock_s)
        #: Whether the last transaction that was applied has ended.
        self._whole = True

    # ---- which there are

    def reconcile(self) -> bool:
        """Follow what is declared now; False where nothing is."""
        token = self._means.definitions.token()
        if token != self._token:
            self._token = token
            declared = self._means.definitions.all()
            wanted = {name: one for name, one in declared.items() if one.how == "stream"}
            for table in self._tables.values():
                table.next_attempt_s = 0.0  # somebody asks again, and may have mended what failed
            for name in [name for name in self._tables if name not in wanted]:
                self._drop(self._tables.pop(name))
            for name, definition in wanted.items():
                known = self._tables.get(name)
                if known is not None and known.definition.is_same(definition):
                    known.definition = definition
                elif known is not None:
                    self._drop(self._tables.pop(name))
                if name not in self._tables:
                    version = self._means.room.last_version(name)
                    self._tables[name] = FollowedTable(definition, version)
                    self._tell(self._tables[name], "starting")
            self._whose.index()
        self._start_due()
        return bool(self._tables)

    def begin(self) -> None:
        """There is a stream again: copy everything that does not follow it."""
        self._streams = True
        self._start_due()

    def go_on(self, begun: Begun) -> None:
        """With tables that need no copy."""
        self.going_on.begin(begun)
        self._whose.index()

    def tell_waiting(self, words: str) -> None:
        """All of them wait for the slot."""
        for table in self._tables.values():
            self._tell(table, "waiting", words)

    def close(self) -> None:
        """End copies; readers keep what they see."""
        self._looks.close()
        for table in self._tables.values():
            table.lose()

    @property
    def asked_again(self) -> bool:
        """Whether something was declared since ``reconcile``: what failed may have been mended."""
        return self._means.definitions.token() != self._token

    @property
    def sources(self) -> frozenset[str]:
        """PostgreSQL's names of the tables that are followed, or will be next: one that failed may
        have a filter that fails for a row, which would end the stream of all.
        """
        return frozenset(
            table.definition.table for table in self._tables.values() if not table.has_failed
        )

    @property
    def read_on(self) -> bool:
        """False while a copy has as much waiting as it may."""
        return all(table.reads_on for table in self._tables.values())

    @property
    def any_copy(self) -> bool:
        """Whether one runs, or waits for the stream to pass its snapshot."""
        return any(table.copy or table.coming for table in self._tables.values())

    def _drop(self, table: FollowedTable) -> None:
        table.lose()
        self._means.continuing.forget(table.definition.name)
        self._means.state.drop_table(table.definition.name)
        self._means.changes.drop(table.definition.name)
        self._means.claims.drop(table.definition.name)
        self._means.room.forget(table.definition.name, keep="")
        if table.shape is not None:
            self._releasing.release(self.sources)

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
            name,
            lambda copy: copy_table(means, table.definition, series, copy, told),
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
            self._give_way(table)
            table.pending = PendingChanges(self._means.pending_bytes_max)
            self._whose.index()
            copy.register()

    def _give_way(self, table: FollowedTable) -> None:
        """A table is published in one way only: what somebody declared goes before one that is
        followed for its changes because a query asked.
        """
        if not table.definition.where and not table.definition.append_only:
            return
        for other in self._tables.values():
            if other.definition.changes_only and other.relations & table.relations:
                with suppress(DatasetNotFoundError):
                    self._means.definitions.drop(other.definition.name)

    def _take_copy(self, table: FollowedTable, position: int) -> None:
        assert table.copy is not None  # noqa: S101  asked just before
        try:
            table.take_copy(table.copy.result())
        except CopyStoppedError:
            table.lose()
        except NeedsCopyError as error:
            self._copy_anew(table, str(error).partition("\n")[0])
            self._discard()
        except (NeuralGpuBusError, OSError) as error:
            table.lose()
            self._discard()
            self._fail(table, error)
        else:
            # Nobody looks at it yet; what is discarded from now on is not the copy.
            self._means.room.writer.publish(position)
            self._whose.index()
            self._tell(table, "catching up")
            self._looks.check_copied(table)

    def _show(self, table: FollowedTable, position: int) -> None:
        self._means.room.writer.publish(position)
        table.switch()
        self._tell(table, "live")
        self.going_on.keep(table)
        self._means.room.forget(table.definition.name, keep=table.series)
        _log.info("a table is live", table=table.definition.name, series=table.series)

    def _fail(self, table: FollowedTable, error: Exception) -> None:
        error = in_live_words(error, table.definition)
        table.failures += 1
        wait_s = min(RETRY_S * 2 ** (table.failures - 1), RETRY_S_MAX)
        table.next_attempt_s = self._clock_s() + wait_s
        record = to_record(error) if isinstance(error, NeuralGpuBusError) else None
        _log.warning("a table cannot be followed", table=table.definition.name, reason=str(error))
        detail = str(error).partition("\n")[0]
        self._tell(table, "failed", detail, error=record, retry_ns=soon_ns(wait_s))
        self._releasing.release(self.sources)

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
                self._means.state.count(
                    table.definition.name,
                    changes=done,
                    transactions=table.transactions,
                    stream_bytes=table.stream_bytes,
                )
                changes += done
        return changes

    def _give_up(self, table: FollowedTable, error: NeuralGpuBusError) -> None:
        if isinstance(error, NeedsCopyError):
            self._copy_anew(table, str(error).partition("\n")[0])
        else:
            self._means.continuing.forget(table.definition.name)
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
        touched: set[str] = set()
        for step in transaction.steps:
            for table in self._whose.tables_of(step):
                touched.add(table.definition.name)
                if isinstance(step, RowStep):
                    mine.setdefault(table.definition.name, []).append(step)
                else:
                    self._looks.check(table, transaction.xid, step)
        self._means.changes.tell(transaction, touched)
        kept = KeptBytes(transaction)
        for name, steps in mine.items():
            self._tables[name].take(transaction, steps, kept)

    # ---- tables that changed

    def look(self) -> float:
        """Now and then, whatever the stream says; seconds until the next one."""
        self._looks.look()
        self._releasing.look(self.sources)
        for name, table in self._tables.items():
            unused_s = self._means.changes.unused_s(name) if table.definition.changes_only else 0.0
            if unused_s > UNUSED_S_MAX:
                with suppress(DatasetNotFoundError):
                    self._means.definitions.drop(name)
        return self._looks.pause_s

    def confirmed(self, rows_ns: int) -> int:
        """Moment up to which nothing is missing, also of definitions, where rows are complete up to
        ``rows_ns``.
        """
        if self._looks.collect():
            for table in self._tables.values():
                if table.current is not None:
                    self._tell(table, "live")
        return self._looks.confirmed(rows_ns)

    def _taken(self) -> None:
        """A table has another shape, and goes on."""
        self._whose.index()
        self.going_on.keep_all()

    def _copy_anew(self, table: FollowedTable, reason: str) -> None:
        _log.info("a table is copied anew", table=table.definition.name, reason=reason)
        table.reason = reason
        self._means.continuing.forget(table.definition.name)
        self._tell(table, "copying anew", reason)
        table.lose()
        table.next_attempt_s = 0.0

    def lose(self, error: NeuralGpuBusError, pause_s: float) -> None:
        """The stream is gone, and with it what tells how tables went on; the next one is tried in
        ``pause_s``.
        """
        self._streams = False
        reason = str(error).partition("\n")[0]
        for table in self._tables.values():
            table.lose()
        self._whole = True
        self._means.changes.begin_anew()
        why = f"the stream is lost: {reason}"
        self._means.state.begin_anew(why, self._tables, retry_ns=soon_ns(pause_s))
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
        retry_ns: int = 0,
    ) -> None:
        series = table.series if state == "live" else ""
        if series and table.definition.changes_only:
            series, detail = "", "for its changes alone: no rows are kept"
        if table.reason and state in ("starting", "waiting", "copying", "catching up"):
            detail = f"{table.reason}; {detail or state}"
            state = "copying anew"
        definition = table.definition
        told = TableState(
            definition.name,
            series,
            state,
            detail,
            error=error,
            retry_ns=retry_ns,
            notices=self._means.source.notices.get(definition.name, ()),
            added_ns=definition.added_ns,
            looked_s=self._looks.look_s,
        )
        self._means.changes.cover(definition.name, *covered(table, state))
        self._means.state.set_table(told)
