"""Rows written while more of them arrive, into memory for as many as are expected.

The server sends slower than rows are written. Where the sizes of a result are known before it is
there, and hold, nothing is left to be written when its last byte has come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.ports import Reservation
from neural_gpu_bus.stores.postgres.decoding import copy_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.cells import Sizes
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import Measured, plan_of, slots_of
from neural_gpu_bus.stores.postgres.decoding.copy_scan import CopyScan

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

#: A call costs as much as writing 500 rows of six columns.
ROWS_MIN = 1_000
#: Columns with parts are measured whole, a ``"char"`` is looked at afterwards.
_NOT_EARLY = frozenset({layouts.CELLS, layouts.CODES, layouts.CHAR})


class EarlyRows:
    """Rows of one reply in DataRow messages, written into ``reservation`` as they come."""

    def __init__(self, measured: Measured, reservation: Reservation) -> None:
        self._measured, self._reservation = measured, reservation
        names = [column.name for column in measured.columns]
        sizes = measured.sizes
        self._nulls = np.array([sizes.null_counts.get(name, 0) for name in names])
        self._text_bytes = np.array([sizes.text_bytes.get(name, 0) for name in names])
        self._plan = plan_of(measured, reservation)
        self._written = np.zeros(len(names), np.int64)
        self._scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
        self._rows, self._next = 0, -1
        self._fits = True

    def add(self, buffer: npt.NDArray[np.uint8], scan: CopyScan) -> None:
        """Write what was counted since the last time, where that is much."""
        if scan.rows - self._rows >= ROWS_MIN:
            self._add(buffer, scan)

    def _add(self, buffer: npt.NDArray[np.uint8], scan: CopyScan) -> None:
        if not self._rows:
            self._next = scan.start
        rows = scan.rows
        if rows == self._rows or not self._fits:
            return
        texts = scan.text_bytes_by_place()
        self._fits = rows <= self._measured.rows and not (texts > self._text_bytes).any()
        if not self._fits:
            return
        part = slots_of(scan, 0)
        part[layouts.START] = self._next
        part[layouts.FIRST_ROW], part[layouts.END_ROW] = self._rows, rows
        part[layouts.SHARED_FIRST] = part[layouts.SHARED_LAST] = -1
        state = np.zeros(layouts.STATE_SLOTS, np.int64)
        state[layouts.STAGE] = layouts.IN_ROWS
        state[layouts.SCRATCH] = self._scratch.ctypes.data
        kernels.write_rows(buffer, part, True, self._plan, self._written, state)
        self._fits = not state[layouts.FAULT]  # the usual way says what it is
        self._rows, self._next = rows, scan.position

    def whole(self, buffer: npt.NDArray[np.uint8], scan: CopyScan) -> Reservation | None:
        """The reservation with all rows of a scan that is finished; None, with anything in it,
        where they are not what was expected.
        """
        self._add(buffer, scan)
        as_expected = (
            self._fits
            and self._rows == self._measured.rows
            and np.array_equal(scan.nulls_by_place(), self._nulls)
            and np.array_equal(scan.text_bytes_by_place(), self._text_bytes)
        )
        return self._reservation if as_expected else None


def early_rows(
    columns: Sequence[SourceColumn],
    schema: pa.Schema,
    rows: int,
    reservation: Reservation,
    *,
    text_bytes: Mapping[str, int],
    null_counts: Mapping[str, int],
) -> EarlyRows | None:
    """For memory that was reserved for these sizes; None where the columns are others, or of a
    kind that is not written row by row.
    """
    if any(column.is_hashed or column.layout in _NOT_EARLY for column in columns):
        return None
    sizes = Sizes(null_counts=dict(null_counts), text_bytes=dict(text_bytes))
    measured = Measured(columns, rows, sizes, {}, {})
    return EarlyRows(measured, reservation) if measured.schema() == schema else None
