"""Rows into a table, inside the caller's transaction: append, replace, upsert.

* A new table gets its rows by COPY and its primary key after them, which builds the index once.
* ``replace`` is DELETE + COPY under a lock that keeps other writers out: TRUNCATE would show an
  empty table to readers with an older snapshot and would wait for (and block) every reader.
* ``upsert`` goes through a temporary table: see ``merging``. Into an empty table it is a plain
  COPY.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psycopg
import pyarrow as pa
from psycopg import sql

from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.stores.postgres.tables.table_definition import (
    TableDefinition,
    add_index,
    add_primary_key,
    create_table,
    ledger_name,
    read_table,
)
from neural_gpu_bus.stores.postgres.tables.table_name import TableName
from neural_gpu_bus.stores.postgres.writing import row_refusals
from neural_gpu_bus.stores.postgres.writing.column_matching import match_columns
from neural_gpu_bus.stores.postgres.writing.copying import copy_rows
from neural_gpu_bus.stores.postgres.writing.ledgers import forget_files
from neural_gpu_bus.stores.postgres.writing.merging import merge_rows
from neural_gpu_bus.stores.postgres.writing.sources import Rows
from neural_gpu_bus.stores.postgres.writing.staging import append_staged

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan

Mode = Literal["append", "upsert", "replace"]

#: Makers of one table wait for each other on this advisory lock and the table's name.
_CREATE_LOCK = 0x6E6763


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """The table to write into, and whether this transaction made it."""

    definition: TableDefinition
    created: bool


def open_table(
    connection: psycopg.Connection,
    name: TableName,
    schema: pa.Schema,
    key: Sequence[str],
    *,
    create: bool = True,
) -> OpenedTable:
    """The table, made for this schema where it is missing. Two makers at once make it once.
    ``create=False``: a missing one is a QueryError.
    """
    missing = [column for column in key if column not in schema.names]
    if missing:
        raise BadParameterError(
            f"key column {missing[0]!r} is not among the columns {', '.join(schema.names)}",
            hint="name columns that are there",
            parameter="key",
        )
    found = read_table(connection, name)
    if found is None and not create:
        raise QueryError(
            f"there is no table {str(name)!r}, and create=False makes none",
            hint="make it (CREATE TABLE), or leave create=False out",
            sqlstate="42P01",
        )
    if found is None:
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
            (_CREATE_LOCK, ledger_name(connection, name)),
        )
        found = read_table(connection, name)
    if found is not None:
        return OpenedTable(found, created=False)
    return OpenedTable(create_table(connection, name, schema, key), created=True)


def write_rows(
    connection: psycopg.Connection,
    table: OpenedTable,
    rows: Rows,
    *,
    key: Sequence[str] = (),
    mode: Mode = "append",
    index: Sequence[str] = (),
) -> int:
    """Write all rows in ``mode`` and return their number.

    ``key``: the new table's primary key, or the unique key that an upsert goes by; an upsert
    without one goes by the table's primary key. ``index``: columns to index in a new table.

    Raises BadParameterError (columns or key do not fit the table), UnsupportedTypeError,
    BadValueError naming column and row.
    """
    definition = table.definition
    plans = match_columns(definition, rows.schema)
    if table.created:
        count = copy_rows(connection, definition.name.identifier, rows, plans)
        _add_keys(connection, definition, key, index)
        return count
    if mode == "upsert":
        key = _conflict_key(definition, rows.schema, key)
        if not _lock_if_empty(connection, definition):
            return merge_rows(connection, definition, rows, plans, key)[0]
    if mode == "replace":
        _lock_writers_out(connection, definition)
        connection.execute(sql.SQL("DELETE FROM {}").format(definition.name.identifier))
        forget_files(connection, definition.oid)
    if definition.row_security or any(plan.sent_as for plan in plans):
        return append_staged(connection, definition, rows, plans)
    return _copy_explained(connection, definition, rows, plans)


def mend_rows(
    connection: psycopg.Connection, definition: TableDefinition, rows: Rows, key: Sequence[str]
) -> int:
    """Upsert into a table that is there; the number of rows that were missing or different. Raises
    what ``write_rows`` raises.
    """
    plans = match_columns(definition, rows.schema)
    key = _conflict_key(definition, rows.schema, key)
    return merge_rows(connection, definition, rows, plans, key)[1]


def is_empty(connection: psycopg.Connection, definition: TableDefinition) -> bool:
    """True when no row is visible."""
    query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(definition.name.identifier)
    return connection.execute(query).fetchone() == (False,)


def count_rows(connection: psycopg.Connection, definition: TableDefinition) -> int:
    """Rows that are visible, all of them looked at."""
    query = sql.SQL("SELECT count(*) FROM {}").format(definition.name.identifier)
    (count,) = connection.execute(query).fetchall()[0]
    return int(count)


def _lock_writers_out(connection: psycopg.Connection, definition: TableDefinition) -> None:
    connection.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(definition.name.identifier)
    )


def _lock_if_empty(connection: psycopg.Connection, definition: TableDefinition) -> bool:
    """True when the table is empty and stays so until this transaction ends."""
    if not is_empty(connection, definition):
        return False
    _lock_writers_out(connection, definition)
    return is_empty(connection, definition)


def _conflict_key(
    definition: TableDefinition, schema: pa.Schema, key: Sequence[str]
) -> Sequence[str]:
    key = key or definition.primary_key
    if not key or not any(set(key) == set(unique) for unique in definition.unique_keys):
        known = "; ".join(", ".join(unique) for unique in definition.unique_keys) or "none"
        asked = f"key {', '.join(key)}" if key else "an upsert without a key"
        raise BadParameterError(
            f"{asked} fits no unique index of table {str(definition.name)!r} (it has: {known})",
            hint="name the columns of a unique index, or make one (CREATE UNIQUE INDEX)",
            parameter="key",
        )
    missing = next((column for column in key if column not in schema.names), None)
    if missing is not None:
        raise BadParameterError(
            f"key column {missing!r} of table {str(definition.name)!r} is not among the columns",
            hint=f"give a column {missing!r}",
            parameter="key",
        )
    return key


def _add_keys(
    connection: psycopg.Connection,
    definition: TableDefinition,
    key: Sequence[str],
    index: Sequence[str],
) -> None:
    """The new table's primary key and index, over the rows that it has by now."""
    if key:
        try:
            with connection.transaction():
                add_primary_key(connection, definition.name, key)
        except psycopg.errors.UniqueViolation:
            repeated = row_refusals.repeated_key(connection, definition.name.identifier, key)
            if repeated is None:
                raise
            raise repeated from None
    if index:
        add_index(connection, definition.name, index)


def _copy_explained(
    connection: psycopg.Connection,
    definition: TableDefinition,
    rows: Rows,
    plans: Sequence[ColumnPlan],
) -> int:
    try:
        return copy_rows(connection, definition.name.identifier, rows, plans)
    except psycopg.errors.UniqueViolation as error:
        raise row_refusals.key_there_already(error, definition, rows) from None
