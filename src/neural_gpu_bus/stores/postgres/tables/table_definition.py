"""What a table is and how one is made: columns and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg import sql

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.encoding.new_types import column_comment, postgres_type
from neural_gpu_bus.stores.postgres.tables.table_name import TableName
from neural_gpu_bus.stores.postgres.tables.table_types import Types, read_types
from neural_gpu_bus.stores.postgres.wire.types import NANOSECONDS_COMMENT, TargetColumn

if TYPE_CHECKING:
    import psycopg

#: Every store asks this: one statement, because three take 0.54 ms where it takes 0.39.
#: Of a key's ``indkey`` the first ``indnkeyatts`` are the key; 0 among them is an expression. The
#: sum of the columns' ``xmin`` is another one as soon as one of them was changed.
_READ_TABLE = """
SELECT c.oid::int8, c.relkind::text,
  ARRAY(
    SELECT json_build_array(a.attnum, a.attname, a.atttypid::int8, a.atttypmod,
      format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), a.attnotnull,
      a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
      a.attidentity = 'a' OR a.attgenerated <> '')
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum),
  ARRAY(
    SELECT json_build_array(indisprimary, (indkey::int2[])[0:indnkeyatts - 1]) FROM pg_index
    WHERE indrelid = c.oid AND indisunique AND indisvalid AND indpred IS NULL
    ORDER BY indisprimary DESC),
  (SELECT sum(xmin::text::int8) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)::int8,
  row_security_active(c.oid), pg_table_is_visible(c.oid)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""

#: Fails (22012) where a column was added, changed or dropped since ``_READ_TABLE``, or another
#: table has the name now; under the lock of a COPY or an INSERT, so that none of it can follow.
_CHECK_UNCHANGED = (
    "SELECT 1 / coalesce((sum(xmin::text::int8) = {})::int, 0) FROM pg_attribute "
    "WHERE attrelid = {} AND attrelid = to_regclass({}) AND attnum > 0"
)

#: The same where types of columns have fields of their own, which can be renamed.
_CHECK_UNCHANGED_WITH_FIELDS = (
    "SELECT 1 / coalesce((sum(xmin::text::int8) = {})::int, 0) FROM pg_attribute "
    "WHERE (attrelid = {} AND attrelid = to_regclass({}) OR attrelid IN ({})) AND attnum > 0"
)

_IS_VISIBLE = "SELECT coalesce(pg_table_is_visible(to_regclass(%s)), current_schema() = %s)"

