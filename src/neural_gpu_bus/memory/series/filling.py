"""A series filled with very many rows, batch by batch, before anybody looks at it.

Rows go behind those that are there as they come. Those that come late by their order wait: some are
woven in at the end; where they are many, all rows are taken out, put in order at once and added
anew. Heads are made with room for what is to be expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory.series import exchanging
from neural_gpu_bus.memory.series.appending import CAPACITY_MIN, TEXT_BYTES_MIN, append
from neural_gpu_bus.memory.series.batches import (
    Arrays,
    Batch,
    batch_of,
    fitted,
    partition_codes,
)
from neural_gpu_bus.memory.series.filling_heads import PARTITIONS_MAX, written
from neural_gpu_bus.memory.series.records import Slot
from neural_gpu_bus.memory.series.rewriting import own_table
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.memory.series.directory import Key

    Numbers = npt.NDArray[np.int64]

#: Of rows at hand: 30 ms of the writer's turn.
ROWS_A_TURN = 1 << 18
#: Late rows are woven in while they are at most one in so many; before so many rows nobody knows.
LATE_ONE_IN, KNOWN_AFTER_ROWS = 8, 1 << 17
#: Room for what is expected, all partitions together, in multiples of that.
ROOM_MAX = 1.25
#: More than that, in multiples of the rows that came, is given back in the end.
ROOM_LEFT_MAX = 1.5
#: Rows of a partition come by chance: four times the deviation of their number is kept free.
_DEVIATIONS = 4


@dataclass(frozen=True, slots=True)
class CodedRows:
    """Rows of the series' own types, and which of ``keys`` each has."""

    arrays: Arrays
    keys: list[Key]
    codes: Numbers


