"""The first copy of a table, into an empty series, by batches of a read that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.series.filling import CodedRows, Filling


class FirstCopy:
    """Nothing of it counts before ``finish``; what fails has added some, and the caller discards
    them. ``done`` is told how many rows came.
    """

    def __init__(
        self,
        filling: Filling,
        names: Sequence[str],
        check: Callable[[pa.Table], None],
        done: Callable[[int], None],
    ) -> None:
        self._filling = filling
        self._names = names
        self._check = check
        self._done = done

    def prepare(self, batch: Any, rows_expected: int | None) -> tuple[CodedRows, int | None]:
        """By any thread. Raises BadValueError for NULL in the key or the order."""
        table: pa.Table = batch
        self._check(table)
        return self._filling.coded(table.select(list(self._names)), self._names), rows_expected

    def take(self, prepared: tuple[CodedRows, int | None]) -> None:
        """One after the other. Raises SharedMemoryFullError."""
        self._filling.add(*prepared)

    def finish(self) -> int:
        """All rows are there; how many. Raises SharedMemoryFullError."""
        self._filling.finish()
        self._done(self._filling.rows)
        return self._filling.rows
