"""Triggers that write the primary keys of changed rows into a log, and what reads it.

The log is read in the snapshot in which the rows are: what the snapshot sees of the one it sees of
the other. So after each look the live table equals the table as of the look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import psycopg
from psycopg import errors

from neural_gpu_bus.errors import ReplicationRefusedError
from neural_gpu_bus.stores.postgres.replication.ddl_trigger import SCHEMA
from neural_gpu_bus.stores.postgres.replication.publications import home_mark
from neural_gpu_bus.stores.postgres.replication.table_shapes import quoted

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape

#: Of a log that nobody reads: from there on nothing is written, and the table is copied anew.
LOG_BYTES_MAX = 1 << 30
#: Whoever changes the table waits behind us for so long, while we wait for those before us.
LOCK_MS = 200

_EVENTS = {
    "insert": ("INSERT", "REFERENCING NEW TABLE AS new_rows"),
    "update": ("UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    "delete": ("DELETE", "REFERENCING OLD TABLE AS old_rows"),
    "truncate": ("TRUNCATE", ""),
}


class LogNames(msgspec.Struct, frozen=True):
    """What one live table has on the server; the same names at every start."""

    #: Of the home and the live table.
    prefix: str
    #: Of this primary key of this table.
    name: str

    @property
    def log(self) -> str:
        """The log, quoted."""
        return quoted(SCHEMA, self.name)

    @property
    def function(self) -> str:
        """The same of the function."""
        return quoted(SCHEMA, self.name)


def channel(home: str) -> str:
    """What is notified: one for all tables of a home."""
    return f"ngb_{home_mark(home)}"


def log_prefix(home: str, name: str) -> str:
    """Of whatever a live table has on the server."""
    return f"{channel(home)}_{_digest(name)}_"


def log_names(home: str, name: str, shape: TableShape) -> LogNames:
    """``shape``: its identity is the primary key."""
    prefix = log_prefix(home, name)
    essence = [str(shape.oid), *(f"{one} {kind}" for one, kind in _key(shape))]
    return LogNames(prefix, prefix + _digest("\n".join(essence)))


def check_rights(connection: psycopg.Connection, shape: TableShape) -> None:
    """Raises ReplicationRefusedError with the SQL to run."""
    has_schema, may_use, may_make, may_enter, may_trigger, may_read, role = (
        connection.execute(
            "SELECT to_regnamespace(%(s)s) IS NOT NULL, "
            "coalesce(has_schema_privilege(to_regnamespace(%(s)s), 'USAGE') "
            "AND has_schema_privilege(to_regnamespace(%(s)s), 'CREATE'), false), "
            "has_database_privilege(current_database(), 'CREATE'), "
            "has_schema_privilege(relnamespace, 'USAGE'), "
            "has_table_privilege(%(t)s::oid, 'TRIGGER'), "
            "has_table_privilege(%(t)s::oid, 'SELECT'), "
            "quote_ident(current_user) FROM pg_class WHERE oid = %(t)s::oid",
            {"s": SCHEMA, "t": shape.oid},
        ).fetchone()
        or (False,) * 7
    )
    missing = []
    if not has_schema and not may_make:
        what = f"role {role} may not create schema {SCHEMA}"
        missing.append((what, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}"))
    if has_schema and not may_use:
        what = f"role {role} may not create in schema {SCHEMA}"
        missing.append((what, f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role}"))
    if not may_enter:
        schema = quoted(shape.schema)
        what = f"role {role} may not use schema {schema}"
        missing.append((what, f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
    for may, right in ((may_trigger, "TRIGGER"), (may_read, "SELECT")):
        if not may:
            what = f"role {role} lacks {right} on {shape.quoted}"
            missing.append((what, f"GRANT {right} ON TABLE {shape.quoted} TO {role}"))
    if missing:
        raise ReplicationRefusedError(
            f"table {shape} cannot be followed by triggers yet: {missing[0][0]}",
            hint="run:\n" + "\n".join(_line(what, sql) for what, sql in missing),
            missing=tuple(missing),
        )


def _line(what: str, statement: str) -> str:
    """Of a script; names may have ends of lines in them."""
    comment = what.replace("\n", "\n  -- ")
    return f"  {statement};  -- {comment}"


def install(connection: psycopg.Connection, home: str, names: LogNames, shape: TableShape) -> None:
    """Make what is not there, in one transaction. Whoever changed the table before has ended then.

    Raises LockNotAvailable where somebody changes it all the time.
    """
    check_rights(connection, shape)
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}".encode())
        there = connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()
        if there == (None,):
            connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())
        connection.execute(_log(names, shape).encode())
        connection.execute(_function(home, names, shape, _may_notify(connection)).encode())
        connection.execute(f"REVOKE ALL ON FUNCTION {names.function}() FROM PUBLIC".encode())
        found = {name for name, _, _ in _triggers(connection, names, shape)}
        for event, (words, tables) in _EVENTS.items():
            if f"{names.name}_{event}" not in found:
                connection.execute(
                    f"CREATE TRIGGER {quoted(f'{names.name}_{event}')} AFTER {words} "
                    f"ON {shape.quoted} {tables} FOR EACH STATEMENT "
                    f"EXECUTE FUNCTION {names.function}()".encode()
                )


def token(connection: psycopg.Connection, names: LogNames, shape: TableShape) -> tuple[str, ...]:
    """Another one whenever a trigger was switched off, on, or made anew; empty where one lacks."""
    found = _triggers(connection, names, shape)
    if len(found) < len(_EVENTS) or any(enabled == "D" for _, _, enabled in found):
        return ()
    return tuple(" ".join(one) for one in sorted(found))


def consume(connection: psycopg.Connection, names: LogNames, snapshot: str) -> None:
    """Forget what that snapshot saw."""
    connection.execute(
        f"DELETE FROM {names.log} WHERE pg_visible_in_snapshot(xid, %s::pg_snapshot)".encode(),  # noqa: S608
        (snapshot,),
    )


def is_full(connection: psycopg.Connection, names: LogNames) -> bool:
    """Whether the triggers may have ceased to write."""
    row = connection.execute("SELECT pg_relation_size(%s)", (names.log,)).fetchone()
    return row is not None and int(row[0]) > LOG_BYTES_MAX


def empty(connection: psycopg.Connection, names: LogNames) -> None:
    """Begin it anew, once all who wrote, or would have written, have ended."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}".encode())
        connection.execute(f"TRUNCATE {names.log}".encode())


