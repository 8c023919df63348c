"""A series that is given rows as they are now, instead of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.live.applying.applied_table import AppliedTable

if TYPE_CHECKING:
    import pyarrow as pa


class MergedTable(AppliedTable):
    """Rows are known by the primary key, which ``table.identity_columns`` are."""

    @property
    def identity_names(self) -> tuple[str, ...]:
        """Columns of the primary key."""
        return self._identity.names

    def merge(self, rows: pa.Table, keys: pa.Table) -> int:
        """``rows`` replace all that have one of ``keys``, which has each key once; how many rows
        went or came.

        ``rows``: columns of the series, their keys among ``keys``. Raises as ``apply``.
        """
        self.check_rows()
        self._check_not_null(rows)
        found = self._places.find(keys)
        if len(found.missing):
            there = np.ones(keys.num_rows, np.bool_)
            there[found.missing] = False
            keys = keys.take(np.flatnonzero(there))
            found = self._places.find(keys)
        columns, partitions = self._editor.numbered(rows.select(self._names), self._names)
        self._places.remove(found)
        self._editor.exchange(found, columns, partitions, np.full(rows.num_rows, -1, np.int64))
        self._places.add(columns, partitions)
        self._rows += rows.num_rows - keys.num_rows
        return max(rows.num_rows, keys.num_rows)
