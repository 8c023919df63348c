"""Which live tables a step of the stream is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from neural_gpu_bus.stores.postgres.replication.transactions import (
    LogicalMessage,
    Relation,
    RowChanges,
    Truncated,
)

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.followed_table import FollowedTable
    from neural_gpu_bus.stores.postgres.replication.ddl_trigger import DdlMessage


class WhoseChanges:
    """By OIDs of tables and their partitions; several live tables may be of one table."""

    def __init__(
        self,
        tables: Mapping[str, FollowedTable],
        altered: Callable[[LogicalMessage], DdlMessage | None],
    ) -> None:
        """``altered``: what a message of the event trigger says; None for any other."""
        self._tables = tables
        self._altered = altered
        self._by_oid: dict[int, list[FollowedTable]] = {}

    def index(self) -> None:
        """Tables came, went, or have other partitions."""
        found: dict[int, list[FollowedTable]] = defaultdict(list)
        for table in self._tables.values():
            for oid in table.relations:
                found[oid].append(table)
        self._by_oid = dict(found)

    def tables_of(self, step: object) -> list[FollowedTable]:
        """Those whose rows it changes, or which it says are other tables now."""
        if isinstance(step, RowChanges):
            return self._of((step.relation.oid,))
        if isinstance(step, Truncated):
            return self._of(step.relations)
        if isinstance(step, Relation):
            # One that nobody knows is a partition that came since.
            return self._of((step.oid,)) or self._partitioned()
        if isinstance(step, LogicalMessage):
            return self._named_by(step)
        return []

    def _of(self, oids: tuple[int, ...]) -> list[FollowedTable]:
        found = {
            table.definition.name: table for oid in oids for table in self._by_oid.get(oid, [])
        }
        return list(found.values())

    def _partitioned(self) -> list[FollowedTable]:
        return [table for table in self._tables.values() if table.is_partitioned]

    def _named_by(self, message: LogicalMessage) -> list[FollowedTable]:
        altered = self._altered(message)
        if altered is None:
            return []
        for table in self._tables.values():
            table.made.update(altered.made)
        return [table for table in self._tables.values() if altered.concerns(table.relations)]
