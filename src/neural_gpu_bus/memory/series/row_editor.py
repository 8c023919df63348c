"""One series in the hands of a source that says which rows go and which come: all in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.series import exchanging, hashing
from neural_gpu_bus.memory.series.appending import append
from neural_gpu_bus.memory.series.batches import (
    Arrays,
    batch_of,
    fitted,
    order_values,
    partition_codes,
)
from neural_gpu_bus.memory.series.chunk_table import order_facts
from neural_gpu_bus.memory.series.exchanging import FoundRows
from neural_gpu_bus.memory.series.few_updates import FewUpdates
from neural_gpu_bus.memory.series.filling import ROWS_A_TURN, Filling
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.directory import Key
    from neural_gpu_bus.memory.series.shape import Shape

    Hashes = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.int64]


class RowEditor:
    """From ``SeriesWriter.editor``; each call takes the writer's turn."""

    def __init__(
        self, state: SeriesState, turn: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._state = state
        self._turn = turn
        self._updates = FewUpdates()
        self._order = order_facts(state.shape)

    @property
    def rows(self) -> int:
        """In all partitions, what is not published counted in."""
        with self._turn():
            return int(self._state.slots["rows"].sum())

    @property
    def discards(self) -> int:
        """How often the writer forgot what was not published."""
        return self._state.discards

    def name(self, key: Key) -> None:
        """A partition is there from the next publication on, with no rows where it has none."""
        with self._turn():
            partition = int(self._state.numbers_of([key])[0])
            self._state.set(partition, self._state.slot(partition))

    def numbered(self, columns: Any, names: Sequence[str]) -> tuple[Arrays, Numbers]:
        """Columns in the series' own types, each in one piece, and the partition of each row.

        ``names``: what is given, the whole key among it. New keys get a partition. Raises as
        ``SeriesWriter.append``.
        """
        with self._turn():
            state = self._state
            arrays = fitted(state.shape, columns, names)
            rows = len(next(iter(arrays.values())))
            keys, codes = partition_codes([arrays[name] for name in state.shape.key], rows)
            return arrays, state.numbers_of(keys)[codes]

    def fitted(self, columns: Any, names: Sequence[str]) -> Arrays:
        """The same for columns without the key."""
        with self._turn():
            return fitted(self._state.shape, columns, names, exact=True)

    def order_values(self, columns: Arrays) -> Numbers:
        """Of the order column, as stored; 0 for all rows without an order."""
        import numpy as np

        if self._state.shape.order is None:
            return np.zeros(len(next(iter(columns.values()))), np.int64)
        return order_values(self._state.shape, columns)

    def keys(self, partitions: Numbers) -> list[Key]:
        """What these partitions are called."""
        with self._turn():
            return [self._state.directory.keys[partition] for partition in partitions.tolist()]

    def hashes(self, columns: Arrays, names: Sequence[str], seed: int = 0) -> Hashes:
        """Of rows at hand by the bytes of some columns, which are ``fitted``."""
        return hashing.row_hashes(self._state.shape, columns, names, seed)

    def each_held(self, names: Sequence[str], take: Callable[[int, Hashes, Numbers], None]) -> None:
        """Give hashes of all rows held by some columns, chunk by chunk: partition, hashes, order
        values. ``take`` has the writer's turn.
        """
        with self._turn():
            for partition, hashes, values in hashing.held_hashes(self._state, names):
                take(partition, hashes, values)

    def find(self, partitions: Numbers, values: Numbers, columns: Arrays) -> FoundRows:
        """Rows of these partitions (-1: of none) and order values that are equal in ``columns``,
        bit by bit; columns of the key do not matter.

        Of rows that are wanted alike each is another one. Holds until the next change of the
        series, or publication of its group: that may move extents.
        """
        with self._turn():
            shape = self._state.shape
            told = {
                name: array
                for name, array in columns.items()
                if name in shape.by_name and name != shape.order_by
            }
            return exchanging.find(self._state, partitions, values, told)

    def take(self, found: FoundRows, rows: Numbers, names: Sequence[str]) -> pa.Table:
        """Stored columns of some of the rows that were found; a copy."""
        with self._turn():
            return exchanging.take(self._state, found, rows, names)

    def exchange(
        self, found: FoundRows, columns: Arrays, partitions: Numbers, takes: Numbers
    ) -> None:
        """Rows that were found, all of them, go, and these come; all of it or nothing.

        ``columns``: as ``numbered`` gives them. ``partitions``: of each row. ``takes``: which of
        those that go a row takes the place of, if partition and order value are the same; -1 for
        none. Raises SharedMemoryFullError.
        """
        with self._turn():
            stored = {name: columns[name] for name in self._state.shape.by_name}
            exchanging.exchange(self._state, found, stored, partitions, takes)

    def add(self, columns: Arrays, partitions: Numbers) -> None:
        """Rows come, and none goes."""
        with self._turn():
            if len(partitions):
                stored = {name: columns[name] for name in self._state.shape.by_name}
                exchanging.add_rows(self._state, stored, partitions)

    def filling(self) -> Filling:
        """For a first copy, whose rows come in batches."""
        return Filling(self._state, self._turn)

    @property
    def shape(self) -> Shape:
        """What the series has, and how it is laid out."""
        return self._state.shape

    def add_few(self, add: Callable[..., int], *given: Any) -> int:
        """Have a compiled loop add rows by ``few_rows_kernels.add_few``: what it takes of this
        series is handed on behind ``given``. How many it added; it adds all of its rows or none.
        """
        with self._turn():
            state = self._state
            added = add(
                *(*given, state.columns, state.slot_words, state.extents.arenas.addresses),
                *(state.last_values, state.touched),
            )
            state.counts.appended_rows += max(added, 0)
            return added

    def update_few(self, plan: Callable[..., int], sources: Numbers, *given: Any) -> int:
        """Have a compiled loop plan by ``few_updates_kernels.plan_few`` how rows change that stay
        where they are: what it takes of this series is handed on behind ``given``. What it answers;
        where that is more than 0, it is done. Raises SharedMemoryFullError.

        ``sources``: where the stored columns of these rows lie.
        """
        with self._turn():
            state = self._state
            count = plan(
                *(*given, state.columns, sources, self._order, state.slot_words),
                *(state.extents.arenas.addresses, *self._updates.answers),
            )
            if count > 0:
                self._updates.write(state, sources, count)
            return count

    def fill(self, columns: Arrays, partitions: Numbers) -> None:
        """The same for very many: the writer's turn is given up every now and then.

        What fails half way has added some: discard it.
        """
        stored = {name: columns[name] for name in self._state.shape.by_name}
        with self._turn():
            if exchanging.is_late(self._state, stored, partitions):
                exchanging.add_rows(self._state, stored, partitions)
                return
        for part in batch_of(self._state.shape, stored, partitions).parts(ROWS_A_TURN):
            with self._turn(), self._state.all_or_nothing(part.partitions):
                append(self._state, part)
