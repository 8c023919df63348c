"""What a table is and how one is made: columns, keys, and the type that fits each Arrow type.

Types follow from the schema alone, never from the values: the same columns make the same table
whatever happens to be in them. ``timestamp[ns]`` becomes bigint nanoseconds since 1970 UTC, said
in the column's comment, because PostgreSQL holds microseconds and no value is to be bent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg import sql

from neural_gpu_bus.errors import QueryError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.tables.table_name import TableName
from neural_gpu_bus.stores.postgres.wire.types import (
    KINDS,
    NANOSECONDS_COMMENT,
    PostgresType,
    TargetColumn,
)

if TYPE_CHECKING:
    import psycopg

#: Every store asks this: one statement, because three take 0.54 ms where it takes 0.39.
#: A domain counts as what it is made of; its category is that type's. Of a key's ``indkey`` the
#: first ``indnkeyatts`` are the key; 0 among them is an expression.
_READ_TABLE = """
SELECT c.oid::int8, c.relkind::text,
  ARRAY(
    SELECT json_build_array(a.attnum, a.attname,
      coalesce(nullif(t.typbasetype, 0), t.oid)::int8, t.typcategory::text,
      format_type(a.atttypid, a.atttypmod), a.attnotnull,
      a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
      a.attidentity = 'a' OR a.attgenerated <> '')
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum),
  ARRAY(
    SELECT json_build_array(indisprimary, (indkey::int2[])[0:indnkeyatts - 1]) FROM pg_index
    WHERE indrelid = c.oid AND indisunique AND indisvalid AND indpred IS NULL
    ORDER BY indisprimary DESC)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""

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


def read_table(connection: psycopg.Connection, name: TableName) -> TableDefinition | None:
    """The table as it is now; None when there is none of that name.

    Raises QueryError for a missing schema, and for a name that is a view or an index.
    """
    quoted = name.identifier.as_string(connection)
    found = connection.execute(_READ_TABLE, (quoted,)).fetchone()
    if found is None:
        _check_schema(connection, name)
        return None
    oid, kind, columns, indexes = found
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
    return TableDefinition(
        name,
        oid,
        tuple(_target(*column) for _, *column in columns),
        tuple(key for _, key in keys),
        next((key for is_primary, key in keys if is_primary), ()),
    )


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


def _target(name: str, oid: int, category: str, text: str, *rest: bool) -> TargetColumn:
    kind = KINDS.get(oid)
    if kind is None:
        # citext and its kind (category S) take text as it is; so does an enum, label by label.
        kind = {"E": "enum", "S": "text"}.get(category, "other")
    return TargetColumn(name, PostgresType(kind, text), *rest)


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
        if _is_nanoseconds(field.type):
            connection.execute(
                sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                    name.identifier, sql.Identifier(field.name), sql.Literal(NANOSECONDS_COMMENT)
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


def _is_nanoseconds(type_: pa.DataType) -> bool:
    return pa.types.is_timestamp(type_) and type_.unit == "ns"


def postgres_type(field: pa.Field[Any]) -> str:
    """The PostgreSQL type that holds every value of this Arrow type (uint64: up to 2**63 - 1)."""
    type_: Any = field.type
    if isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if pa.types.is_timestamp(type_):
        if type_.unit == "ns":
            return "bigint"
        return "timestamptz" if type_.tz else "timestamp"
    if pa.types.is_fixed_size_binary(type_):
        return "uuid" if type_.byte_width == 16 else "bytea"
    found = _TYPES.get(type_)
    if found is None:
        raise UnsupportedTypeError(
            f"column {field.name!r}: no PostgreSQL column is made for {type_}",
            hint="cast it to a number, a date, a time, text or binary first, or leave it out",
            column=field.name,
            type=str(type_),
        )
    return found


_TYPES: dict[pa.DataType, str] = {
    pa.null(): "text",
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "bigint",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.time32("s"): "time",
    pa.time32("ms"): "time",
    pa.time64("us"): "time",
    pa.time64("ns"): "time",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.string_view(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.binary_view(): "bytea",
}
