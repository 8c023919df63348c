"""Whether tables are still what their versions were copied from.

The stream tells of rows, and of definitions only by what our event trigger adds to it, or when rows
come that look otherwise. So the catalog is looked at: at once where the stream says that something
changed, and once or twice a second beside it. Where nobody tells of definitions, a table is as
fresh as the last look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.host_clock import host_clock_ns
from neural_gpu_bus.stores.postgres.replication.moment_changes import unpublished
from neural_gpu_bus.stores.postgres.replication.publications import membership_of
from neural_gpu_bus.stores.postgres.replication.transactions import LogicalMessage

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.live.mirror.followed_table import FollowedTable
    from neural_gpu_bus.live.mirror.source import Source
    from neural_gpu_bus.live.mirror.table_copy import Copied
    from neural_gpu_bus.stores.postgres.replication.publications import Membership
    from neural_gpu_bus.stores.postgres.replication.shape_changes import MadeLeaf
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape

#: Between two looks: where the event trigger tells of definitions, and where it does not.
LOOK_S, UNTOLD_LOOK_S = 1.0, 0.5

#: What a look needs of a table, and what it found: from which copy on, the table as it is, and why
#: it has to be copied anew.
_LookedAt = tuple["LiveDefinition", "Copied", frozenset["MadeLeaf"]]
_Seen = tuple["Copied", "TableShape | None", str]
#: When it began, by the host's clock, whether definitions are told, and what was found.
_Look = tuple[int, bool, dict[str, _Seen]]

_UNSEEN = "it was altered by a transaction that others do not see yet"


class CatalogLooks:
    """``copy_anew`` is told a table and why; ``taken`` that one has other partitions now."""

    def __init__(
        self,
        source: Source,
        tables: Mapping[str, FollowedTable],
        copy_anew: Callable[[FollowedTable, str], None],
        taken: Callable[[], None],
    ) -> None:
        self._source = source
        self._tables = tables
        self._copy_anew = copy_anew
        self._taken = taken
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ngb-look")
        self._look: Future[_Look | None] | None = None
        #: When the last look began: definitions are those of then, at least.
        self._looked_ns = 0
        #: Whether they are told in the stream; None before the first look.
        self._told: bool | None = None
        #: What was asked because of that step.
        self._published: tuple[object, Mapping[int, Membership]] | None = None

    def close(self) -> None:
        """Wait for the look that runs."""
        self._thread.shutdown()

    @property
    def look_s(self) -> float:
        """How long definitions may be another one's before that is seen; 0: they are told."""
        return UNTOLD_LOOK_S if self._told is False else 0.0

    @property
    def pause_s(self) -> float:
        """Until the next ``look``."""
        return self.look_s or LOOK_S

    def confirmed(self, rows_ns: int) -> int:
        """Moment up to which neither rows nor definitions are missing, where rows are not up to
        ``rows_ns``; 0: not known. What a session commits that switched event triggers off for
        itself is left out of account.
        """
        return rows_ns if self._told else min(rows_ns, self._looked_ns)

    def collect(self) -> bool:
        """Take what a look at all tables found, once it is over; whether it is known otherwise than
        before who tells of definitions.
        """
        if self._look is None or not self._look.done():
            return False
        look, self._look = self._look.result(), None
        if look is None:
            return False
        looked_ns, told, found = look
        for name, (copied, shape, reason) in found.items():
            table = self._tables.get(name)
            if table is not None and table.copied is copied:
                self._take(table, shape, reason)
        before, self._told, self._looked_ns = self._told, told, looked_ns
        return before is not told

    def look(self) -> None:
        """Begin a look at all tables, beside the stream, unless one runs."""
        if self._look is not None:
            return
        followed = {
            name: (table.definition, table.copied, frozenset(table.made))
            for name, table in self._tables.items()
            if table.copied is not None
        }
        self._look = self._thread.submit(self._looked, followed)

    def check(self, table: FollowedTable, xid: int, step: object) -> None:
        """Now, because this step of the stream says that this transaction altered it: what comes
        behind is of the table as it is then, or later. One that is being copied is looked at when
        it is there.
        """
        if table.copy is not None:
            table.altered_by.add(xid)
            if table.is_partitioned:  # changes of a partition that nobody knows were not kept
                table.lose_copy()
        elif table.copied is not None and not self._is_told_apart(table, xid, step):
            self._look_now(table, [xid])

    def _is_told_apart(self, table: FollowedTable, xid: int, step: object) -> bool:
        """Whether only publications were altered, and this table is published as it was. It is
        asked once for all tables: with a whole look at each, which is 5 ms, a hundredth table took
        a second to become live, and the stream stood still meanwhile.
        """
        altered = self._source.altered(step) if isinstance(step, LogicalMessage) else None
        if altered is None or table.shape is None or altered.alters(table.relations):
            return False
        if self._published is None or self._published[0] is not step:
            if not self._source.wait_seen(xid):
                return False
            self._published = step, self._source.published_as()
        assert table.copied is not None  # noqa: S101  asked before
        before, now = table.copied.moment.membership, self._published[1]
        return not unpublished(before, membership_of(now, table.shape))

    def check_copied(self, table: FollowedTable) -> None:
        """A copy is there: was the table altered since its snapshot was let go?"""
        altered_by, table.altered_by = table.altered_by, set()
        self._look_now(table, sorted(altered_by))

    def _look_now(self, table: FollowedTable, xids: list[int]) -> None:
        assert table.copied is not None  # noqa: S101  asked before
        if not all(self._source.wait_seen(xid) for xid in xids):
            self._copy_anew(table, _UNSEEN)
            return
        found = self._source.look_again(table.definition, table.copied, table.made)
        self._take(table, *found)

    def _looked(self, tables: Mapping[str, _LookedAt]) -> _Look | None:
        begun_ns, found = host_clock_ns(), {}
        try:
            told = self._source.tells()
            # One statement for all: a whole look at a table takes milliseconds of the server.
            due = self._source.due(
                {definition.table: copied.moment.shape for definition, copied, _ in tables.values()}
            )
            for name, (definition, copied, made) in tables.items():
                if definition.table in due or copied.counts is not None:
                    found[name] = (copied, *self._source.look_again(definition, copied, made))
        except NeuralGpuBusError:
            self._source.forget_looks()
            return None  # the stream will be lost as well, or the next look finds it
        return begun_ns, told, found

    def _take(self, table: FollowedTable, shape: TableShape | None, reason: str) -> None:
        if reason:
            self._copy_anew(table, reason)
        elif shape is not None and shape != table.shape:
            table.take_shape(shape)
            self._taken()
