"""A table's shape, asked of the catalog in one transaction; what cannot be mirrored is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from neural_gpu_bus.errors import QueryError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    FULL,
    NOTHING,
    ColumnShape,
    RelationShape,
    TableShape,
    quoted,
)
from neural_gpu_bus.stores.postgres.replication.told import address_of
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name

#: More leaves than this are refused: each look at the catalog reads all of them.
LEAVES_MAX = 10_000

_TABLE_SQL = """
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
  c.relpersistence::text AS persistence, c.relrowsecurity AS row_security,
  row_security_active(c.oid) AS row_security_active, pg_get_userbyid(c.relowner) AS owner,
  c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS has_heirs
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {}
"""
_BY_OID = _TABLE_SQL.format("%s::oid").encode()
#: Without a schema the search path decides. With one it is found without the right to use it, for
#: which ``to_regclass`` fails: ``preflight`` says what to grant.
_BY_PATH = _TABLE_SQL.format("to_regclass(%s)").encode()
_BY_NAMES = _TABLE_SQL.replace("c.oid = {}", "n.nspname = %s AND c.relname = %s").encode()

#: Of all types in a column: itself, what a domain or a range is over, elements of arrays, fields
#: of composites. Deeper than 8 nothing is looked at, as elsewhere in this package.
_COLUMNS_SQL = b"""
WITH RECURSIVE cols AS (
  SELECT *, xmin::text AS altered FROM pg_attribute
  WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped
), parts(outside, inside, depth) AS (
  SELECT DISTINCT atttypid, atttypid, 0 FROM cols
  UNION
  SELECT p.outside, b.inside, p.depth + 1
  FROM parts p JOIN pg_type t ON t.oid = p.inside CROSS JOIN LATERAL (
    SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem WHERE t.typsubscript = 'array_subscript_handler'::regproc
    UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
    UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid
    UNION ALL SELECT a.atttypid FROM pg_attribute a
      WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) b(inside)
  WHERE p.depth < 8 AND b.inside <> 0
)
SELECT c.attnum::int4, c.attname::text, c.atttypid::int8, c.atttypmod,
  format_type(c.atttypid, c.atttypmod), c.attnotnull, c.attgenerated::text,
  o.typsend <> 0,
  o.typsend <> 0 AND EXISTS (SELECT FROM parts p JOIN pg_type t ON t.oid = p.inside
    WHERE p.outside = c.atttypid AND t.typsend = 0),
  ARRAY(SELECT json_build_array(e.oid::int8, e.enumlabel)
    FROM pg_enum e WHERE e.enumtypid IN (SELECT inside FROM parts WHERE outside = c.atttypid)
    ORDER BY e.oid),
  ARRAY(SELECT concat_ws(' ', t.oid, a.attnum, a.atttypid, a.atttypmod, a.attname)
    FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
    WHERE t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
      AND t.oid IN (SELECT inside FROM parts WHERE outside = c.atttypid)
    ORDER BY t.oid, a.attnum),
  c.altered,
  ARRAY(SELECT DISTINCT inside::int8 FROM parts
        WHERE outside = c.atttypid AND inside >= 16384 ORDER BY 1),
  coalesce(
    (SELECT min(t.typname::text) FROM parts p JOIN pg_type t ON t.oid = p.inside
     WHERE p.outside = c.atttypid AND t.typname IN ('bpchar', 'citext', 'jsonb', 'numeric')
       AND (t.typname <> 'bpchar' OR c.atttypmod < 0)),
    (SELECT 'collation ' || l.collname FROM pg_collation l
     WHERE l.oid = c.attcollation AND NOT l.collisdeterministic), '')
