"""Changes of definitions, told in the stream where they happen: an event trigger that writes a
logical message into the WAL, in the same transaction.

Without it (only a superuser may make one) definitions are looked at again and again, and when a
Relation message differs: a change is then noticed late, though never served as fresh for long.
"""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec
import psycopg
from psycopg import errors

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.publications import PREFIX
from neural_gpu_bus.stores.postgres.replication.told import address_of

SCHEMA = "neural_gpu_bus"
#: Of the logical messages.
MESSAGE_PREFIX = "ngb.ddl"
#: How long the function waits for others when it is dropped.
REMOVE_S_MAX = 2.0
_PAUSE_S = 0.02

#: One home at a time makes or drops them; PostgreSQL has no IF NOT EXISTS for event triggers.
_LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended('neural_gpu_bus.ddl_trigger', 0))"

#: OTHERS catches all but a cancelled statement: what fails here must not fail the DDL. CREATE TABLE
#: is told with the row of ``pg_inherits``, by which a partition that began empty is known again: by
#: who wrote it and where it lies. One that the same transaction detaches, fills and attaches again
#: has another row of the same ``xmin``; no place is used again before that transaction has ended.
#: A message has the position where it ends, which is where the next record begins; of two with one
#: position in different subtransactions (the block is one) either may come first. The second
#: message keeps them apart: rows of a new partition never come before the word of it.
_FUNCTION = """
CREATE OR REPLACE FUNCTION neural_gpu_bus.tell_ddl() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  relations oid[]; types oid[]; made jsonb; publications bool := false; names bool := false;
  of_types CONSTANT text[] := ARRAY['type', 'composite type%'];
BEGIN
  IF TG_EVENT = 'table_rewrite' THEN
    relations := ARRAY[pg_event_trigger_table_rewrite_oid()];
  ELSIF TG_EVENT = 'sql_drop' THEN
    SELECT array_agg(DISTINCT d.objid) FILTER (WHERE d.object_type IN ('table', 'table column')),
      array_agg(DISTINCT d.objid) FILTER (WHERE d.object_type LIKE ANY (of_types)),
      coalesce(bool_or(d.object_type IN ('publication', 'publication relation')), false),
      coalesce(bool_or(TG_TAG = 'DROP INDEX' AND d.object_type = 'index'), false)
    INTO relations, types, publications, names
    FROM pg_event_trigger_dropped_objects() d WHERE NOT d.is_temporary;
  ELSE
    SELECT array_agg(DISTINCT c.objid) FILTER (WHERE c.object_type IN ('table', 'table column')),
      array_agg(DISTINCT c.objid) FILTER (WHERE c.object_type LIKE ANY (of_types)),
      coalesce(bool_or(c.object_type IN ('publication', 'publication relation')), false),
      TG_TAG = 'ALTER SCHEMA'
    INTO relations, types, publications, names
    FROM pg_event_trigger_ddl_commands() c
    WHERE c.schema_name IS DISTINCT FROM 'pg_temp';
    IF TG_TAG LIKE 'CREATE TABLE%' OR TG_TAG = 'CREATE SCHEMA' THEN
      SELECT jsonb_agg(jsonb_build_array(i.inhrelid::int8,
        concat_ws(' ', i.xmin, i.ctid, pg_relation_filenode('pg_inherits')))) INTO made
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhrelid = ANY(relations) AND c.relispartition;
    END IF;
  END IF;
  IF relations IS NULL AND types IS NULL AND NOT publications AND NOT names THEN
    RETURN;
  END IF;
  PERFORM pg_logical_emit_message(true, 'ngb.ddl', jsonb_build_object(
    'format', 1, 'tag', TG_TAG, 'event', TG_EVENT, 'publications', publications,
    'names', names, 'relations', coalesce((
      WITH RECURSIVE named(o) AS (
        SELECT unnest(relations)
        UNION SELECT i.inhparent FROM named JOIN pg_inherits i ON i.inhrelid = named.o)
      SELECT jsonb_agg(o::int8) FROM named), '[]'),
    'types', coalesce((SELECT jsonb_agg(t::int8) FROM unnest(types) t), '[]'),
    'made', coalesce(made, '[]'))::text);
  PERFORM pg_logical_emit_message(true, 'ngb.pad', '');
EXCEPTION WHEN OTHERS THEN
  NULL;
END $body$
"""

_TAGS = (
    "'ALTER TABLE', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TYPE', "
    "'ALTER PUBLICATION', 'CREATE PUBLICATION', 'IMPORT FOREIGN SCHEMA', 'ALTER SCHEMA', "
    "'CREATE SCHEMA'"
)
_DROP_TAGS = (
    "'ALTER TABLE', 'DROP TABLE', 'DROP SCHEMA', 'DROP TYPE', 'DROP PUBLICATION', 'DROP OWNED', "
    "'ALTER PUBLICATION', 'DROP EXTENSION', 'DROP INDEX'"
)
_TRIGGERS = {
    "neural_gpu_bus_ddl": f"ddl_command_end WHEN TAG IN ({_TAGS})",
    "neural_gpu_bus_drop": f"sql_drop WHEN TAG IN ({_DROP_TAGS})",
    "neural_gpu_bus_rewrite": "table_rewrite",
}


class DdlMessage(msgspec.Struct, frozen=True):
    """What one statement changed."""

    format: int
    #: ``ALTER TABLE``.
    tag: str
    #: ddl_command_end, sql_drop or table_rewrite.
    event: str
    #: OIDs of tables, and of all that they are partitions of or inherit from.
    relations: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    #: Partitions that were made as such and began empty, as ``shape_changes.copy_reason`` takes
    #: them.
    made: tuple[tuple[int, str], ...] = ()
    #: A publication was changed, somebody's.
    publications: bool = False
    #: A schema was altered, whose name may lead to other tables now, or an index dropped, of which
    #: nobody tells whose it was.
    names: bool = False

    def concerns(self, oids: frozenset[int]) -> bool:
        """Whether a table with one of these OIDs (its own, its leaves') may be another one now. A
        type may be in any.
        """
        return self.publications or self.alters(oids)

    def alters(self, oids: frozenset[int]) -> bool:
        """The same, but for how the table is published."""
        return self.names or bool(self.types) or not oids.isdisjoint(self.relations)


