"""Tuples of the stream as columns: what this package asks of whoever decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.live.applying.array_depths import depth_of, has_items
from neural_gpu_bus.memory.series.nested_types import series_type
from neural_gpu_bus.memory.series.putting_together import in_series_type

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.int64]

Which = Literal["new", "old"]

#: Bytes of kept transactions that are copied into one buffer; a stream's own buffer is larger.
JOINED_BYTES_MAX = 64 << 20


class Changes(Protocol):
    """Changes of one relation whose tuples lie in one buffer; see ``replication.transactions``."""

    @property
    def relation(self) -> Any:
        """As the stream told it last."""

    @property
    def buffer(self) -> Any:
        """Bytes that the tuples lie in."""

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """I, U or D."""

    @property
    def new_at(self) -> Numbers:
        """Where new tuples begin; -1 for none."""

    @property
    def old_at(self) -> Numbers:
        """Where old tuples begin; -1 for none."""


class Tuples(Protocol):
    """Decodes them."""

    def joined(self, several: Sequence[Any]) -> Any:
        """Changes of one relation as one."""

    def rows(
        self, changes: Any, which: Which, rows: Numbers, names: Sequence[str]
    ) -> tuple[pa.Table, npt.NDArray[np.uint8] | None]:
        """Columns of some tuples. The second, of shape (rows, columns), is 1 where the server sent
        that the value is as it was; None where that is nowhere.
        """

    def few(self, names: Sequence[str]) -> Any:
        """Columns that a few new tuples are written into, ``PreparedColumns``; None where only
        ``rows`` can tell.
        """

    def hashes(
        self, changes: Any, which: Which, rows: Numbers, names: Sequence[str]
    ) -> npt.NDArray[np.uint64]:
        """Of shape (rows, 2): of the bytes of these columns; of a new tuple that lacks one, with
        the old tuple's.
        """


class Batch:
    """All changes of one table in a batch, numbered through, wherever their bytes lie."""

    def __init__(self, tuples: Tuples, changes: Sequence[Any]) -> None:
        """``changes``: not empty."""
        self._tuples = tuples
        self._parts = [tuples.joined(several) for several in _together(changes)]
        counts = [len(part.kinds) for part in self._parts]
        oids = [part.relation.oid for part in self._parts]
        #: OID of each change's relation; None where all are of one.
        self.relations = np.repeat(oids, counts) if len(set(oids)) > 1 else None
        self._firsts = np.cumsum([0, *counts])
        self.kinds = _one([part.kinds for part in self._parts])
        self.has_new = _one([part.new_at for part in self._parts]) >= 0
        self.has_old = _one([part.old_at for part in self._parts]) >= 0

    def rows(
        self, which: Which, changes: Numbers, names: Sequence[str]
    ) -> tuple[pa.Table, npt.NDArray[np.uint8]]:
        """Columns of the tuples of some changes, in rising order, and where they are as before."""
        if len(self._parts) == 1:
            table, unchanged = self._tuples.rows(self._parts[0], which, changes, names)
            return table, _no_marks(table) if unchanged is None else unchanged
        tables, marks = [], []
        for part, rows in self._split(changes):
            table, unchanged = self._tuples.rows(part, which, rows, names)
            tables.append(table)
            marks.append(_no_marks(table) if unchanged is None else unchanged)
        return one_table(tables), np.concatenate(marks)

    def hashes(self, which: Which, names: Sequence[str]) -> npt.NDArray[np.uint64]:
        """Of all changes; zeros for those without such a tuple."""
        found = np.zeros((len(self.kinds), 2), np.uint64)
        there = np.flatnonzero(self.has_new if which == "new" else self.has_old)
        if len(there):
            parts = [
                self._tuples.hashes(part, which, rows, names) for part, rows in self._split(there)
            ]
            found[there] = np.concatenate(parts)
        return found

    def _split(self, changes: Numbers) -> list[tuple[Any, Numbers]]:
        """Rows of each part; the first part alone where there are none."""
        cuts = np.searchsorted(changes, self._firsts)
        found = [
            (part, changes[cuts[at] : cuts[at + 1]] - self._firsts[at])
            for at, part in enumerate(self._parts)
            if cuts[at] < cuts[at + 1]
        ]
        return found or [(self._parts[0], changes[:0])]


def one_table(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of all; arrays of several dimensions beside those that have no items. Raises
    BadValueError where arrays have different dimensions.
    """
    import pyarrow as pa

    tables = list(tables)
    for place, field in enumerate(tables[0].schema):
        kinds = [table.schema.field(place).type for table in tables]
        depths = [depth_of(kind) for kind in kinds]
        if min(depths) == max(depths):
            continue
        kind = series_type(kinds[depths.index(max(depths))], field.name)
        for at, table in enumerate(tables):
            if depths[at] < max(depths) and has_items(table[place]):
                raise BadValueError(
                    f"arrays of column {field.name!r} have {depths[at]} dimensions, and those of "
                    f"other rows {max(depths)}: they are no one column",
                    hint="leave the column out: columns=[...]",
                    column=field.name,
                    row=0,
                )
            column = pa.chunked_array(in_series_type(table[place], kind), kind)
            tables[at] = table.set_column(place, field.name, column)
    return pa.concat_tables(tables, promote_options="permissive")


def _together(changes: Sequence[Any]) -> list[list[Any]]:
    """By relation, and where one was told anew by that; changes of a relation stay in order. Those
    of several partitions of a table have nothing to do with each other.
    """
    found: dict[int, list[list[Any]]] = {}
    joined_bytes = 0
    for each in changes:
        parts = found.setdefault(each.relation.oid, [])
        last = parts[-1][-1] if parts else None
        if last is None or not _alike(last.relation, each.relation):
            parts.append([each])
        elif last.buffer is each.buffer:
            parts[-1].append(each)
        elif joined_bytes + len(last.buffer) + len(each.buffer) > JOINED_BYTES_MAX:
            parts.append([each])
            joined_bytes = 0
        else:
            parts[-1].append(each)
            joined_bytes += len(each.buffer)
    return [part for parts in found.values() for part in parts]


def _alike(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _no_marks(table: pa.Table) -> npt.NDArray[np.uint8]:
    return np.zeros((table.num_rows, table.num_columns), np.uint8)


def _one(arrays: list[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
