"""Row filters: the server evaluates them for each row that is streamed, and cannot go on where one
raises.
"""

from __future__ import annotations

import psycopg

from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from neural_gpu_bus.stores.postgres.replication.told import address_of


def check_filter(connection: psycopg.Connection, shape: TableShape, where: str | None) -> None:
    """Before the table is published: one that fails for a row would end the stream of all tables.

    Raises BadParameterError where it fails for a row that is there.
    """
    if not where:
        return
    # The line ends before the bracket: what is given may end with a comment.
    statement = f"SELECT count(*) FROM {shape.quoted} WHERE ({where}\n)"  # noqa: S608
    try:
        with translated(address_of(connection)):
            connection.execute(statement.encode())
    except QueryError as error:
        raise BadParameterError(
            f"where={where!r} of live table {shape.schema}.{shape.name} fails: {error.what}",
            hint="mend where=, or the row that it fails for; the table is tried again by itself",
            parameter="where",
        ) from error
