"""What has arrived of a result is counted while more is under way: rows, texts, NULLs.

A malformed or cut stream is found here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.decoding import copy_kernels as kernels
from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.text_tables import (
    ASKED_TEXTS_MAX,
    AUTO_TEXTS_FREE,
    AUTO_TEXTS_MAX,
    TextTable,
)
from neural_gpu_bus.stores.postgres.decoding.type_tree import Enum

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

#: Rows whose codes there is room for at first.
CODES_MIN = 4096

_STREAM_FAULTS = {
    layouts.BAD_MESSAGE_LENGTH: "a message's length is less than its own four bytes",
    layouts.BAD_SIGNATURE: "the stream does not begin with PGCOPY",
    layouts.BAD_FLAGS: "the header has critical flags or a length nobody defined",
    layouts.BAD_FIELD_COUNT: "a row has another number of fields than columns were described",
    layouts.BAD_LENGTH: "a field has a negative length",
    layouts.BAD_WIDTH: "a field has another length than its type",
    layouts.AFTER_END: "bytes follow the end of the stream",
    layouts.CUT: "the stream ends in the middle of a row",
}


class TextCodes(NamedTuple):
    """A column's texts as numbers."""

    #: Of each row, in blocks; 0 for NULL.
    blocks: list[npt.NDArray[np.int32]]
    #: In the order of the numbers.
    texts: list[bytes]


def table_of(column: SourceColumn) -> TextTable:
    """Where a column's different texts are kept."""
    if isinstance(column.node, Enum):
        return TextTable.of_labels(column.node.labels)
    if column.texts == "dictionary":
        return TextTable(ASKED_TEXTS_MAX)
    return TextTable(AUTO_TEXTS_MAX, free=AUTO_TEXTS_FREE)


class CopyScan:
    """Counts of one stream, fed as it grows. ``framed``: it comes in CopyData messages;
    ``headless``: in DataRow messages, rows alone.
    """

    def __init__(
        self,
        columns: Sequence[SourceColumn],
        *,
        framed: bool,
        headless: bool = False,
        start: int = 0,
    ) -> None:
        self.columns = tuple(columns)
        self.framed = framed or headless
        self.headless = headless
        #: Tables of the columns whose texts are given numbers, by place.
        self._tables = {
            place: table_of(column) for place, column in enumerate(columns) if column.is_hashed
        }
        self._scratch = np.zeros(layouts.SCRATCH_BYTES, np.uint8)
        self._restart(start)

    def _restart(self, start: int) -> None:
        self.start = start
        self._state = np.zeros(layouts.STATE_SLOTS, np.int64)
        self._state[layouts.POSITION] = start
        self._state[layouts.STAGE] = layouts.IN_ROWS if self.headless else layouts.HEADER
        self._state[layouts.TAG] = kernels.DATA_ROW if self.headless else kernels.COPY_DATA
        self._state[layouts.SCRATCH] = self._scratch.ctypes.data
        self._widths = np.array([column.width for column in self.columns], np.int64)
        self._text_bytes = np.zeros(len(self.columns), np.int64)
        self._nulls = np.zeros(len(self.columns), np.int64)
        self._slots = np.zeros((len(self.columns), layouts.TEXT_SLOTS), np.int64)
        #: First row and codes of each block, by place.
        self._codes: dict[int, list[tuple[int, npt.NDArray[np.int32]]]] = {
            place: [] for place in self._tables
        }
        self._codes_end = 0
        for place, table in self._tables.items():
            table.clear()
            self._slots[place] = table.slots

    def _make_room(self, stop: int) -> None:
        """For a code of every row that may stand before ``stop``. Blocks are never copied to grow:
        first touch of their memory is half of what codes cost.
        """
        rows = self.rows + (stop - self.position) // (2 + 4 * len(self.columns)) + 1
        if rows <= self._codes_end:
            return
        size = max(rows - self.rows, self._codes_end, CODES_MIN)
        self._codes_end = self.rows + size
        for place, blocks in self._codes.items():
            if self._widths[place] != layouts.HASHED:
                blocks.clear()
                continue
            blocks.append((self.rows, np.zeros(size, np.int32)))
            address = blocks[-1][1].ctypes.data
            self._slots[place, layouts.CODES_AT] = address - 4 * self.rows

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return int(self._state[layouts.ROWS])

    @property
    def position(self) -> int:
        """First byte not looked at."""
        return int(self._state[layouts.POSITION])

    def feed(self, buffer: Bytes, stop: int) -> bool:
        """Count what is whole in ``buffer[:stop]``; True when another kind of message stands at
        ``position``. Raises ProtocolError.
        """
        scan = kernels.scan_messages if self.framed else kernels.scan_stream
        if self._tables:
            self._make_room(stop)
        found = scan(
            buffer, stop, self._widths, self._state, self._slots, self._text_bytes, self._nulls
        )
        if found == layouts.FAULTY:
            raise self._fault()
        return bool(found == layouts.OTHER_MESSAGE)

    def finish(self, buffer: Bytes, stop: int) -> None:
        """The stream ends at ``stop``: check that it is whole. Raises ProtocolError."""
        if self._state[layouts.STAGE] == layouts.SPLIT:
            end = kernels.join_messages(buffer, self.start, stop)
            self.framed = False
            self._restart(self.start)
            self.feed(buffer, end)
            stop = end
        whole = self._state[layouts.STAGE] == layouts.ENDED
        if self.headless:  # what follows the rows says that they are all
            whole = self.position == stop and not whole
        if not whole:
            end = "in the middle of a row" if self.headless else "without its trailer"
            raise ProtocolError(
                f"the stream of rows ends at byte {stop - self.start} {end}, after "
                f"{self.rows} rows",
                hint="run the query again; if it happens again, report the statement",
                position=stop - self.start,
            )

    def text_bytes_by_place(self) -> npt.NDArray[np.int64]:
        """Bytes of text of all columns in order; 0 where it is no text."""
        return self._text_bytes

    def nulls_by_place(self) -> npt.NDArray[np.int64]:
        """NULLs of all columns in order."""
        return self._nulls

    def codes(self, place: int, buffer: Bytes) -> TextCodes | None:
        """What was found of a column's texts; None where they are too many."""
        if self._widths[place] != layouts.HASHED:
            return None
        table = self._tables[place]
        table.slots[:] = self._slots[place]
        blocks = self._codes[place]
        ends = [first for first, _ in blocks[1:]] + [self.rows]
        codes = [block[: end - first] for (first, block), end in zip(blocks, ends, strict=True)]
        return TextCodes(codes, table.texts(buffer.ctypes.data))

    def _fault(self) -> ProtocolError:
        position = int(self._state[layouts.FAULT_POSITION]) - self.start
        index = int(self._state[layouts.FAULT_COLUMN])
        column = f", column {self.columns[index].name!r}" if index >= 0 else ""
        return ProtocolError(
            f"the COPY stream is broken at byte {position} (row {self.rows + 1}{column}): "
            f"{_STREAM_FAULTS[int(self._state[layouts.FAULT])]}",
            hint="run the query again; if it happens again, report the statement",
            position=position,
        )