_READ_NANOSECOND_COLUMNS = """
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %s::oid AND a.attnum > 0
AND col_description(a.attrelid, a.attnum) = %s
"""


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A table as the server has it."""

    name: TableName
    oid: int
    columns: tuple[TargetColumn, ...]
    #: Columns of each unique index over plain columns, the primary key's first.
    unique_keys: tuple[tuple[str, ...], ...]
    #: Empty where there is none.
    primary_key: tuple[str, ...]
    #: Another number as soon as a column was added, changed or dropped.
    columns_state: int = 0
    #: Policies for rows hold for this user: the server takes no COPY then.
    row_security: bool = False
    is_partitioned: bool = False
    #: Relations of composite types that its columns are made of; their fields count to the state.
    composites: tuple[int, ...] = ()
    #: Its name alone leads to it.
    is_visible: bool = True

    @property
    def ledger_name(self) -> str:
        """See ``ledger_name``."""
        return self.name.name if self.is_visible else str(self.name)

    def check_unchanged(self) -> str:
        """A statement that fails with division by zero where the columns are others by now; 55 us
        (PostgreSQL 18, one core, 2026-11-22).
        """
        name = sql.Literal(self.name.identifier.as_string(None)).as_string(None)
        if not self.composites:
            return _CHECK_UNCHANGED.format(self.columns_state, self.oid, name)
        fields = ", ".join(map(str, self.composites))
        return _CHECK_UNCHANGED_WITH_FIELDS.format(self.columns_state, self.oid, name, fields)


def read_table(connection: psycopg.Connection, name: TableName) -> TableDefinition | None:
    """The table as it is now; None when there is none of that name.

    Raises QueryError for a missing schema, and for a name that is a view or an index.
    """
    quoted = name.identifier.as_string(connection)
    found = connection.execute(_READ_TABLE, (quoted,)).fetchone()
    if found is None:
        _check_schema(connection, name)
        return None
    oid, kind, columns, indexes, state, row_security, is_visible = found
    if kind not in ("r", "p"):
        raise QueryError(
            f"{str(name)!r} is no table (pg_class.relkind {kind!r})",
            hint="name a table; a view is written through the tables below it",
            sqlstate="42809",
        )
    names = {number: column for number, column, *_ in columns}
    keys = [
        (is_primary, tuple(names[number] for number in numbers))
        for is_primary, numbers in indexes
        if all(number in names for number in numbers)
    ]
    types = read_types(connection, {type_oid for _, _, type_oid, *_ in columns})
    return TableDefinition(
        name,
        oid,
        _targets(types, columns),
        tuple(key for _, key in keys),
        next((key for is_primary, key in keys if is_primary), ()),
        state + sum(types.composites.values()),
        row_security,
        kind == "p",
        tuple(types.composites),
        is_visible,
    )


def ledger_name(connection: psycopg.Connection, name: TableName) -> str:
    """One name for one table, whether it is called ``bars`` or ``public.bars``: the short one where
    that leads to it, or would after it is made.
    """
    if name.schema is None:
        return name.name
    quoted = name.identifier.as_string(connection)
    found = connection.execute(_IS_VISIBLE, (quoted, name.schema)).fetchone()
    return name.name if found == (True,) else str(name)


def nanosecond_columns(connection: psycopg.Connection, table: TableDefinition) -> frozenset[str]:
    """The bigint columns whose comment says that they hold nanoseconds."""
    found = connection.execute(_READ_NANOSECOND_COLUMNS, (table.oid, NANOSECONDS_COMMENT))
    return frozenset(name for (name,) in found)


def _check_schema(connection: psycopg.Connection, name: TableName) -> None:
    query = "SELECT FROM pg_namespace WHERE nspname = %s"
    if name.schema is not None and not connection.execute(query, (name.schema,)).rowcount:
        raise QueryError(
            f"schema {name.schema!r} does not exist",
            hint=f'create it first: CREATE SCHEMA "{name.schema}"',
            sqlstate="3F000",
        )


def _targets(types: Types, columns: Sequence[Any]) -> tuple[TargetColumn, ...]:
    targets = []
    for _, name, oid, modifier, text, base, not_null, *rest in columns:
        type_, domain_not_null = types.resolve(oid, modifier, text, base)
        targets.append(TargetColumn(name, type_, not_null or domain_not_null, *rest))
    return tuple(targets)


def create_table(
    connection: psycopg.Connection, name: TableName, schema: pa.Schema, key: Sequence[str]
) -> TableDefinition:
    """Make a table that holds this schema; its key columns are NOT NULL.

    The primary key itself comes with ``add_primary_key`` after the rows, which builds it faster.
    """
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(field.name),
            sql.SQL(postgres_type(field)),
            sql.SQL("" if field.nullable and field.name not in key else " NOT NULL"),
        )
        for field in schema
    ]
    connection.execute(
        sql.SQL("CREATE TABLE {} ({})").format(name.identifier, sql.SQL(", ").join(columns))
    )
    for field in schema:
        comment = column_comment(field.type)
        if comment:
            connection.execute(
                sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                    name.identifier, sql.Identifier(field.name), sql.Literal(comment)
                )
            )
    made = read_table(connection, name)
    if made is None:
        raise QueryError(
            f"table {str(name)!r} was made and cannot be found: the search path leads elsewhere",
            hint="write the name as schema.name",
            sqlstate="42P01",
        )
    return made


def add_primary_key(connection: psycopg.Connection, name: TableName, key: Sequence[str]) -> None:
    """Make these columns the table's primary key."""
    connection.execute(
        sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(name.identifier, identifiers(key))
    )


def add_index(connection: psycopg.Connection, name: TableName, columns: Sequence[str]) -> None:
    """An index that may hold equal keys."""
    connection.execute(
        sql.SQL("CREATE INDEX ON {} ({})").format(name.identifier, identifiers(columns))
    )


def identifiers(names: Sequence[str]) -> sql.Composed:
    """``"a", "b"``."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
