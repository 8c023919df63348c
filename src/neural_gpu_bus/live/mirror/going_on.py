"""Tables that are followed on from where the stream before ended, without being copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.errors import DatasetNotFoundError
from neural_gpu_bus.live.mirror.stream_record import KeptTable
from neural_gpu_bus.live.mirror.table_copy import Copied

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.catalog_looks import CatalogLooks
    from neural_gpu_bus.live.mirror.continuing import Begun
    from neural_gpu_bus.live.mirror.followed_table import FollowedTable
    from neural_gpu_bus.live.mirror.means import MirrorMeans

_log = structlog.get_logger(__name__)


class GoingOn:
    """``tell``: what makes it known that a table is live."""

    def __init__(
        self,
        means: MirrorMeans,
        tables: Mapping[str, FollowedTable],
        looks: CatalogLooks,
        tell: Callable[[FollowedTable], None],
    ) -> None:
        self._means, self._tables, self._looks, self._tell = means, tables, looks, tell

    @property
    def wants_persistent(self) -> bool:
        """Whether any table asks for a slot that outlives the process: there is one for all."""
        return any(table.definition.slot == "persistent" for table in self._tables.values())

    def begin(self, begun: Begun) -> None:
        """Follow versions that are there, as of where the stream begins; those that cannot are
        copied anew.
        """
        for table in self._tables.values():
            if begun.anew and table.version:
                table.reason = begun.anew
        if begun.tables:
            self._means.state.applied(begun.position)
        for kept in begun.tables:
            known = self._tables.get(kept.definition.name)
            if known is None or not self._goes_on(known, kept):
                self._means.continuing.forget(kept.definition.name)

    def keep(self, table: FollowedTable) -> None:
        """It is live: the next stream, or process, may go on with it."""
        copied = table.copied
        if table.current is not None and copied is not None and not table.definition.changes_only:
            kept = KeptTable(table.definition, table.version, copied.moment, copied.counts)
            self._means.continuing.keep(kept)

    def keep_all(self) -> None:
        """One of them has another shape, and goes on."""
        for table in self._tables.values():
            self.keep(table)

    def _goes_on(self, table: FollowedTable, kept: KeptTable) -> bool:
        means, definition, shape = self._means, table.definition, kept.moment.shape
        if not definition.follows_as(kept.definition) or table.version != kept.version:
            return False
        columns = means.source.columns(definition, shape)
        try:
            applied = means.room.found(table.series, shape, definition, columns)
        except DatasetNotFoundError:
            return False
        means.claims.claim(definition, shape)
        table.go_on(applied, Copied(applied, kept.moment, kept.counts))
        self._looks.check_copied(table)  # was it altered while nobody looked?
        if table.current is None:
            return False
        self._tell(table)
        means.room.forget(definition.name, keep=table.series)
        _log.info("a table goes on", table=definition.name, series=table.series)
        return True
