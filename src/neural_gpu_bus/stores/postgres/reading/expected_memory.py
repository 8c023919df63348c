"""Memory for a small result that will look like the last one of its statement, reserved while the
server works on it, and filled while more of its rows arrive.

Reserving takes 0.4 ms: a file, its pages, accounts, the plan of its columns; writing takes as much
again. Of the newest 10,000 bars that is a fifth of the whole read, and the server takes longer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.stores.postgres.decoding.early_rows import EarlyRows, early_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.ports import Reservation, Reserve
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
    from neural_gpu_bus.stores.postgres.decoding.copy_scan import CopyScan
    from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer

#: Of larger results reserving is a small part, and memory that is not needed after all is dear.
BYTES_MAX = 4 << 20
STATEMENTS_MAX = 256


class Shape(NamedTuple):
    """What memory was reserved for; texts that repeat and parts of columns are not foreseen."""

    schema: pa.Schema
    rows: int
    text_bytes: Mapping[str, int]
    null_counts: Mapping[str, int]

    def is_flat(self) -> bool:
        """Whether no column has parts: those have no width to go by."""
        return not any(field.type.num_fields for field in self.schema)

    def is_small(self) -> bool:
        """Whether it is worth reserving ahead."""
        widths = sum(getattr(kind, "bit_width", 64) for kind in self._fixed()) / 8
        return self.rows * widths + sum(self.text_bytes.values()) <= BYTES_MAX

    def _fixed(self) -> list[Any]:
        return [field.type for field in self.schema if field.name not in self.text_bytes]


class Shapes:
    """The last shape of each statement; thread-safe, the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shapes: OrderedDict[Hashable, Shape] = OrderedDict()

    def get(self, key: Hashable) -> Shape | None:
        """What the statement's result looked like."""
        return self._shapes.get(key)

    def note(self, key: Hashable, shape: Shape) -> None:
        """What it looks like now."""
        with self._lock:
            self._shapes[key] = shape
            self._shapes.move_to_end(key)
            if len(self._shapes) > STATEMENTS_MAX:
                self._shapes.popitem(last=False)


class ExpectedMemory:
    """``ports.Reserve`` for one read. ``prepare`` reserves ahead; the call gives that where it
    fits to the byte, else it gives it back and reserves anew.
    """

    def __init__(self, shapes: Shapes, key: Hashable, reserve: Reserve) -> None:
        self._shapes, self._key, self._reserve = shapes, key, reserve
        self._shape = shapes.get(key)
        self._prepared: Reservation | None = None
        self._early: EarlyRows | None = None

    def prepare(self) -> None:
        """Reserve as for the last result; a full memory is told when it is really needed."""
        shape = self._shape
        if shape is None or self._prepared is not None:
            return
        try:
            self._prepared = self._reserve(
                shape.schema,
                shape.rows,
                text_bytes=shape.text_bytes,
                null_counts=shape.null_counts,
            )
        except NeuralGpuBusError:
            self._shape = None

    def early_writer(
        self, columns: Sequence[SourceColumn], buffer: ReceiveBuffer
    ) -> Callable[[CopyScan], None] | None:
        """What writes rows as they are counted; None where nothing fitting was prepared."""
        shape, self._early = self._shape, None
        if self._prepared is None or shape is None:
            return None
        early = self._early = early_rows(
            columns,
            shape.schema,
            shape.rows,
            self._prepared,
            text_bytes=shape.text_bytes,
            null_counts=shape.null_counts,
        )
        return None if early is None else lambda scan: early.add(buffer.bytes, scan)

    def written(self, scan: CopyScan, buffer: ReceiveBuffer) -> Reservation | None:
        """The result, where all of it was written already; None where it is not as expected."""
        early, self._early = self._early, None
        found = None if early is None else early.whole(buffer.bytes, scan)
        if found is not None:
            self._prepared = None
        return found

    def __call__(
        self,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
        list_values: Mapping[str, int] | None = None,
        dictionaries: Mapping[str, pa.Array[Any]] | None = None,
    ) -> Reservation:
        """As ``ports.Reserve``."""
        shape = Shape(schema, rows, dict(text_bytes or {}), dict(null_counts or {}))
        plain = not list_values and not dictionaries and shape.is_flat()
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            if plain and shape == self._shape:
                return prepared
            prepared.abandon()
        if plain and shape.is_small():
            self._shapes.note(self._key, shape)
        return self._reserve(
            schema,
            rows,
            text_bytes=text_bytes,
            null_counts=null_counts,
            list_values=list_values,
            dictionaries=dictionaries,
        )

    def close(self) -> None:
        """Give back what was not needed."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            prepared.abandon()