class Filling:
    """Of one series; every batch takes the writer's turn. What fails has added some: discard it."""

    def __init__(
        self, state: SeriesState, turn: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._state = state
        self._turn = turn
        self._late: list[tuple[Arrays, Numbers]] = []
        self._late_rows = 0
        #: Given so far.
        self.rows = 0

    def coded(self, columns: Any, names: Sequence[str]) -> CodedRows:
        """Made ready for ``add``, by any thread. Raises as ``SeriesWriter.append``."""
        shape = self._state.shape
        arrays = fitted(shape, columns, names)
        rows = len(next(iter(arrays.values())))
        keys, codes = partition_codes([arrays[name] for name in shape.key], rows)
        return CodedRows({name: arrays[name] for name in shape.by_name}, keys, codes)

    def write(self, write: Callable[[Numbers, Numbers], None]) -> int:
        """Let somebody write rows behind the last of their partitions himself; how many that were.
        See ``filling_heads.written``. Nothing where rows come in no order, or partitions are many.
        """
        if self._is_disordered() or len(self._state.slots) > PARTITIONS_MAX:
            return 0
        with self._turn():
            rows = written(self._state, write)
        self.rows += rows
        return rows

    def add(self, rows: CodedRows, rows_expected: int | None = None) -> Numbers:
        """Rows come; ``rows_expected``: about so many in all. The partition of each. Raises
        SharedMemoryFullError.
        """
        count = len(rows.codes)
        if not count:
            return rows.codes
        self.rows += count
        with self._turn():
            partitions = self._state.numbers_of(rows.keys)[rows.codes]
            if self._is_disordered():
                self._keep(rows.arrays, partitions)
                return partitions
            late = exchanging.late_rows(self._state, rows.arrays, partitions)
            chosen = None
            if late.any():
                chosen, kept = np.flatnonzero(~late), np.flatnonzero(late)
                self._keep(
                    {name: array.take(kept) for name, array in rows.arrays.items()},
                    partitions[kept],
                )
            if chosen is None or len(chosen):
                batch = batch_of(self._state.shape, rows.arrays, partitions, chosen)
                try:
                    self._append(self._with_room(batch, rows_expected))
                except SharedMemoryFullError:  # what is expected may be long gone
                    self._append(batch)
        return partitions

    def finish(self) -> None:
        """All have come. Raises SharedMemoryFullError."""
        if self._late and self._is_many():
            self._add_anew()
        elif self._late:
            columns, partitions = _joined(self._late)
            self._late = []
            with self._turn():
                exchanging.add_rows(self._state, columns, partitions)
        self._give_room_back()

    def _add_anew(self) -> None:
        with self._turn():
            taken = self._taken_out()
        columns, partitions = _joined([*taken, *self._late])
        self._late = []
        for part in batch_of(self._state.shape, columns, partitions).parts(ROWS_A_TURN):
            with self._turn():
                self._append(part)

    def _give_room_back(self) -> None:
        """Where much fewer came than was expected, heads go into smaller extents."""
        slots = self._state.slots
        if slots["capacity"].sum() <= ROOM_LEFT_MAX * slots["head_rows"].sum():
            return
        wide = slots["capacity"] > ROOM_LEFT_MAX * slots["head_rows"] + CAPACITY_MIN
        for partition in np.flatnonzero(wide).tolist():
            with self._turn(), suppress(SharedMemoryFullError):
                _narrow(self._state, partition)

    def _is_many(self) -> bool:
        return self._late_rows * LATE_ONE_IN > self.rows

    def _is_disordered(self) -> bool:
        return self.rows >= KNOWN_AFTER_ROWS and self._is_many()

    def _keep(self, arrays: Arrays, partitions: Numbers) -> None:
        self._late.append((arrays, partitions))
        self._late_rows += len(partitions)

    def _append(self, batch: Batch) -> None:
        with self._state.all_or_nothing(batch.partitions):
            append(self._state, batch)

    def _with_room(self, batch: Batch, rows_expected: int | None) -> Batch:
        """With as many rows to come as its share of all lets expect, where there is room."""
        left = (rows_expected or 0) - self.rows
        if left <= 0:
            return batch
        slots = self._state.slots
        held = slots["rows"][batch.partitions] + batch.counts
        to_come = held * (left / self.rows)
        to_come += _DEVIATIONS * np.sqrt(to_come)
        grows = slots["capacity"][batch.partitions] < slots["head_rows"][batch.partitions]
        grows |= slots["capacity"][batch.partitions] - slots["head_rows"][batch.partitions] < (
            batch.counts
        )
        made = int(slots["capacity"].sum()) + float(to_come[grows].sum())
        if made > ROOM_MAX * (rows_expected or 0):  # rows stand by partition: nobody knows
            return batch
        return replace(batch, to_come=to_come.astype(np.int64))

    def _taken_out(self) -> list[tuple[Arrays, Numbers]]:
        """All rows that are there; the series is empty then."""
        state = self._state
        found: list[tuple[Arrays, Numbers]] = []
        for partition in state.with_rows():
            slot = state.slot(partition)
            for chunk in state.chunks(slot):
                table = own_table(state, chunk)
                if table.num_rows:
                    arrays = {name: _one(table[name]) for name in state.shape.by_name}
                    found.append((arrays, np.full(table.num_rows, partition, np.int64)))
        empty(state)
        return found


def empty(state: SeriesState) -> None:
    """Remove all rows; the partitions stay."""
    for partition in state.with_rows():
        slot = state.slot(partition)
        for chunk in state.chunks(slot):
            state.extents.drop(chunk.arena, chunk.offset)
        state.extents.drop_spine(slot.spine_arena, slot.spine_count)
        state.set(partition, Slot())


def _narrow(state: SeriesState, partition: int) -> None:
    """Give a head an extent with a little room."""
    with state.all_or_nothing(np.array([partition])):
        slot = state.slot(partition)
        head = slot.head
        used, _ = state.extents.text_use(head, head.rows)
        texts = [max(nbytes * 9 // 8, TEXT_BYTES_MIN) for nbytes in used]
        capacity = max(head.rows * 9 // 8, CAPACITY_MIN)
        arena, offset = state.extents.make(capacity, texts)
        narrow = head._replace(arena=arena, offset=offset, capacity=capacity)
        state.extents.move(head, 0, narrow, 0, head.rows)
        state.extents.drop(head.arena, head.offset)
        state.set(partition, slot._replace(arena=arena, offset=offset, capacity=capacity))


def _joined(several: Sequence[tuple[Arrays, Numbers]]) -> tuple[Arrays, Numbers]:
    import pyarrow as pa

    names = several[0][0]
    arrays = {name: pa.concat_arrays([part[name] for part, _ in several]) for name in names}
    return arrays, np.concatenate([partitions for _, partitions in several])


def _one(column: Any) -> Any:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
