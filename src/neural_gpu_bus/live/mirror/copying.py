"""What one copy does: wait for older transactions, take a snapshot, read by several connections,
write a series that nobody looks at yet.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.live.applying.applied_table import AppliedTable
from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError
from neural_gpu_bus.live.applying.no_rows import NoRows
from neural_gpu_bus.live.applying.set_up import remarks
from neural_gpu_bus.live.mirror.copy_ahead import Expected, made_ready
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
    """The table as of one snapshot, in a new series of that name, when it is its turn.

    Raises CopyStoppedError, and what waiting, reading and writing raise.
    """
    with means.room.turns.taken(copy.check) as leave:

        def waiting(words: str) -> None:
            leave()
            told("waiting", words)

        waits = Waits(told=waiting, ended=lambda: copy.is_stopped)
        return _copied(means, definition, series, copy, told, waits)


def _copied(  # noqa: PLR0917  the same, with what it waits by
    means: MirrorMeans,
    definition: LiveDefinition,
    series: str,
    copy: TableCopy,
    told: Told,
    waits: Waits,
) -> Copied:
    source = means.source
    shape = source.admit(definition, waits, means.claims)
    if not definition.changes_only:
        AppliedTable.check(shape, definition)
    for remark in remarks(shape, definition):
        _log.info(remark, table=definition.name)
    counts = source.change_counts(shape) if definition.append_only else None
    with ExitStack() as while_copied:
        columns, expected = [], Expected()
        if not definition.changes_only:
            columns = source.columns(definition, shape)
            expected = while_copied.enter_context(made_ready(means, definition, columns))
        copy.announce(shape)
        told("waiting", "")
        moment = while_copied.enter_context(source.moment(definition, waits, shape))
        if definition.changes_only:
            return Copied(NoRows(), moment)
        told("copying", "")
        if moment.shape != shape:
            columns = source.columns(definition, moment.shape)
        applied = means.room.made(series, moment.shape, definition, columns)

        def progress(done: int, total: int | None, nbytes: int) -> None:
            copy.check()
            total = total or expected.rows  # None for a table that was never analysed
            total = max(total, done) if total else 0  # what has come is no total
            means.state.count(
                definition.name, rows_copied=done, rows_expected=total, bytes_copied=nbytes
            )

        first = applied.first_copy()
        try:
            source.hand_on(definition, moment, first, progress)
        except QueryTimeoutError as error:  # of a lock alone: reading has no limit
            raise _change_waits(definition) from error
        failpoint("in mid-copy")
        copy.check()
        rows = first.finish()
        means.state.count(definition.name, rows_copied=rows, rows_expected=rows)
    return Copied(applied, moment, counts)


def _change_waits(definition: LiveDefinition) -> NeedsCopyError:
    reason = "somebody waits to change it"
    return NeedsCopyError(
        f"table {definition.table!r} cannot be copied now: {reason}",
        hint="nothing is to be done: it is copied after that",
        table=definition.table,
        reason=reason,
    )
