"""Ways out for a table whose updates cannot be published: statements that run as they are, after
which they can be. The producer's to decide, never run by us.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import msgspec
import psycopg

from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.identities import bad_leaves, is_sent
from neural_gpu_bus.stores.postgres.replication.table_shapes import (
    DEFAULT,
    TableShape,
    quoted,
)
from neural_gpu_bus.stores.postgres.replication.told import address_of

#: PostgreSQL cuts longer names (NAMEDATALEN).
_NAME_BYTES_MAX = 63

#: Whole unique indexes of columns that have no NULLs: those that can be an identity, and with
#: ``indimmediate`` off those that show which columns could.
_UNIQUE_SQL = b"""
SELECT c.relname::text, x.indisprimary, x.indimmediate, coalesce(o.conname::text, ''),
  ARRAY(SELECT a.attname::text FROM unnest((x.indkey::int2[])[0:x.indnkeyatts - 1])
      WITH ORDINALITY k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum ORDER BY k.place)
FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
LEFT JOIN pg_constraint o ON o.conindid = x.indexrelid AND o.conrelid = x.indrelid
  AND o.contype IN ('p', 'u')
WHERE x.indrelid = %s::oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL
  AND x.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = x.indrelid AND NOT a.attnotnull
    AND a.attnum = ANY((x.indkey::int2[])[0:x.indnkeyatts - 1]))
ORDER BY NOT x.indisprimary, NOT x.indimmediate, x.indnkeyatts, c.relname
"""
_NAMES_SQL = b"""
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND starts_with(c.relname::text, %s)
"""
_PARTITION_KEY_SQL = b"SELECT pg_get_partkeydef(%s::oid)"


class _Unique(msgspec.Struct, frozen=True):
    name: str
    primary: bool
    #: Not deferrable: it can be an identity.
    immediate: bool
    constraint: str
    columns: tuple[str, ...]


class WaysOut(msgspec.Struct, frozen=True):
    """``ways``: each is enough; may be none. ``words``: what besides can be done."""

    ways: tuple[str, ...]
    words: str


def ways_out(connection: psycopg.Connection, shape: TableShape) -> WaysOut:
    """For a table of which ``bad_identity`` found something."""
    with translated(address_of(connection)):
        rows = connection.execute(_UNIQUE_SQL, (shape.oid,)).fetchall()
        found = [
            _Unique(name, primary, immediate, constraint, tuple(columns))
            for name, primary, immediate, constraint, columns in rows
        ]
        unique = [one for one in found if is_sent(shape, one.columns)]
        if shape.partitioned:
            return _of_partitioned(connection, shape, unique)
        return _of_plain(connection, shape, unique)


def _of_plain(connection: psycopg.Connection, shape: TableShape, unique: list[_Unique]) -> WaysOut:
    table = shape.quoted
    ways = [
        f"ALTER TABLE {table} REPLICA IDENTITY "
        + ("DEFAULT;" if one.primary else f"USING INDEX {quoted(one.name)};")
        for one in unique
        if one.immediate
    ]
    if unique and not ways:
        index = quoted(_free_name(connection, shape))
        ways = [
            f"CREATE UNIQUE INDEX {index} ON {table} ({_listed(unique[0].columns)}); "
            f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index};"
        ]
    full = f"ALTER TABLE {table} REPLICA IDENTITY FULL;"
    words = "a primary key over columns that tell rows apart; with REPLICA IDENTITY FULL each "
    return WaysOut((*ways[:1], full), words + "UPDATE and DELETE writes the whole old row to WAL")


def _of_partitioned(
    connection: psycopg.Connection, shape: TableShape, unique: list[_Unique]
) -> WaysOut:
    """New partitions inherit a primary key, and nothing else that is an identity."""
    primary = next((one for one in unique if one.primary), None)
    fitting = [one for one in unique if _fits_partitions(shape, one.columns)]
    if not fitting or (primary is None and _has_primary(shape)):
        row = connection.execute(_PARTITION_KEY_SQL, (shape.oid,)).fetchone()
        key = row[0] if row else "its partitions"
        return WaysOut((), f"a primary key, with the columns that it is partitioned by: {key}")
    begins = [] if shape.identity == DEFAULT else [_default(shape.quoted)]
    if primary is None or not primary.immediate:
        drops = f"DROP CONSTRAINT {quoted(primary.constraint)}, " if primary else ""
        chosen = primary or fitting[0]
        begins.append(
            f"ALTER TABLE {shape.quoted} {drops}ADD PRIMARY KEY ({_listed(chosen.columns)});"
        )
        changed = [one for one in shape.holding_rows() if one.identity != DEFAULT]
    else:
        changed = bad_leaves(shape, primary.columns)
    begins += [_default(quoted(one.schema, one.name)) for one in changed]
    return WaysOut((" ".join(begins),), "")


def _fits_partitions(shape: TableShape, columns: tuple[str, ...]) -> bool:
    """Whether no partition has another primary key, as far as is known."""
    return all(
        one.identity != DEFAULT or not one.index_columns or one.index_columns == columns
        for one in shape.holding_rows()
    )


def _has_primary(shape: TableShape) -> bool:
    """One that is no candidate: of a column that is not sent."""
    itself = next(one for one in shape.relations if one.oid == shape.oid)
    return itself.identity == DEFAULT and bool(itself.index_columns)


def _default(table: str) -> str:
    return f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT;"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))


def _free_name(connection: psycopg.Connection, shape: TableShape) -> str:
    ending = "_identity"
    room = _NAME_BYTES_MAX - len(ending) - 3
    stem = shape.name.encode()[:room].decode(errors="ignore") + ending
    rows = connection.execute(_NAMES_SQL, (shape.schema, stem)).fetchall()
    taken = {name for (name,) in rows}
    names = (f"{stem}{number or ''}" for number in count())
    return next(name for name in names if name not in taken)
