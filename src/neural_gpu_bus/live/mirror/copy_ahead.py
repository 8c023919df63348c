"""What a copy will need is made ready while it waits for the server: connections, memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from neural_gpu_bus.errors import NeuralGpuBusError

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.live.mirror.means import MirrorMeans
    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn

#: Partitions have room for rows that come by chance, and extents do not fill their arenas.
_ROOM: Final = 1.1
#: Less is made in no time.
BYTES_MIN: Final = 4 << 20
#: As long as a large copy goes on there is time to make pages.
BYTES_MAX: Final = 256 << 20

_log = structlog.get_logger(__name__)


class Expected:
    """How many rows the server expects; 0 before it has said so."""

    def __init__(self) -> None:
        self.rows = 0


@contextmanager
def made_ready(
    means: MirrorMeans, definition: LiveDefinition, columns: Sequence[SourceColumn]
) -> Iterator[Expected]:
    """In a thread of its own, for the body; what was not needed goes behind it."""
    stopped, expected = threading.Event(), Expected()
    thread = threading.Thread(
        target=_make_ready,
        args=(means, definition, columns, stopped, expected),
        name=f"ngb-ahead-{definition.name}",
        daemon=True,
    )
    thread.start()
    try:
        yield expected
    finally:
        stopped.set()
        thread.join()
        with suppress(NeuralGpuBusError):
            means.room.writer.room_ahead.drop()


def _make_ready(
    means: MirrorMeans,
    definition: LiveDefinition,
    columns: Sequence[SourceColumn],
    stopped: threading.Event,
    expected: Expected,
) -> None:
    try:
        expected.rows = rows = (
            means.source.reader.expected_rows(definition.table, where=definition.where) or 0
        )
        if rows and not stopped.is_set():
            means.state.count(definition.name, rows_copied=0, rows_expected=rows, bytes_copied=0)
        nbytes = int(_ROOM * rows * _row_bytes(definition, columns))
        if nbytes >= BYTES_MIN and definition.where is None and definition.key:
            ahead = means.room.writer.room_ahead
            ahead.make(min(nbytes, BYTES_MAX), lambda: not stopped.is_set())
    except NeuralGpuBusError as error:  # the copy does without, or fails by itself
        _log.debug("a copy was not made ready for", table=definition.name, reason=str(error))


def _row_bytes(definition: LiveDefinition, columns: Sequence[SourceColumn]) -> int:
    """Of values and offsets, without what texts and lists hold."""
    bits = 0
    for column in columns:
        if column.name not in definition.key:
            kind = column.arrow_type()
            bits += 1 + (getattr(kind, "bit_width", 64) if not column.is_variable else 64)
    return -(-bits // 8)
