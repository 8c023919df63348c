"""Tuples as the stream sends them, decoded by the readers of PostgreSQL's own format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError
from neural_gpu_bus.live.applying.tuples import Which
from neural_gpu_bus.stores.postgres.replication.few_tuple_rows import FewRows
from neural_gpu_bus.stores.postgres.replication.prepared_columns import PreparedColumns
from neural_gpu_bus.stores.postgres.replication.transactions import Relation, RowChanges
from neural_gpu_bus.stores.postgres.replication.tuple_rows import key_hashes, rows_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

    Numbers = npt.NDArray[np.int64]


class WireTuples:
    """See ``tuples.Tuples``. ``columns``: those of the series, as they are read."""

    def __init__(self, columns: Sequence[SourceColumn]) -> None:
        self._columns = {column.name: column for column in columns}
        self._readers: dict[tuple[str, ...], tuple[list[SourceColumn], FewRows | None]] = {}
        self._known: dict[tuple[str, ...], tuple[Relation, list[int]]] = {}

    def joined(self, several: Sequence[RowChanges]) -> RowChanges:
        """Changes of one relation as one; buffers of kept ones are copied into one."""
        first = several[0]
        if len(several) == 1:
            return first
        buffers = list({id(each.buffer): each.buffer for each in several}.values())
        begins = np.cumsum([0, *(len(buffer) for buffer in buffers)])
        shifts = {id(buffer): int(at) for buffer, at in zip(buffers, begins, strict=False)}
        return RowChanges(
            first.relation,
            buffers[0] if len(buffers) == 1 else np.concatenate(buffers),
            np.concatenate([each.kinds for each in several]),
            np.concatenate([_shifted(each.new_at, shifts[id(each.buffer)]) for each in several]),
            np.concatenate([_shifted(each.old_at, shifts[id(each.buffer)]) for each in several]),
            np.concatenate([each.old_kinds for each in several]),
        )

    def rows(
        self, changes: RowChanges, which: Which, rows: Numbers, names: Sequence[str]
    ) -> tuple[pa.Table, npt.NDArray[np.uint8] | None]:
        """Columns of some tuples."""
        columns, few = self._reader(tuple(names))
        places = self._places(changes.relation, names)
        return rows_of(changes, which, rows, columns, places, few=few)

    def few(self, names: Sequence[str]) -> PreparedColumns | None:
        """Columns for a few tuples; None where only ``rows`` can tell."""
        return PreparedColumns.of([self._columns[name] for name in names])

    def hashes(
        self, changes: RowChanges, which: Which, rows: Numbers, names: Sequence[str]
    ) -> npt.NDArray[np.uint64]:
        """Of their bytes."""
        return key_hashes(changes, which, rows, self._places(changes.relation, names))

    def _reader(self, names: tuple[str, ...]) -> tuple[list[SourceColumn], FewRows | None]:
        """Of these columns, made once: a small batch takes less time than making it."""
        found = self._readers.get(names)
        if found is None:
            columns = [self._columns[name] for name in names]
            found = self._readers[names] = columns, FewRows.of(columns)
        return found

    def _places(self, relation: Relation, names: Sequence[str]) -> list[int]:
        """The same as long as the relation is told as it was."""
        known = self._known.get(tuple(names))
        if known is None or known[0] is not relation:
            known = self._known[tuple(names)] = relation, _places(relation, names)
        return known[1]


def _shifted(positions: Numbers, by: int) -> Numbers:
    return np.where(positions < 0, -1, positions + by) if by else positions


def _places(relation: Relation, names: Sequence[str]) -> list[int]:
    """Where columns stand in the tuples of a relation."""
    there = {column.name: place for place, column in enumerate(relation.columns)}
    missing = [name for name in names if name not in there]
    if missing:
        raise NeedsCopyError(
            f"column {missing[0]!r} of {relation.schema}.{relation.name} does not come any more",
            hint="the table is copied anew",
            table=relation.name,
            reason="its columns changed",
        )
    return [there[name] for name in names]
