"""Values that the server did not send because they are as they were: from the row before.

Only texts stored out of line (TOAST) are left out. The row before is an earlier tuple of the batch,
which may lack the value too, or the row as the series has it, found by its old identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError
from neural_gpu_bus.live.applying.net_effect import NetEffect
from neural_gpu_bus.live.applying.net_effect_kernels import FROM_BEFORE
from neural_gpu_bus.live.applying.tuples import Batch
from neural_gpu_bus.memory.series.nested_types import has_parts
from neural_gpu_bus.memory.series.putting_together import in_series_type

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.exchanging import FoundRows
    from neural_gpu_bus.memory.series.row_editor import RowEditor

    Numbers = npt.NDArray[np.int64]
    Marks = npt.NDArray[np.uint8]


class ValuesBefore:
    """What rows held before changes of one batch. ``key``: of the series."""

    def __init__(
        self,
        batch: Batch,
        effect: NetEffect,
        editor: RowEditor,
        found: FoundRows,
        key: Sequence[str],
    ) -> None:
        self._batch = batch
        self._effect = effect
        self._editor = editor
        self._found = found
        self._key = key

    def filled(self, table: pa.Table, unchanged: Marks, changes: Numbers) -> pa.Table:
        """The table with no value left out. ``changes``: of each of its rows."""
        for place in np.flatnonzero(unchanged.any(axis=0)).tolist():
            name = table.column_names[place]
            rows = np.flatnonzero(unchanged[:, place])
            column = self._column(table[name], name, rows, changes[rows])
            table = table.set_column(place, name, column)
        return table

    def _column(self, column: Any, name: str, rows: Numbers, changes: Numbers) -> Any:
        """Look at the tuples before, and at those before them, until each row has its value."""
        kind = self._editor.shape.nested.get(name, column.type)
        pieces, places = _as(column, kind), np.arange(len(column))
        length = len(column)

        def take(piece: Any, of_rows: Numbers) -> None:
            nonlocal length
            pieces.extend(_as(piece, kind))
            places[of_rows] = length + np.arange(len(piece))
            length += len(piece)

        while len(rows):
            before = self._effect.before[changes]
            held = before == FROM_BEFORE
            if held.any():
                take(self._held(name, changes[held]), rows[held])
            rows, before = rows[~held], before[~held]
            if not len(rows):
                break
            if before.min() < 0:
                raise _lacks(name)
            unique, back = np.unique(before, return_inverse=True)
            told, unchanged = self._batch.rows("new", unique, [name])
            has = unchanged[back, 0] == 0
            take(told[name].take(back[has]), rows[has])
            rows, changes = rows[~has], before[~has]
        return _joined(pieces, kind).take(places)

    def _held(self, name: str, changes: Numbers) -> Any:
        """Of the rows from before the batch that these changes take away."""
        import pyarrow as pa

        rows = np.searchsorted(self._effect.removed, changes)
        if name in self._key:
            keys = self._editor.keys(self._found.partitions[rows])
            return pa.chunked_array([[key[list(self._key).index(name)] for key in keys]])
        return self._editor.take(self._found, rows, [name])[name]


def filled_from_old(
    batch: Batch,
    table: pa.Table,
    unchanged: Marks,
    changes: Numbers,
    nested: Mapping[str, pa.DataType],
) -> pa.Table:
    """The same where the old tuples of the very changes have the values. ``nested``: types of the
    series' columns that have parts.
    """
    for place in np.flatnonzero(unchanged.any(axis=0)).tolist():
        name = table.column_names[place]
        rows = np.flatnonzero(unchanged[:, place])
        if not batch.has_old[changes[rows]].all():
            raise _lacks(name)
        kind = nested.get(name, table[name].type)
        old = _as(batch.rows("old", changes[rows], [name])[0][name], kind)
        places = np.arange(table.num_rows)
        places[rows] = table.num_rows + np.arange(len(rows))
        column = _joined([*_as(table[name], kind), *old], kind).take(places)
        table = table.set_column(place, name, column)
    return table


def _as(column: Any, kind: Any) -> list[Any]:
    """Its chunks, of that type."""
    if has_parts(kind):
        return in_series_type(column, kind)
    found: list[Any] = column.cast(kind).chunks
    return found


def _joined(pieces: list[Any], kind: pa.DataType) -> Any:
    import pyarrow as pa

    return pa.concat_arrays(pieces) if pieces else pa.array([], kind)


def _lacks(name: str) -> NeedsCopyError:
    return NeedsCopyError(
        f"a value of column {name!r} was not sent, and no row holds it",
        hint="the table is copied anew",
        reason="a row to be changed is not there",
    )
