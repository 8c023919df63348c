"""A few rows as Arrow columns: what does not depend on them is made ready once.

The general way asks what each column is, and makes half a dozen objects a column, for every batch:
100 us, where decoding one row takes one. Here a column is two or three stretches of one memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from neural_gpu_bus.stores.postgres.decoding import copy_kernels, layouts
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Bytes = npt.NDArray[np.uint8]
    Integers = npt.NDArray[np.int64]

#: More are left to the general way, which takes no longer then.
FEW_ROWS_MAX = 1024
#: Not of rows alone: types with parts, dictionaries, a byte that may be no text.
_LEFT_OUT = frozenset({layouts.CELLS, layouts.CODES, layouts.CHAR})
#: Each stretch of memory begins at a multiple of it.
_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class FewColumns:
    """Columns as Arrow lays them out, in one memory."""

    rows: int
    memory: Bytes
    #: Of each column its validity (None without NULLs), its values or the offsets of its text, and
    #: of a text its bytes: where each begins and how long it is.
    places: list[list[tuple[int, int] | None]]
    #: How many NULLs each column has.
    nulls: list[int]


class FewRows:
    """Of columns in this order. One thread at a time."""

    def __init__(self, columns: Sequence[SourceColumn]) -> None:
        """Use ``of``."""
        import pyarrow as pa

        self._schema = pa.schema([(column.name, column.arrow_type()) for column in columns])
        self._kinds = self._schema.types
        self._is_text = [column.is_variable for column in columns]
        self._bits = [0 if column.is_variable else bits_of(column) for column in columns]
        self._is_bool = [column.layout == layouts.BOOL for column in columns]
        self._widths = np.array([column.width for column in columns], np.int64)
        self._slots = np.zeros((len(columns), layouts.TEXT_SLOTS), np.int64)
        self._plan = np.zeros((len(columns), layouts.PLAN_FIELDS), np.uint64)
        for fields, column in zip(self._plan, columns, strict=True):
            fields[layouts.LAYOUT], fields[layouts.PARAMETER] = column.layout, column.parameter
        self._scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
        self._state = np.zeros(layouts.STATE_SLOTS, np.int64)
        self._state[layouts.STAGE] = layouts.IN_ROWS
        self._state[layouts.TAG] = copy_kernels.DATA_ROW
        self._state[layouts.SCRATCH] = self._scratch.ctypes.data

    @classmethod
    def of(cls, columns: Sequence[SourceColumn]) -> Self | None:
        """None where one of them is not made of rows alone."""
        return cls(columns) if columns and is_of_rows_alone(columns) else None

    def table(self, messages: Bytes) -> pa.Table | None:
        """DataRow messages; None where something is wrong, which the general way tells."""
        import pyarrow as pa

        found = self.columns(messages)
        if found is None:
            return None
        view = found.memory.data  # each part by itself: one cut out of Arrow's cannot be written
        arrays = [
            pa.Array.from_buffers(
                kind,
                found.rows,
                [p and pa.py_buffer(view[p[0] : p[0] + p[1]]) for p in parts],
                count,
            )
            for kind, parts, count in zip(self._kinds, found.places, found.nulls, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def columns(self, messages: Bytes) -> FewColumns | None:
        """The same, not yet Arrow's."""
        state = self._state.copy()
        texts, nulls = np.zeros((2, len(self._kinds)), np.int64)
        size = messages.size
        found = copy_kernels.scan_messages(
            messages, size, self._widths, state, self._slots, texts, nulls
        )
        rows = int(state[layouts.ROWS])
        if found in {layouts.FAULTY, layouts.OTHER_MESSAGE} or state[layouts.POSITION] != size:
            return None
        null_counts = nulls.tolist()
        places, nbytes = stretches(self._is_text, self._bits, rows, texts.tolist(), null_counts)
        memory = np.empty(nbytes, np.uint8)
        plan = self._planned(memory, places, rows)
        state = self._state.copy()
        copy_kernels.write_rows(
            messages, _all_rows(rows), True, plan, np.zeros(len(plan), np.int64), state
        )
        if state[layouts.FAULT]:
            return None
        return FewColumns(rows, memory, places, null_counts)

    def _planned(
        self, memory: Bytes, places: list[list[tuple[int, int] | None]], rows: int
    ) -> npt.NDArray[np.uint64]:
        """Addresses for the loop that writes; what it does not write is set."""
        base, plan = memory.ctypes.data, self._plan.copy()
        for number, (validity, values, *text) in enumerate(places):
            assert values is not None  # noqa: S101  every column has some
            if validity is not None:
                at, size = validity
                memory[at : at + rows // 8] = 0xFF
                memory[at + rows // 8 : at + size] = (1 << rows % 8) - 1
                plan[number, layouts.VALIDITY] = base + at
            at, size = values
            if text and text[0] is not None:
                memory[at : at + 8] = 0
                plan[number, layouts.OFFSETS] = base + at
                plan[number, layouts.DATA] = base + text[0][0]
            else:
                if self._is_bool[number]:
                    memory[at : at + size] = 0
                plan[number, layouts.VALUES] = base + at
        return plan


def is_of_rows_alone(columns: Sequence[SourceColumn]) -> bool:
    """Whether a row tells all of its values: no dictionaries, no types with parts."""
    return not any(column.layout in _LEFT_OUT or column.is_hashed for column in columns)


def stretches(
    is_text: Sequence[bool],
    bits: Sequence[int],
    rows: int,
    texts: Sequence[int],
    nulls: Sequence[int],
) -> tuple[list[list[tuple[int, int] | None]], int]:
    """Where validity, values or offsets and text of each column lie, and the bytes of all.

    ``bits``: of one value. ``texts``: bytes of each column's text. ``nulls``: 0 for no validity.
    """
    at, places = 0, []
    for number, of_text in enumerate(is_text):
        sizes = [(rows + 7) // 8 if nulls[number] else -1]
        if of_text:
            sizes += [(rows + 1) * 8, texts[number]]
        else:
            sizes += [(rows * bits[number] + 7) // 8]
        parts: list[tuple[int, int] | None] = []
        for size in sizes:
            parts.append(None if size < 0 else (at, size))
            at += -(-max(size, 0) // _ALIGNED) * _ALIGNED
        places.append(parts)
    return places, at


def bits_of(column: SourceColumn) -> int:
    """Of one value."""
    return int(column.arrow_type().bit_width)


def _all_rows(rows: int) -> Integers:
    """The part of the result that these rows are: all of it."""
    place = np.full(layouts.PART_SLOTS, -1, np.int64)
    place[layouts.START] = place[layouts.FIRST_ROW] = 0
    place[layouts.END_ROW], place[layouts.SHARED_LAST] = rows, (rows - 1) >> 3
    return place