def clean(connection: psycopg.Connection, home: str, wanted: Collection[str]) -> None:
    """Take away what live tables of this home had that are none any more. ``wanted``: what names
    that stay begin with.
    """
    rows = connection.execute(
        "SELECT proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = %s AND starts_with(proname::text, %s)",
        (SCHEMA, channel(home) + "_"),
    ).fetchall()
    gone = [name for (name,) in rows if not name.startswith(tuple(wanted))]
    for name in gone:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS}".encode())
            # Only the table's owner may drop a trigger, and whoever has the function that.
            connection.execute(f"DROP FUNCTION {quoted(SCHEMA, name)}() CASCADE".encode())
            connection.execute(f"DROP TABLE IF EXISTS {quoted(SCHEMA, name)}".encode())
    if connection.execute(_EMPTY_SQL, (SCHEMA,)).rowcount:  # what somebody else has there stays
        with suppress(errors.DependentObjectsStillExist, errors.InsufficientPrivilege):
            connection.execute(f"DROP SCHEMA {SCHEMA}".encode())


_EMPTY_SQL = """
SELECT FROM pg_namespace n WHERE n.nspname = %s
  AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)
  AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid)
"""


def keys_sql(names: LogNames, shape: TableShape) -> str:
    """Primary keys of rows that changed, each once."""
    columns = ", ".join(
        f"k{place} AS {quoted(one)}" for place, one in enumerate(shape.identity_columns)
    )
    return f"SELECT DISTINCT {columns} FROM {names.log}"  # noqa: S608


def changed(names: LogNames, shape: TableShape) -> str:
    """Condition that rows with one of these keys meet."""
    key = ", ".join(map(quoted, shape.identity_columns))
    logged = ", ".join(f"l.k{place}" for place in range(len(shape.identity_columns)))
    return f"({key}) IN (SELECT {logged} FROM {names.log} l)"  # noqa: S608


def _log(names: LogNames, shape: TableShape) -> str:
    columns = ", ".join(f"k{place} {kind}" for place, (_, kind) in enumerate(_key(shape)))
    # Its size says whether something was left out: VACUUM must not make it smaller.
    return (
        f"CREATE TABLE IF NOT EXISTS {names.log} (xid xid8 NOT NULL, {columns}) "
        "WITH (vacuum_truncate = false)"
    )


def _function(home: str, names: LogNames, shape: TableShape, notify: bool) -> str:
    key = ", ".join(map(quoted, shape.identity_columns))
    new, old = (f"SELECT pg_current_xact_id(), {key} FROM {one}_rows" for one in ("new", "old"))  # noqa: S608
    told = f"PERFORM pg_notify('{channel(home)}', '');" if notify else ""
    return f"""
CREATE OR REPLACE FUNCTION {names.function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $ngb$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    NULL;
  ELSIF pg_relation_size('{names.log.replace("'", "''")}') > {LOG_BYTES_MAX} THEN
    PERFORM FROM {names.log} LIMIT 0;
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO {names.log} {new};
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO {names.log} {old};
  ELSE
    INSERT INTO {names.log} {old} UNION {new};
  END IF;
  {told}
  RETURN NULL;
END $ngb$
"""


def _may_notify(connection: psycopg.Connection) -> bool:
    """Not where transactions are prepared: one that notified cannot be, and would fail."""
    row = connection.execute("SHOW max_prepared_transactions").fetchone()
    return row == ("0",)


def _triggers(
    connection: psycopg.Connection, names: LogNames, shape: TableShape
) -> Sequence[tuple[str, str, str]]:
    rows = connection.execute(
        "SELECT tgname::text, xmin::text, tgenabled::text FROM pg_trigger "
        "WHERE tgrelid = %s::oid AND starts_with(tgname::text, %s)",
        (shape.oid, names.name + "_"),
    ).fetchall()
    return [(name, altered, enabled) for name, altered, enabled in rows]


def _key(shape: TableShape) -> list[tuple[str, str]]:
    kinds = {one.name: one.type_name for one in shape.columns}
    return [(name, kinds[name]) for name in shape.identity_columns]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
