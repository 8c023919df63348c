"""Wire columns to the bytes of COPY BINARY: compiled, in pieces of bounded size, no socket.

A row is ``int16 columns`` and, for each column, ``int32 length`` (-1 = NULL) and that many bytes,
all big-endian (PostgreSQL manual, COPY, "Binary Format"). Rows of one piece are laid out first
(``row_bytes``); then each column writes its own cells, which keeps every loop free of branches
on the type.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.stores.postgres.encoding.copy_kernels import put_column, put_counts
from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan, wire_columns
from neural_gpu_bus.stores.postgres.encoding.wire_source import WireColumn

#: Signature, flags, length of the header extension.
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(4) + bytes(4)
#: Column count -1 ends the data.
TRAILER = b"\xff\xff"

#: Tag and length of a message of the protocol.
COPY_DATA = b"d"
FRAME_BYTES = 5

#: Bytes handed to the connection at once; 64 KiB to 1 MiB measured within noise of each other
#: (docs/decisions/004-writing-and-loading.md). One row larger than this is a piece by itself.
PIECE_BYTES_MAX = 256 << 10

#: Values converted at once; bounds the memory of one batch whatever the number of columns.
BATCH_VALUES_MAX = 1 << 20
#: Few, so that the server has its first rows early.
BATCH_ROWS_MAX = 1 << 14


def batch_rows(columns: int) -> int:
    """Rows to convert at once for that many columns."""
    return max(1, min(BATCH_ROWS_MAX, BATCH_VALUES_MAX // max(1, columns)))


def encode(
    batches: Iterable[pa.RecordBatch],
    plans: Sequence[ColumnPlan],
    *,
    piece_bytes_max: int = PIECE_BYTES_MAX,
    first_row: int = 1,
    framed: bool = False,
) -> Generator[bytes, None, None]:
    """All of COPY BINARY for these batches, whose columns stand in the order of ``plans``.
    ``framed``: each piece is a CopyData message of the protocol.

    Raises BadValueError (column, row counted from ``first_row`` over all batches) before any byte
    of the batch that holds the value is given out.
    """
    yield copy_data(HEADER) if framed else HEADER
    limit = batch_rows(len(plans))
    for whole in batches:
        for start in range(0, whole.num_rows, limit):
            batch = whole.slice(start, limit)
            columns = wire_columns(batch, plans, first_row)
            yield from _pieces(columns, batch.num_rows, piece_bytes_max, framed=framed)
            first_row += batch.num_rows
    yield copy_data(TRAILER) if framed else TRAILER


def copy_data(content: bytes) -> bytes:
    """As a message of the protocol."""
    return COPY_DATA + (len(content) + 4).to_bytes(4) + content


def _pieces(
    columns: Sequence[WireColumn], rows: int, piece_bytes_max: int, *, framed: bool
) -> Iterator[bytes]:
    lead = FRAME_BYTES if framed else 0
    ends = np.cumsum(row_bytes(columns, rows))
    start, sent = 0, 0
    while start < rows:
        stop = int(np.searchsorted(ends, sent + piece_bytes_max, side="right"))
        stop = max(stop, start + 1)
        cursor = np.empty(stop - start, np.int64)
        cursor[0] = lead
        cursor[1:] = ends[start : stop - 1] - (sent - lead)
        size = int(ends[stop - 1]) - sent
        out = np.empty(lead + size, np.uint8)
        if framed:
            out[:lead] = np.frombuffer(COPY_DATA + (size + 4).to_bytes(4), np.uint8)
        put_counts(out, cursor, len(columns))
        for column in columns:
            put_column(out, cursor, column, start, stop)
        yield out.data  # type: ignore[misc]  # psycopg takes any buffer
        start, sent = stop, int(ends[stop - 1])


def row_bytes(columns: Sequence[WireColumn], rows: int) -> npt.NDArray[np.int64]:
    """Size of each row on the wire."""
    fixed = sum(column.width for column in columns)
    sizes = np.full(rows, 2 + 4 * len(columns) + fixed, np.int64)
    for column in columns:
        if column.offsets is not None:
            lengths = np.diff(column.offsets) + len(column.lead)
            sizes += lengths if column.valid is None else np.where(column.valid, lengths, 0)
        elif column.valid is not None:
            sizes -= column.width * ~column.valid
    return sizes