def parse_message(content: bytes) -> DdlMessage:
    """The content of a logical message with our prefix. Raises ProtocolError: anybody may write
    such a message.
    """
    try:
        return msgspec.json.decode(content, type=DdlMessage)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"a message {MESSAGE_PREFIX!r} cannot be read: {error}",
            hint="something else than neural-gpu-bus wrote it: pg_logical_emit_message",
            position=0,
        ) from None


def install(connection: psycopg.Connection) -> str:
    """Make the event triggers where the role may. Empty: they are there; else why not."""
    with translated(address_of(connection)):
        try:
            with connection.transaction():
                connection.execute(_LOCK)
                _install(connection)
        except errors.InsufficientPrivilege as error:
            return error.diag.message_primary or "permission denied"
    return ""


def _install(connection: psycopg.Connection) -> None:
    there = {name for (name,) in connection.execute(_THERE_SQL, (list(_TRIGGERS),)).fetchall()}
    if len(there) == len(_TRIGGERS) and _function_is(connection):
        return
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
    connection.execute(_FUNCTION.encode())
    for name, event in _TRIGGERS.items():
        connection.execute(f"DROP EVENT TRIGGER IF EXISTS {name}".encode())
        connection.execute(
            f"CREATE EVENT TRIGGER {name} ON {event} "
            "EXECUTE FUNCTION neural_gpu_bus.tell_ddl()".encode()
        )
        # Also of sessions that apply somebody's replication.
        connection.execute(f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS".encode())


_THERE_SQL = b"SELECT evtname FROM pg_event_trigger WHERE evtname = ANY(%s) AND evtenabled = 'A'"


_RUNNING_SQL = b"""
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()
"""

_SWITCH_SQL = b"SELECT current_setting('event_triggers', true)"

_SOURCE_SQL = b"""
SELECT p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'neural_gpu_bus' AND p.proname = 'tell_ddl'
"""


def _function_is(connection: psycopg.Connection) -> bool:
    """Whether the function is the one of this version."""
    # Not by to_regproc, which needs the right to use the schema.
    row = connection.execute(_SOURCE_SQL).fetchone()
    return row is not None and row[0] == _FUNCTION.split("$body$")[1]


def is_installed(connection: psycopg.Connection) -> bool:
    """Whether definitions are told in the stream: all event triggers are there and enabled."""
    with translated(address_of(connection)):
        found = connection.execute(_THERE_SQL, (list(_TRIGGERS),))
        return found.rowcount == len(_TRIGGERS)


def tells(connection: psycopg.Connection) -> bool:
    """Whether what is altered from now on is told: they are there, of this version, and nobody
    switched event triggers off for the server, this database or role (PostgreSQL 17 and newer).
    One session that did so for itself is not seen.
    """
    with translated(address_of(connection)):
        row = connection.execute(_SWITCH_SQL).fetchone()
        is_on = row is None or row[0] != "off"
        return is_on and is_installed(connection) and _function_is(connection)


def remove(connection: psycopg.Connection, *, wait_s: float = REMOVE_S_MAX) -> bool:
    """Drop them, unless a home's publication is left in this database; whether they are gone.

    A home drops its publications first. Where the role may not, they stay: False. The function goes
    once nobody can be about to call it, or stays, without effect, for the next time.
    """
    with translated(address_of(connection)):
        try:
            with connection.transaction():
                connection.execute(_LOCK)
                if _is_wanted(connection):
                    return False
                for name in _TRIGGERS:
                    connection.execute(f"DROP EVENT TRIGGER IF EXISTS {name}".encode())
            if _others_ended(connection, wait_s):
                _drop_function(connection)
        except errors.InsufficientPrivilege:
            return False
    return True


_LEFT_SQL = b"""
SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'neural_gpu_bus' AND p.proname = 'tell_ddl'
  AND pg_has_role(p.proowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtfoid = p.oid)
"""


def is_left(connection: psycopg.Connection) -> bool:
    """Whether the function is ours and waits for old transactions to end: ``remove`` it later."""
    with translated(address_of(connection)):
        return connection.execute(_LEFT_SQL).rowcount > 0 and not _is_wanted(connection)


def _is_wanted(connection: psycopg.Connection) -> bool:
    query = "SELECT FROM pg_publication WHERE starts_with(pubname::text, %s)"
    return connection.execute(query, (PREFIX,)).rowcount > 0


def _others_ended(connection: psycopg.Connection, wait_s: float) -> bool:
    """Whether all transactions that run now end within the time: DDL in one of them may still call
    the function, and would fail without it. Those that begin later know that the trigger is gone.
    """
    left = _running(connection)
    end_s = time.monotonic() + wait_s
    while left and time.monotonic() < end_s:
        time.sleep(_PAUSE_S)
        left &= _running(connection)
    return not left


def _running(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute(_RUNNING_SQL).fetchall()}


def _drop_function(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute(_LOCK)
        there = connection.execute(_THERE_SQL, (list(_TRIGGERS),)).rowcount
        if there or _is_wanted(connection):
            return
        connection.execute("DROP FUNCTION IF EXISTS neural_gpu_bus.tell_ddl()")
        # What somebody else put there stays.
        with suppress(errors.DependentObjectsStillExist), connection.transaction():
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}".encode())
