"""One series that follows one table: its first copy, and every batch of changes since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from neural_gpu_bus.errors import BadValueError, UnsupportedTypeError
from neural_gpu_bus.live.applying.array_depths import ArrayDepths
from neural_gpu_bus.live.applying.few_changes import FewChanges
from neural_gpu_bus.live.applying.first_copy import FirstCopy
from neural_gpu_bus.live.applying.identity_hashes import identity_hashes
from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError
from neural_gpu_bus.live.applying.net_effect import NetEffect, net_effect
from neural_gpu_bus.live.applying.net_effect_kernels import INSERT
from neural_gpu_bus.live.applying.received_rows import ReceivedRows
from neural_gpu_bus.live.applying.row_places import RowPlaces
from neural_gpu_bus.live.applying.set_up import column_names, identity_of
from neural_gpu_bus.live.applying.tuples import Batch, Tuples, one_table
from neural_gpu_bus.live.applying.unchanged_values import ValuesBefore, filled_from_old

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.memory.growing import GrowingColumns
    from neural_gpu_bus.memory.series.exchanging import FoundRows
    from neural_gpu_bus.memory.series.writer import SeriesWriter
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape

    Numbers = npt.NDArray[np.int64]

#: An update writes a chunk anew: 2**18 rows of 56 bytes in 11 ms instead of 45 for 2**20. Its head
#: repeats 2**14, so that the last 10,000 rows are one slice still.
SIZES_WITH_UPDATES = {"chunk_rows_max": 1 << 18, "overlap_rows": 1 << 14}

__all__ = ["AppliedTable", "ApplyCounts", "NeedsCopyError"]


class ApplyCounts(msgspec.Struct, frozen=True):
    """What one batch did."""

    #: As they came.
    changes: int = 0
    #: Rows of the series that went, and that came: an update is one of each, and of several of one
    #: row at least one.
    removed: int = 0
    added: int = 0
    truncated: bool = False

    def more(self, changes: int, removed: int, added: int) -> ApplyCounts:
        """With what came to it."""
        return msgspec.structs.replace(
            self,
            changes=self.changes + changes,
            removed=self.removed + removed,
            added=self.added + added,
        )


class AppliedTable:
    """Not for several threads at once. What it changes is seen when the writer publishes."""

    def __init__(  # noqa: PLR0917  the parts that its maker has
        self,
        writer: SeriesWriter,
        series: str,
        table: TableShape,
        definition: LiveDefinition,
        tuples: Tuples,
        depths: ArrayDepths | None = None,
    ) -> None:
        """``series``: made with the definition's ``key`` and ``order_by``."""
        self._writer = writer
        self._series = series
        self._table = table
        self._definition = definition
        self._tuples = tuples
        self._names = column_names(table, definition)
        self._identity = identity_of(table, definition)
        self._editor = writer.editor(series)
        self._places = RowPlaces(self._editor, self._identity, definition)
        self._rows = self._editor.rows
        self._discards = self._editor.discards
        self._few = FewChanges.of(self._editor, tuples, self._names, self._places)
        self._depths = depths or ArrayDepths()
        self._depths.begin(self._editor.shape.schema)
        if not definition.key:
            self._editor.name(())  # an empty table has no rows, instead of being none

    @staticmethod
    def check(table: TableShape, definition: LiveDefinition) -> None:
        """Raises BadParameterError, ColumnNotFoundError for what cannot be live as declared."""
        identity_of(table, definition)

    @classmethod
    def create(  # noqa: PLR0917  the parts that its maker has
        cls,
        growing: GrowingColumns,
        writer: SeriesWriter,
        group: str,
        series: str,
        table: TableShape,
        definition: LiveDefinition,
        columns: Sequence[SourceColumn],
        depths: ArrayDepths | None = None,
    ) -> Self:
        """With an empty series of that name, which is made.

        ``columns``: of the definition, in the order of the table, as they are read. Raises
        UnsupportedTypeError, SharedMemoryFullError.
        """
        from neural_gpu_bus.live.applying.wire_tuples import WireTuples

        schema = (depths or ArrayDepths()).schema(columns)
        sizes = {} if definition.append_only else SIZES_WITH_UPDATES
        key, order_by = list(definition.key), definition.order_by
        try:
            growing.series(series, schema, key, order_by, group, **sizes)
        except UnsupportedTypeError as error:
            raise UnsupportedTypeError(
                f"table {definition.table!r} cannot be live as declared: {error.what}",
                hint=f"{error.hint}; or leave the column out: columns=[...]",
                **error.facts,
            ) from None
        return cls(writer, series, table, definition, WireTuples(columns), depths)

    @classmethod
    def found(  # noqa: PLR0917  the same
        cls,
        writer: SeriesWriter,
        series: str,
        table: TableShape,
        definition: LiveDefinition,
        columns: Sequence[SourceColumn],
        depths: ArrayDepths | None = None,
    ) -> Self:
        """With a series that is there, to be followed from what it was published as on. Places of
        rows are looked up from its columns, when the first row goes.
        """
        from neural_gpu_bus.live.applying.wire_tuples import WireTuples

        return cls(writer, series, table, definition, WireTuples(columns), depths)

    @property
    def series(self) -> str:
        """Name of the series."""
        return self._series

    @property
    def index_bytes(self) -> int:
        """Memory of this process that finding rows takes."""
        return self._places.index_bytes

    def take_shape(self, table: TableShape) -> None:
        """The table as it is now: with partitions that came since, and otherwise the same."""
        self._table = table

    # ---- the first copy

    def copy_rows(self, table: pa.Table) -> int:
        """Add rows of the first copy, in any order; how many. Most at once is quickest.

        Raises BadValueError for NULL in the key or the order, SharedMemoryFullError: then some may
        have been added, and the caller discards them.
        """
        self._check_not_null(table)
        columns, partitions = self._editor.numbered(table.select(self._names), self._names)
        self._editor.fill(columns, partitions)
        self._places.forget()
        self._rows += table.num_rows
        return table.num_rows

    def first_copy(self) -> FirstCopy:
        """For rows that come in batches: quickest in order, and right in any."""
        return FirstCopy(
            self._editor.filling(),
            self._names,
            self._check_not_null,
            self._copied,
            lambda filling, columns: ReceivedRows.of(filling, columns, self._editor.shape),
        )

    def _copied(self, rows: int) -> None:
        self._places.forget()
        self._rows += rows

    # ---- changes

    def apply(self, steps: Sequence[Any]) -> ApplyCounts:
        """Bring the series to the end of these changes of this table, which came in that order.

        ``steps``: RowChanges and Truncated. All of them or none. Raises NeedsCopyError,
        BadValueError for NULL in the key or the order, SharedMemoryFullError: then the caller
        discards what is not published, calls ``discarded`` and may try again.
        """
        if self._editor.discards != self._discards:
            self.check_rows()
        changes, truncated = self._after_truncation(steps)
        if truncated:
            self._writer.truncate(self._series)
            self._places.forget()
            self._rows = 0
        if not changes:
            return ApplyCounts(truncated=truncated)
        changes, done = self._by_short_way(changes, ApplyCounts(truncated=truncated))
        if not changes:
            return done
        batch = Batch(self._tuples, changes)
        if (batch.kinds == INSERT).all():
            removed, added = 0, self._insert(batch)
        else:
            removed, added = self._change(batch)
        self._rows += added - removed
        return done.more(len(batch.kinds), removed, added)

    def _by_short_way(self, changes: list[Any], done: ApplyCounts) -> tuple[list[Any], ApplyCounts]:
        """What is left for the general way, the later ones, and what is done with the others."""
        if self._few is None or not self._few.begin(changes):
            return changes, done
        every = self._tuples.joined(changes)
        rows = self._few.insert(every)
        if rows:
            self._rows += rows
            return _behind(every, rows), done.more(rows, 0, rows)
        rows = self._few.update(every)
        return _behind(every, rows), done.more(rows, rows, rows)

    def check_rows(self) -> None:
        """Raises NeedsCopyError where the series does not hold as many rows as it was given: what
        was not published was discarded, and nobody said so here.
        """
        self._discards = self._editor.discards
        held = self._editor.rows
        if held != self._rows:
            raise self._copy_needed(f"it was given {self._rows:,} rows and holds {held:,}")

    def discarded(self) -> None:
        """The writer discarded what was not published: forget what was kept of it."""
        self._places.forget()
        self._rows, self._discards = self._editor.rows, self._editor.discards

    def _after_truncation(self, steps: Sequence[Any]) -> tuple[list[Any], bool]:
        """Changes behind the last TRUNCATE, and whether there was one."""
        changes: list[Any] = []
        truncated, own = False, set(self._table.stream_oids)
        for step in steps:
            if hasattr(step, "kinds"):
                if len(step.kinds):
                    changes.append(step)
            elif own <= set(step.relations):
                changes, truncated = [], True
            elif own & set(step.relations):
                raise self._copy_needed(
                    "some of its partitions were truncated: which rows those held is not known"
                )
        return changes, truncated

    def _insert(self, batch: Batch) -> int:
        """Nothing but rows that come."""
        table, unchanged = batch.rows("new", np.arange(len(batch.kinds)), self._names)
        if unchanged.any():  # an update that a row filter lets in comes as an insert
            name = self._names[int(unchanged.any(axis=0).argmax())]
            raise self._copy_needed(f"a row came without its value of {name!r}, stored out of line")
        self._check_not_null(table)
        columns, partitions = self._editor.numbered(table, self._names)
        if self._few is not None:
            self._few.learn(partitions)
        self._editor.add(columns, partitions)
        self._places.add(columns, partitions)
        return table.num_rows

    def _change(self, batch: Batch) -> tuple[int, int]:
        if not self._identity.names:
            raise self._copy_needed("rows changed, and its changes name no row")
        new, old = identity_hashes(batch, self._identity.names)
        effect = net_effect(batch.kinds, new, old, batch.has_old.astype(np.uint8))
        table, unchanged = batch.rows("new", effect.added, self._names)
        found = self._found(self._removed(batch, effect, table))
        if unchanged.any():
            table = self._filled(batch, effect, found, table, unchanged)
        self._check_not_null(table)
        columns, partitions = self._editor.numbered(table, self._names)
        if self._few is not None and len(partitions) == len(batch.kinds):
            self._few.learn(partitions)
        self._places.remove(found)
        self._editor.exchange(found, columns, partitions, effect.takes)
        self._places.add(columns, partitions)
        return len(effect.removed), len(effect.added)

    def _removed(self, batch: Batch, effect: NetEffect, added: pa.Table) -> pa.Table:
        """What rows from before the batch that go are found by; ``added``: the rows that come."""
        if np.array_equal(effect.removed, effect.added) and not batch.has_old[effect.added].any():
            return added.select(self._places.names)  # each updated once, and nothing else
        return _removed_tuples(batch, effect.removed, self._places.names)

    def _found(self, table: pa.Table) -> FoundRows:
        self._check_not_null(table)
        found = self._places.find(table)
        if len(found.missing):
            row = table.select(list(self._identity.names)).slice(found.missing[0], 1).to_pylist()
            raise self._copy_needed(f"row {row[0]} changed, and is not among those held")
        return found

    def _filled(
        self,
        batch: Batch,
        effect: NetEffect,
        found: FoundRows,
        table: pa.Table,
        unchanged: npt.NDArray[np.uint8],
    ) -> pa.Table:
        """With values that were not sent because they are as they were."""
        if self._identity.whole:
            nested = self._editor.shape.nested
            return filled_from_old(batch, table, unchanged, effect.added, nested)
        before = ValuesBefore(batch, effect, self._editor, found, self._definition.key)
        return before.filled(table, unchanged, effect.added)

    def _check_not_null(self, table: pa.Table) -> None:
        self._depths.check(table, self._definition.table)
        order = self._definition.order_by
        for name in (*self._definition.key, *([] if order is None else [order])):
            if name in table.column_names and table[name].null_count:
                row = int(np.flatnonzero(table[name].is_null().to_numpy())[0])
                told = [one for one in self._identity.names if one in table.column_names][:8]
                which = table.select(told or [name]).slice(row, 1).to_pylist()[0]
                raise BadValueError(
                    f"row {which} of live table {self._definition.table!r} has NULL in {name!r}, "
                    "by which rows are split or ordered",
                    hint=f"leave such rows out, where={name} IS NOT NULL, or take another key or "
                    "order",
                    column=name,
                    row=row + 1,
                )

    def _copy_needed(self, reason: str) -> NeedsCopyError:
        return NeedsCopyError(
            f"table {self._definition.table!r} cannot be followed: {reason}",
            hint="the table is copied anew",
            table=self._definition.table,
            reason=reason,
        )


def _behind(changes: Any, first: int) -> list[Any]:
    """Those from ``first`` on; none for none."""
    return [changes.part(first, len(changes.kinds))] if first < len(changes.kinds) else []


def _removed_tuples(batch: Batch, removed: Numbers, names: Sequence[str]) -> pa.Table:
    """Old tuples, or where a change has none its new one, in the order of ``removed``."""
    by_old = batch.has_old[removed]
    if by_old.all() or not by_old.any():
        return batch.rows("old" if by_old.any() else "new", removed, names)[0]
    tables = [
        batch.rows("old", removed[by_old], names)[0],
        batch.rows("new", removed[~by_old], names)[0],
    ]
    places = np.empty(len(removed), np.int64)
    places[by_old] = np.arange(by_old.sum())
    places[~by_old] = by_old.sum() + np.arange((~by_old).sum())
    return one_table(tables).take(places)
