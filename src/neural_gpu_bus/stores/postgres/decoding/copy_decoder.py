"""COPY BINARY bytes to a table, for callers with a connection of their own, or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.errors import BadParameterError, ProtocolError, QueryError
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.known_types import KnownTypes
from neural_gpu_bus.stores.postgres.decoding.private_columns import PrivateReservation
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions, Texts
from neural_gpu_bus.stores.postgres.wire.messages import Field

if TYPE_CHECKING:
    import pyarrow as pa

    Chunk = bytes | bytearray | memoryview

#: Room at first; it doubles.
BYTES_MIN = 1 << 16
#: Most bytes of one stream, where the caller says nothing else.
BYTES_MAX = 1 << 34


class CopyDecoder:
    """One stream of ``COPY ... (FORMAT BINARY)``, fed in pieces of any size.

    ``fields``: name and type OID of each column, and the type's modifier where it has one (the
    digits of a numeric, the dimensions of a vector): what a driver says of a described statement.
    ``framed``: the bytes are CopyData messages as they come from a socket. ``known``: types that
    are not PostgreSQL's own, see ``types_query`` and ``with_answer``. ``numeric``, ``texts``: see
    ``ReadOptions``. Uses no thread and no clock; not thread-safe.
    Raises UnsupportedTypeError, BadParameterError.
    """

    def __init__(
        self,
        fields: Iterable[Sequence[Any]],
        *,
        numeric: str | Mapping[str, str] = "exact",
        texts: Texts = "auto",
        known: KnownTypes | None = None,
        framed: bool = False,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        options = ReadOptions(numeric, texts)
        described = [_field(field) for field in fields]
        _check_names(described)
        columns = [source_column(*field, known=known, options=options) for field in described]
        self._scan = CopyScan(columns, framed=framed)
        self._buffer = np.empty(BYTES_MIN, np.uint8)
        self._stop = 0
        self._bytes_max = bytes_max

    def feed(self, chunk: Chunk) -> None:
        """Take the next bytes and count whole messages. Raises ProtocolError, QueryError."""
        piece = np.frombuffer(chunk, np.uint8)
        stop = self._stop + piece.size
        if stop > self._bytes_max:
            raise QueryError(
                f"the stream is larger than {self._bytes_max} bytes",
                hint="copy fewer columns or rows, or give a larger bytes_max",
                sqlstate=None,
            )
        if stop > self._buffer.size:
            longer = np.empty(max(stop, 2 * self._buffer.size), np.uint8)
            longer[: self._stop] = self._buffer[: self._stop]
            self._buffer = longer
        self._buffer[self._stop : stop] = piece
        self._stop = stop
        if self._scan.framed and self._scan.feed(self._buffer, stop):
            position = self._scan.position
            raise ProtocolError(
                f"byte {position} begins no CopyData message: tag {self._buffer[position]:#04x}",
                hint="feed CopyData messages alone, or the bytes inside of them with framed=False",
                position=position,
            )

    def finish(self) -> pa.Table:
        """The stream is over: its rows as a table in this process's memory.

        Raises ProtocolError where it is not whole, BadValueError naming column and row.
        """
        if not self._scan.framed:
            self._scan.feed(self._buffer, self._stop)
        elif self._scan.position != self._stop:
            raise ProtocolError(
                f"the stream ends in the middle of the message at byte {self._scan.position}",
                hint="feed all bytes up to CopyDone",
                position=self._scan.position,
            )
        self._scan.finish(self._buffer, self._stop)
        private: Any = PrivateReservation
        filled: Any = write_columns([ReceivedPart(self._buffer, self._scan)], private)
        table: pa.Table = filled.seal()
        return table


def decode_copy(
    chunks: Chunk | Iterable[Chunk],
    fields: Iterable[Sequence[Any]],
    *,
    numeric: str | Mapping[str, str] = "exact",
    texts: Texts = "auto",
    known: KnownTypes | None = None,
    framed: bool = False,
) -> pa.Table:
    """A whole stream, in one piece or in many, as a table; see ``CopyDecoder``."""
    decoder = CopyDecoder(fields, numeric=numeric, texts=texts, known=known, framed=framed)
    pieces = [chunks] if isinstance(chunks, bytes | bytearray | memoryview) else chunks
    for chunk in pieces:
        decoder.feed(chunk)
    return decoder.finish()


def _field(given: Sequence[Any]) -> Field:
    if not 2 <= len(given) <= 3 or not isinstance(given[0], str):
        raise BadParameterError(
            f"{given!r} describes no column",
            hint="give (name, type's OID) or (name, type's OID, modifier)",
            parameter="fields",
        )
    return Field(given[0], int(given[1]), int(given[2]) if len(given) == 3 else -1)


def _check_names(fields: Sequence[Field]) -> None:
    repeated = [name for name, count in Counter(f.name for f in fields).items() if count > 1]
    if repeated or not fields:
        raise BadParameterError(
            f"two columns are named {repeated[0]!r}" if repeated else "there are no columns",
            hint="describe every column of the stream under a name of its own",
            parameter="fields",
        )
