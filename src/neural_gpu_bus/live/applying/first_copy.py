"""The first copy of a table, into an empty series, by batches of a read that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.live.applying.received_rows import ReceivedRows
    from neural_gpu_bus.memory.series.filling import CodedRows, Filling
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedRange


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
        received: Callable[[Filling, Sequence[SourceColumn]], ReceivedRows | None] | None = None,
    ) -> None:
        """``received``: what writes rows of these columns as they were received; None where their
        types do not let it.
        """
        self._make_received = received
        self._received: ReceivedRows | None = None
        self._filling = filling
        self._names = names
        self._check = check
        self._done = done

    def prepare(self, batch: Any, rows_expected: int | None) -> tuple[CodedRows, int | None]:
        """By any thread. Raises BadValueError for NULL in the key or the order."""
        table: pa.Table = batch
        self._check(table)
        return self._filling.coded(table.select(list(self._names)), self._names), rows_expected

    def take(self, prepared: tuple[CodedRows, int | None]) -> npt.NDArray[np.int64]:
        """One after the other; the partition of each row. Raises SharedMemoryFullError."""
        return self._filling.add(*prepared)

    @property
    def takes_received(self) -> bool:
        """Whether rows are to be given as they were received."""
        return self._make_received is not None or (
            self._received is not None and self._received.is_worth_it
        )

    def take_received(self, rows: ReceivedRange) -> int:
        """Rows as they were received; where the first one begins that was not taken. The others
        are to be prepared, taken, and ``learn`` told of them.
        """
        make, self._make_received = self._make_received, None
        if make is not None:
            self._received = make(self._filling, rows.columns)
        return rows.start if self._received is None else self._received.take(rows)

    def learn(self, rows: ReceivedRange, partitions: npt.NDArray[np.int64]) -> None:
        """What ``take`` said of these rows."""
        if self._received is not None:
            self._received.learn(rows.buffer, rows.start, partitions)

    def finish(self) -> int:
        """All rows are there; how many. Raises SharedMemoryFullError."""
        self._filling.finish()
        self._done(self._filling.rows)
        return self._filling.rows
