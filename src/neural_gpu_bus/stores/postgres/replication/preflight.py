"""Whether the server can feed live tables, and what to run where it cannot: nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
import psycopg
from psycopg.rows import dict_row

from neural_gpu_bus.errors import ReplicationRefusedError
from neural_gpu_bus.quantities import size
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.identities import bad_identity
from neural_gpu_bus.stores.postgres.replication.identity_ways import ways_out
from neural_gpu_bus.stores.postgres.replication.publications import (
    ROW_FILTERS_SINCE,
    Membership,
    PublicationNames,
    add_statement,
    create_statements,
    membership_of,
    memberships,
)
from neural_gpu_bus.stores.postgres.replication.table_catalog import check_columns, read_shape
from neural_gpu_bus.stores.postgres.replication.table_shapes import FULL, TableShape, quoted
from neural_gpu_bus.stores.postgres.replication.told import address_of

#: Slots and senders beside those that this home has already. One more is better: after a crash the
#: old one may not be known to be dead.
PLACES_NEEDED, PLACES_WISHED = 1, 2


class TableWanted(msgspec.Struct, frozen=True):
    """A table that is to be live, as its definition says."""

    table: str
    columns: tuple[str, ...] | None = None
    where: str | None = None
    append_only: bool = False


class Missing(msgspec.Struct, frozen=True):
    """One thing that the server lacks."""

    what: str
    #: To be run as it is, identifiers quoted; empty where nothing that is run helps.
    sql: str
    #: Who may run it.
    by: str = ""
    #: The server has to be restarted after it.
    restart: bool = False
    #: What else helps.
    instead: str = ""

    def __str__(self) -> str:
        way = f": {self.sql}" if self.sql else ""
        who = f" (by {self.by})" if self.by else ""
        return f"{self.what}{way}{who}{', then restart the server' if self.restart else ''}"


class Preflight(msgspec.Struct, frozen=True):
    """What was found."""

    missing: tuple[Missing, ...]
    #: What is worth saying, and stops nothing.
    notices: tuple[str, ...]
    shapes: tuple[TableShape, ...]

    def check(self) -> None:
        """Raises ReplicationRefusedError that has all that is missing, each with its SQL."""
        if not self.missing:
            return
        first = self.missing[0].what
        more = len(self.missing) - 1
        raise ReplicationRefusedError(
            f"live tables are not possible yet: {first}" + (f", and {more} more" if more else ""),
            hint="run:\n" + "\n".join(f"  {_as_script(one)}" for one in self.missing),
            missing=tuple((one.what, one.sql) for one in self.missing),
        )


def _as_script(one: Missing) -> str:
    """A statement, and what it is for as a comment: names may have ends of lines in them."""
    about = [one.what]
    about += [f"by {one.by}"] if one.by else []
    about += ["then restart the server"] if one.restart else []
    about += [f"or: {one.instead}"] if one.instead else []
    comment = "; ".join(about).replace("\n", "\n  -- ")
    return f"{one.sql}  -- {comment}" if one.sql else f"-- {comment}"


_SERVER_SQL = """
SELECT session_user::text AS role, current_database()::text AS database,
  pg_is_in_recovery() AS in_recovery, current_setting('wal_level') AS wal_level,
  current_setting('max_replication_slots')::int AS slots_max,
  (SELECT count(*) FROM pg_replication_slots
   WHERE NOT starts_with(slot_name::text, %(home)s))::int AS slots,
  current_setting('max_wal_senders')::int AS senders_max,
  (SELECT count(*) FROM pg_stat_get_wal_senders() w WHERE NOT EXISTS (
     SELECT FROM pg_replication_slots s
     WHERE s.active_pid = w.pid AND starts_with(s.slot_name::text, %(home)s)))::int AS senders,
  current_setting('max_slot_wal_keep_size') AS keep,
  (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS is_super,
  (SELECT rolreplication FROM pg_roles WHERE rolname = session_user) AS may_replicate,
  (SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles
   WHERE rolname = 'rds_replication') AS rds,
  has_database_privilege(session_user, current_database(), 'CREATE') AS may_create,
  coalesce((SELECT min(name) FROM pg_settings
   WHERE name IN ('rds.logical_replication', 'cloudsql.logical_decoding')), '') AS managed
"""


class _Server(msgspec.Struct, frozen=True):
    role: str
    database: str
    in_recovery: bool
    wal_level: str
    slots_max: int
    slots: int
    senders_max: int
    senders: int
    keep: str
    is_super: bool
    may_replicate: bool
    #: Member of Amazon's role for it; None where there is none of that name.
    rds: bool | None
    may_create: bool
    #: Setting by which a managed service turns ``wal_level`` on; empty for none.
    managed: str
    version: int


class _Standing(msgspec.Struct, frozen=True):
    """What is published already."""

    names: PublicationNames
    members: dict[int, Membership]


def preflight(
    connection: psycopg.Connection,
    tables: Sequence[TableWanted],
    names: PublicationNames,
    *,
    slot_wal_bytes_max: int | None = None,
    known: Mapping[str, TableShape] = MappingProxyType({}),
) -> Preflight:
    """Look at everything that live tables need. ``slot_wal_bytes_max``: what a slot that is to stay
    may keep; None where none is. ``known``: tables that were looked at just before, by name.

    Raises what ``read_shape`` and ``check_columns`` raise for tables that cannot be live at all.
    """
    with translated(address_of(connection)):
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_SERVER_SQL.encode(), {"home": names.changes}).fetchone()
        assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
        server = _Server(**row, version=connection.info.server_version)
        standing = _Standing(names, memberships(connection, names))
        missing = list(_of_server(server))
        notices = list(_notices(server, slot_wal_bytes_max))
        missing += _publications_missing(connection, names, server)
        shapes = []
        for wanted in tables:
            shape = known.get(wanted.table) or read_shape(connection, wanted.table)
            check_columns(shape, wanted.columns)
            shapes.append(shape)
            missing += _of_table(connection, wanted, shape, standing, server)
            notices += _table_notices(wanted, shape)
    return Preflight(tuple(missing), tuple(notices), tuple(shapes))


def _of_server(server: _Server) -> list[Missing]:
    found = []
    if server.in_recovery:
        found.append(Missing("this server is a standby: live tables need the primary", ""))
    if server.wal_level != "logical":
        way, whose = "ALTER SYSTEM SET wal_level = 'logical';", "a superuser"
        if server.managed:
            way, whose = "", f"the service's parameters, {server.managed} = 1 (or on)"
        what = f"wal_level is {server.wal_level}, logical is needed"
        found.append(Missing(what, way, whose, restart=True))
    for setting, used, most in _places(server):
        if most - used < PLACES_NEEDED:
            way = f"ALTER SYSTEM SET {setting} = {max(10, most + 4)};"
            what = f"all of {setting} = {most} are used ({used})"
            found.append(Missing(what, way, "a superuser", restart=True))
    if not (server.is_super or server.may_replicate or server.rds):
        role = quoted(server.role)
        way = f"ALTER ROLE {role} REPLICATION;"
        if server.rds is not None:
            way = f"GRANT rds_replication TO {role};"
        what = f"role {server.role!r} may not replicate"
        found.append(Missing(what, way, "a superuser"))
    return found


def _places(server: _Server) -> tuple[tuple[str, int, int], ...]:
    """Name of the setting, those that others use, and how many there may be."""
    return (
        ("max_replication_slots", server.slots, server.slots_max),
        ("max_wal_senders", server.senders, server.senders_max),
    )


def _notices(server: _Server, slot_wal_bytes_max: int | None) -> list[str]:
    found = [
        "whoever can open the memory folder can read what role "
        f"{server.role!r} may read, whatever row security says"
    ]
    if not server.is_super:
        found.append(
            f"role {server.role!r} is no superuser and may make no event trigger: changes of "
            "definitions are noticed when rows come or at the next look, twice a second"
        )
    for setting, used, most in _places(server):
        if PLACES_NEEDED <= most - used < PLACES_WISHED:
            found.append(
                f"one of {setting} = {most} is left: after a crash the old one may be held for a "
                "while, and live tables wait for it"
            )
    if slot_wal_bytes_max is not None:
        found.append(
            f"the persistent slot may keep {size(slot_wal_bytes_max)} of WAL: from half of it on "
            "`ngb live list` warns, beyond it the slot is dropped and tables are copied anew "
            "(NGB_LIVE_SLOT_WAL_BYTES_MAX)"
        )
    if slot_wal_bytes_max is not None and server.keep == "-1":
        found.append(
            "max_slot_wal_keep_size has no limit: while nothing of the home runs, the slot keeps "
            "WAL until the disk is full; set it: ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'; "
            "SELECT pg_reload_conf();"
        )
    return found


def _publications_missing(
    connection: psycopg.Connection, names: PublicationNames, server: _Server
) -> list[Missing]:
    if server.may_create:
        return []
    rows = connection.execute(
        "SELECT pubname FROM pg_publication WHERE pubname = ANY(%s)", (list(names.both),)
    ).fetchall()
    statements = create_statements(names, server.version)
    if {name for (name,) in rows} == set(statements):
        return []
    return [
        Missing(
            f"role {server.role!r} may not make publications in database {server.database!r}",
            f"GRANT CREATE ON DATABASE {quoted(server.database)} TO {quoted(server.role)};",
            "the database's owner",
        )
    ]


_RIGHTS_SQL = b"""
SELECT pg_has_role(session_user, c.relowner, 'USAGE'),
  has_schema_privilege(session_user, c.relnamespace, 'USAGE'),
  ARRAY(SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = ANY(%s)
          AND NOT has_column_privilege(session_user, c.oid, a.attnum, 'SELECT'))
FROM pg_class c WHERE c.oid = %s::oid
"""


def _of_table(
    connection: psycopg.Connection,
    wanted: TableWanted,
    shape: TableShape,
    standing: _Standing,
    server: _Server,
) -> list[Missing]:
    names, there = standing.names, membership_of(standing.members, shape)
    chosen = [one.name for one in shape.chosen(wanted.columns)]
    row = connection.execute(_RIGHTS_SQL, (chosen, shape.oid)).fetchone()
    owns, enters, unread = row or (False, False, chosen)
    role, found = quoted(server.role), []
    if not enters:
        schema = f"GRANT USAGE ON SCHEMA {quoted(shape.schema)} TO {role};"
        what = f"role {server.role!r} may not use schema {shape.schema!r}"
        found.append(Missing(what, schema, "the schema's owner"))
    if unread:
        what = f"role {server.role!r} may not read column {unread[0]!r} of {shape}"
        way = f"GRANT SELECT ON {shape.quoted} TO {role};"
        found.append(Missing(what, way, f"the table's owner, {shape.owner}"))
    if shape.row_security_active:
        what = f"row security hides rows of {shape} from role {server.role!r}, and not the stream's"
        found.append(Missing(what, f"ALTER ROLE {role} BYPASSRLS;", "a superuser"))
    publication = names.growing if wanted.append_only else names.changes
    if not owns and (there is None or there.publication != publication or there.lacking):
        what = f"role {server.role!r} does not own {shape} and cannot put it into a publication"
        way, adds = f"GRANT {quoted(shape.owner)} TO {role};", ""
        if there is None:
            adds = add_statement(publication, shape, wanted.where)
            adds = f"where the publication is there, as its owner and the table's: {adds};"
        found.append(Missing(what, way, "a superuser", instead=adds))
    return found + _of_changes(connection, wanted, shape, server)


def _of_changes(
    connection: psycopg.Connection, wanted: TableWanted, shape: TableShape, server: _Server
) -> list[Missing]:
    found = []
    bad = "" if wanted.append_only else bad_identity(shape)
    if bad:
        out = ways_out(connection, shape)
        way, *others = out.ways or ("",)
        instead = " or: ".join([*others, *([out.words] if out.words else [])])
        found.append(Missing(f"table {shape}: {bad}", way, shape.owner, instead=instead))
    if wanted.where and server.version < ROW_FILTERS_SINCE:
        major = server.version // 10_000
        found.append(Missing(f"where= needs PostgreSQL 15, this is {major}: leave it out", ""))
    return found


def _table_notices(wanted: TableWanted, shape: TableShape) -> list[str]:
    found = []
    if wanted.columns is None and shape.left_out:
        names = ", ".join(repr(one.name) for one in shape.left_out)
        found.append(
            f"generated columns of table {shape} are left out, because the server does not send "
            f"them: {names}. Compute them from the others where they are needed"
        )
    if shape.row_security:
        found.append(
            f"table {shape} has row security: all of its rows will be readable by whoever can open "
            "the memory folder"
        )
    if wanted.where is not None:
        found.append(
            f"while table {shape} is live with a filter, PostgreSQL refuses to drop the columns in "
            "it or to alter their type: take the table off before, `ngb live drop`"
        )
    if wanted.append_only:
        found.append(
            f"of table {shape} inserts are followed alone: after an UPDATE or DELETE it is copied "
            "anew, up to ten seconds later"
        )
    elif shape.identity == FULL:
        found.append(
            f"table {shape} has REPLICA IDENTITY FULL: each UPDATE and DELETE writes the whole old "
            "row into the WAL; where there is a primary key, less is written with "
            f"ALTER TABLE {shape.quoted} REPLICA IDENTITY DEFAULT;"
        )
    return found