FROM cols c JOIN pg_type o ON o.oid = c.atttypid
ORDER BY c.attnum
"""

#: One that is being detached does not show its rows any more. Only an index that is checked at
#: once can be an identity (PostgreSQL manual, ALTER TABLE, REPLICA IDENTITY).
_RELATIONS_SQL = b"""
WITH RECURSIVE tree(oid, attached) AS (
  SELECT %s::oid, ''
  UNION ALL
  SELECT i.inhrelid, concat_ws(' ', i.xmin, i.ctid, pg_relation_filenode('pg_inherits'))
  FROM tree t JOIN pg_class p ON p.oid = t.oid JOIN pg_inherits i ON i.inhparent = t.oid
  WHERE p.relkind = 'p' AND NOT i.inhdetachpending
)
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
  c.relfilenode::int8, c.relreplident::text,
  ARRAY(SELECT a.attname::text
    FROM pg_index x CROSS JOIN unnest((x.indkey::int2[])[0:x.indnkeyatts - 1])
      WITH ORDINALITY k(attnum, place)
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
    WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
      AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident
               ELSE false END
    ORDER BY k.place),
  t.attached,
  (SELECT coalesce(sum(a.xmin::text::int8), 0) FROM pg_attribute a
   WHERE a.attrelid = c.oid AND a.attnum > 0)::int8
FROM tree t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY c.oid
LIMIT %s
"""

_KINDS = {
    "v": ("a view", "name the tables below it"),
    "m": ("a materialized view", "name the tables below it; it has no changes of its own"),
    "f": ("a foreign table", "make it live on the server that has its rows"),
    "S": ("a sequence", "name a table"),
    "i": ("an index", "name its table"),
    "I": ("an index", "name its table"),
    "c": ("a composite type", "name a table"),
    "t": ("a TOAST table", "name its table"),
}
_PERSISTENCES = {"t": "temporary", "u": "unlogged"}


def read_shape(connection: psycopg.Connection, table: str | TableName | int) -> TableShape:
    """The table of that name or OID as the connection's transaction sees it, or as it is now.

    Raises QueryError (42P01) where there is none, and for what has no changes in the stream:
    views, foreign, temporary and unlogged tables, tables that others inherit from.
    """
    query, key = _question(table)
    with translated(address_of(connection)), one_look(connection):
        found = _dict(connection, query, key)
        if found is None:
            raise _missing(table)
        _check_kind(found)
        relations = connection.execute(_RELATIONS_SQL, (found["oid"], LEAVES_MAX + 2)).fetchall()
        columns = connection.execute(_COLUMNS_SQL, (found["oid"],)).fetchall()
    shapes = tuple(_relation(row) for row in relations)
    _check_relations(found, shapes)
    return _shape(found, shapes, columns, connection.info.server_version)


@contextmanager
def one_look(connection: psycopg.Connection) -> Iterator[None]:
    """All statements of the body see the same catalog: the transaction's that is there, or one of
    its own.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def check_columns(shape: TableShape, columns: Iterable[str] | None) -> None:
    """Refuse columns that cannot come with the stream. Raises QueryError for one that is not
    there, UnsupportedTypeError for one whose values the server cannot send.
    """
    for name in columns or ():
        if shape.column(name) is None:
            known = ", ".join(one.name for one in shape.columns)
            raise QueryError(
                f"table {shape} has no column {name!r}",
                hint=f"there is: {known}",
                sqlstate="42703",
            )
    for column in shape.columns:
        if column.sending_fails:
            raise UnsupportedTypeError(
                f"column {column.name!r} of {shape} is {column.type_name}, made of a type without "
                "a binary form: the server would end the stream at its first change",
                hint="alter the column's type (text[] holds the same), or leave the table out",
                column=column.name,
                type=column.type_name,
            )
    for column in shape.chosen(None if columns is None else tuple(columns)):
        _check_column(shape, column)


def _check_column(shape: TableShape, column: ColumnShape) -> None:
    others = ", ".join(one.name for one in shape.columns if one.name != column.name)
    if not column.has_send:
        raise UnsupportedTypeError(
            f"column {column.name!r} of {shape} is {column.type_name}, which has no binary form",
            hint=f"leave it out: columns= of {others}",
            column=column.name,
            type=column.type_name,
        )
    if not shape.sends(column):
        which = "virtual" if column.generated == "v" else "stored"
        why = (
            "computed when it is read, and never sent"
            if column.generated == "v"
            else "sent by PostgreSQL 18 and newer alone"
        )
        raise UnsupportedTypeError(
            f"column {column.name!r} of {shape} is generated ({which}): {why}",
            hint=f"leave it out: columns= of {others}",
            column=column.name,
            type=column.type_name,
        )


