"""What one server's types are made of: asked in one statement, with all parts, and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial

import psycopg

from neural_gpu_bus.errors import NeuralGpuBusError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.known_types import KnownTypes
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.decoding.type_questions import types_query, with_answer
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Lends a connection for the body.
Lend = Callable[[], AbstractContextManager[psycopg.Connection]]


class TypeCatalog:
    """Types of one server; thread-safe. An OID is given again only after four billion others.

    ``lend``: where given, a column whose type was altered after it was asked about is asked for
    again while it is decoded; by then no connection of the reader may be held.
    """

    def __init__(self, address: str, lend: Lend | None = None) -> None:
        self._address = address
        self._lend = lend
        self._lock = threading.Lock()
        self._known = KnownTypes()

    def missing(self, oids: Sequence[int]) -> set[int]:
        """What has to be asked before columns of these types can be made."""
        known = self._known
        return known.missing(oids) | known.alterable(oids)

    def learn(self, connection: psycopg.Connection, oids: Collection[int]) -> None:
        """Ask the server about types and all that they are made of, on an idle connection."""
        with translated(self._address):
            rows = connection.execute(types_query(oids).encode()).fetchall()
        with self._lock:
            self._known = with_answer(self._known, oids, rows)

    def columns(self, fields: Sequence[Field], options: ReadOptions) -> list[SourceColumn]:
        """The columns of a described result. Raises UnsupportedTypeError."""
        return [self._column(field, options) for field in fields]

    def _column(self, field: Field, options: ReadOptions) -> SourceColumn:
        again = None
        if self._lend is not None and field.oid in self._known.types:
            again = partial(self._again, field, options)
        return source_column(*field, known=self._known, options=options, again=again)

    def _again(self, field: Field, options: ReadOptions) -> SourceColumn:
        """The column as the server describes its type now."""
        assert self._lend is not None  # noqa: S101 - its caller has looked
        # Without an answer what is known has to do: a label is still a text.
        with suppress(NeuralGpuBusError), self._lend() as connection:
            self.learn(connection, [field.oid])
        return source_column(*field, known=self._known, options=options)
