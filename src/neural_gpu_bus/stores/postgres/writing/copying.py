"""COPY of all rows into one table, through libpq."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.tables.table_definition import identifiers
from neural_gpu_bus.stores.postgres.writing import row_refusals

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan
    from neural_gpu_bus.stores.postgres.writing.sources import Rows


def copy_statement(target: sql.Identifier, plans: Sequence[ColumnPlan]) -> sql.Composed:
    """What takes the encoded rows."""
    names = identifiers([plan.target.name for plan in plans])
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names)


def copy_rows(
    connection: psycopg.Connection,
    target: sql.Identifier,
    rows: Rows,
    plans: Sequence[ColumnPlan],
) -> int:
    """The number of rows stored. Raises BadValueError naming the row, psycopg's UniqueViolation,
    and what else the server refuses.
    """
    statement = copy_statement(target, plans)
    pieces = encode(rows.batches(), plans, first_row=rows.first_row)
    # A bad value in the first rows is named before the COPY waits for whoever locked the table.
    first = list(islice(pieces, 2))
    with (
        row_refusals.explained(rows.first_row),
        _lost_in_copy(connection),
        connection.cursor() as cursor,
    ):
        # The pieces are closed at once when sending fails, so that the file is let go.
        with cursor.copy(statement) as copy, closing(pieces):
            for piece in chain(first, pieces):
                copy.write(piece)
        return cursor.rowcount


@contextmanager
def _lost_in_copy(connection: psycopg.Connection) -> Iterator[None]:
    """A server that ends the session during COPY gives two results, of which psycopg 3.3's
    ``copy_end`` expects one: its ValueError is a lost connection.
    """
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or not connection.broken:
            raise
        raise psycopg.OperationalError("the server ended the session during COPY") from error