def _question(table: str | TableName | int) -> tuple[bytes, tuple[str | int, ...]]:
    if isinstance(table, int):
        return _BY_OID, (table,)
    name = parse_table_name(table) if isinstance(table, str) else table
    if name.schema is not None:
        return _BY_NAMES, (name.schema, name.name)
    return _BY_PATH, (name.identifier.as_string(None),)


def _dict(
    connection: psycopg.Connection, query: bytes, key: tuple[str | int, ...]
) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, key).fetchone()


def _missing(table: str | TableName | int) -> QueryError:
    named = f"with OID {table}" if isinstance(table, int) else f"{str(table)!r}"
    return QueryError(
        f"there is no table {named}",
        hint="check the name and its schema; capitals count",
        sqlstate="42P01",
    )


def _check_kind(found: dict[str, Any]) -> None:
    named = f"{found['schema']}.{found['name']}"
    what, hint = "", ""
    if found["kind"] not in ("r", "p"):
        what, hint = _KINDS.get(found["kind"], ("no table", "name a table"))
    elif found["persistence"] != "p":
        what = f"{_PERSISTENCES.get(found['persistence'], 'not permanent')}: it is not in the WAL"
        hint = f"ALTER TABLE {quoted(found['schema'], found['name'])} SET LOGGED"
        if found["persistence"] == "t":
            hint = "make it a table that stays; other sessions cannot see it either"
    elif found["has_heirs"]:
        what = "inherited from (INHERITS): a SELECT shows rows of several tables"
        hint = "make each table live, or turn them into partitions"
    if what:
        raise QueryError(f"{named} cannot be live, it is {what}", hint=hint, sqlstate="42809")


def _check_relations(found: dict[str, Any], relations: tuple[RelationShape, ...]) -> None:
    named = f"{found['schema']}.{found['name']}"
    if len(relations) > LEAVES_MAX + 1:
        raise QueryError(
            f"{named} has more than {LEAVES_MAX:,} partitions",
            hint="make its partitions live, those that are needed",
            sqlstate="54000",
        )
    for one in relations:
        if one.kind not in ("r", "p") or one.persistence != "p":
            why = _KINDS[one.kind][0] if one.kind in _KINDS else _PERSISTENCES[one.persistence]
            raise QueryError(
                f"{named} cannot be live: its partition {one.schema}.{one.name} is {why}, so its "
                "changes are not in the stream",
                hint="detach that partition, or make the others live one by one",
                sqlstate="42809",
            )


def _relation(row: tuple[Any, ...]) -> RelationShape:
    oid, schema, name, kind, persistence, node, identity, index, attached, altered = row
    return RelationShape(
        oid,
        schema,
        name,
        kind,
        persistence,
        node,
        identity,
        tuple(index),
        attached,
        altered,
    )


def _column(row: tuple[Any, ...]) -> ColumnShape:
    *plain, labels, fields, altered, own_types, equal_by = row
    number, name, oid, modifier, type_name, not_null, generated, has_send, sending_fails = plain
    return ColumnShape(
        number,
        name,
        oid,
        modifier,
        type_name,
        not_null,
        generated,
        has_send,
        sending_fails,
        tuple((label_oid, label) for label_oid, label in labels),
        tuple(fields),
        altered,
        tuple(own_types),
        equal_by,
    )


def _shape(
    found: dict[str, Any],
    relations: tuple[RelationShape, ...],
    columns: list[tuple[Any, ...]],
    version: int,
) -> TableShape:
    itself = {one.oid: one for one in relations}[found["oid"]]
    shaped = tuple(_column(row) for row in columns)
    identity_columns: tuple[str, ...] = itself.index_columns
    if itself.identity == FULL:
        identity_columns = tuple(one.name for one in shaped)
    elif itself.identity == NOTHING:
        identity_columns = ()
    taken = ("kind", "has_heirs")
    return TableShape(
        **{name: value for name, value in found.items() if name not in taken},
        columns=shaped,
        identity=itself.identity,
        identity_columns=identity_columns,
        partitioned=found["kind"] == "p",
        relations=relations,
        version=version,
    )
