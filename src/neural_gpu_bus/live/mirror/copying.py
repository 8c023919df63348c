"""What one copy does: wait for older transactions, take a snapshot, read by several connections,
write a series that nobody looks at yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.live.applying.applied_table import AppliedTable
from neural_gpu_bus.live.applying.no_rows import NoRows
from neural_gpu_bus.live.applying.set_up import remarks
from neural_gpu_bus.live.mirror.failpoints import failpoint
from neural_gpu_bus.live.mirror.table_copy import Copied, TableCopy
from neural_gpu_bus.stores.postgres.replication.told import Waits

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.live.mirror.means import MirrorMeans
    from neural_gpu_bus.live.shared.manifest import LiveTableState

_log = structlog.get_logger(__name__)

#: State and detail.
Told = Callable[["LiveTableState", str], None]


def copy_table(
    means: MirrorMeans,
    definition: LiveDefinition,
    series: str,
    copy: TableCopy,
    told: Told,
) -> Copied:
    """The table as of one snapshot, in a new series of that name.

    Raises CopyStoppedError, and what waiting, reading and writing raise.
    """
    source = means.source
    waits = Waits(told=lambda words: told("waiting", words), ended=lambda: copy.is_stopped)
    shape = source.admit(definition, waits)
    if not definition.changes_only:
        AppliedTable.check(shape, definition)
    for remark in remarks(shape, definition):
        _log.info(remark, table=definition.name)
    counts = source.change_counts(shape) if definition.append_only else None
    copy.announce(shape)
    told("waiting", "")
    with source.moment(definition, waits) as moment:
        if definition.changes_only:
            return Copied(NoRows(), moment)
        told("copying", "")
        columns = source.columns(definition, moment.shape)
        applied = means.room.made(series, moment.shape, definition, columns)

        def progress(done: int, total: int | None) -> None:
            copy.check()
            # None for a table that was never analysed: what has come is no total.
            means.state.count(definition.name, rows_copied=done, rows_expected=total or 0)

        first = applied.first_copy()
        source.hand_on(definition, moment, first, progress)
        failpoint("in mid-copy")
        copy.check()
        rows = first.finish()
        means.state.count(definition.name, rows_copied=rows, rows_expected=rows)
    return Copied(applied, moment, counts)
