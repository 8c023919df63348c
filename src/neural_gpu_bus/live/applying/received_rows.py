"""Rows of a first copy written as they were received, without becoming columns first.

Only rows that stand as most do: of a partition that is known and has room, not before its last.
The first other one ends it, and the general way takes the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding import spreading_kernels as kernels

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.filling import Filling
    from neural_gpu_bus.memory.series.shape import Shape
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedRange

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]

#: Types with parts, dictionaries, a byte that may be no text: what a row alone does not say.
_LEFT_OUT = frozenset({layouts.CELLS, layouts.CODES, layouts.CHAR})
#: Bytes of values that the order is read back by.
_ORDER_BYTES = (4, 8)
#: Keys that are kept, and their bytes.
KEYS_MAX, KEY_BYTES_MAX = 1 << 14, 1 << 20
#: Tried while it takes at least one row in so many; before so many rows nobody knows.
TAKEN_ONE_IN, KNOWN_AFTER_ROWS = 4, 1 << 17


class ReceivedRows:
    """Of one copy."""

    def __init__(self, filling: Filling, columns: Sequence[SourceColumn], shape: Shape) -> None:
        """Use ``of``."""
        names = [column.name for column in columns]
        self._filling = filling
        self._columns = np.array([_column(one, shape) for one in columns], np.int64)
        self._key = np.array([names.index(name) for name in shape.key], np.int64)
        self._order = np.empty(0, np.int64)
        if shape.order is not None:
            place, width = shape.order.place, shape.order.kind.item_bytes
            self._order = np.array([names.index(shape.order.name), place, width], np.int64)
        self._places = np.full(2 * KEYS_MAX, -1, np.int64)
        self._entries = np.zeros((KEYS_MAX, kernels.ENTRY_FIELDS), np.int64)
        self._kept = np.empty(KEY_BYTES_MAX, np.uint8)
        self._counts = np.zeros(2, np.int64)
        self._scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
        self._seen = 0
        #: Rows so far.
        self.taken = 0

    @classmethod
    def of(cls, filling: Filling, columns: Sequence[SourceColumn], shape: Shape) -> Self | None:
        """None where values of a column are stored otherwise than they are received one by one."""
        if sorted(column.name for column in columns) != sorted(shape.schema.names):
            return None
        if shape.order is not None and shape.order.kind.raw[:2] not in {"<i", "=i"}:
            return None
        if shape.order is not None and shape.order.kind.item_bytes not in _ORDER_BYTES:
            return None
        fit = all(_fits(column, shape) for column in columns)
        return cls(filling, columns, shape) if fit else None

    @property
    def is_worth_it(self) -> bool:
        """Whether as many rows were taken so far as make up for the trouble."""
        return self._seen < KNOWN_AFTER_ROWS or self.taken * TAKEN_ONE_IN > self._seen

    def take(self, rows: ReceivedRange) -> int:
        """Where the first row begins that was not taken."""
        self._seen += rows.rows
        position = rows.start
        if not self._counts[0]:
            return position

        def write(targets: Numbers, heads: Numbers) -> None:
            nonlocal position
            position, _ = kernels.spread_rows(
                *(rows.buffer, rows.start, rows.stop, self._columns, self._key, self._order),
                *(targets, heads, self._places, self._entries, self._kept, self._scratch),
            )

        self.taken += self._filling.write(write)
        return position

    def learn(self, buffer: Bytes, start: int, partitions: Numbers) -> None:
        """Where rows went that the general way took."""
        kernels.learn_keys(
            *(buffer, start, self._columns, self._key, partitions),
            *(self._places, self._entries, self._kept, self._counts),
        )


def _fits(column: SourceColumn, shape: Shape) -> bool:
    """Whether one value after the other makes the column as it is stored."""
    if column.layout in _LEFT_OUT or column.is_hashed:
        return False
    kind: Any = column.arrow_type()
    if column.name in shape.key:
        return True
    stored = shape.by_name.get(column.name)
    if stored is None or kind != shape.schema.field(column.name).type:
        return False
    form = stored.kind.form
    if form == "text":
        return column.is_variable and stored.kind.offsets == "<i8"
    if form == "bits":
        return column.layout == layouts.BOOL
    return stored.kind.fixed_width and not column.is_variable and column.layout != layouts.BOOL


def _column(column: SourceColumn, shape: Shape) -> list[int]:
    stored = shape.by_name.get(column.name)
    place = -1 if stored is None else stored.place
    return [column.layout, column.width, column.parameter, place, column.is_variable]
