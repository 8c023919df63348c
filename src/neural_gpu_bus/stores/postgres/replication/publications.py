"""Publications of a home: one for tables with their updates, one for tables that only grow.

Tables are published as they are stored, partitions under their own OIDs
(``publish_via_partition_root`` off): through the root the TRUNCATE of one partition is not sent.
No column lists: the producer could not drop a listed column any more.
"""

from __future__ import annotations

import hashlib

import msgspec
import psycopg
from psycopg import errors, sql

from neural_gpu_bus.errors import ReplicationRefusedError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.identities import bad_identity
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.table_shapes import FULL, TableShape, quoted
from neural_gpu_bus.stores.postgres.replication.told import (
    LOCK_ATTEMPT_S,
    Waits,
    address_of,
    lock_holders,
)

PREFIX = "ngb_live_"
#: First with row filters; first that sends generated columns.
ROW_FILTERS_SINCE, GENERATED_SINCE = 150_000, 180_000
#: Locks that keep SHARE UPDATE EXCLUSIVE waiting (PostgreSQL manual, table 13.2).
_CONFLICTING = (
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_ALL, _GROWING = "insert, update, delete, truncate", "insert, truncate"


class PublicationNames(msgspec.Struct, frozen=True):
    """Of one home; the same ones at every start."""

    #: Of tables with all their changes.
    changes: str
    #: Of tables that only grow: their UPDATE and DELETE go on working, and are not seen.
    growing: str

    @property
    def both(self) -> tuple[str, str]:
        """For START_REPLICATION."""
        return self.changes, self.growing


class Membership(msgspec.Struct, frozen=True):
    """How a table stands in a publication."""

    publication: str
    oid: int
    #: Another one as soon as somebody took the table out and put it in again, or altered the
    #: publication: changes in between were not sent.
    token: str
    #: The row filter as the server writes it; empty for none.
    where: str
    append_only: bool
    #: What the server does not send of it, though it should.
    lacking: str = ""


def publication_names(home: str) -> PublicationNames:
    """``home``: what tells this home from all others that use the same server."""
    mark = home_mark(home)
    return PublicationNames(f"{PREFIX}{mark}", f"{PREFIX}{mark}_growing")


def home_mark(home: str) -> str:
    """Twelve hexadecimal digits that stand for a home in names on the server."""
    return hashlib.blake2b(home.encode(), digest_size=6).hexdigest()


_MEMBERS_SQL = """
SELECT p.pubname::text, r.prrelid::int8,
  concat_ws('.', p.oid, p.xmin, r.oid, r.xmin), {where},
  p.pubinsert AND p.pubtruncate, p.pubupdate AND p.pubdelete, p.pubviaroot,
  {columns}, {generated}
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
WHERE p.pubname = ANY(%s)
"""


_NAME_SQL = b"""
SELECT n.nspname::text, c.relname::text FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::oid
"""


def memberships(connection: psycopg.Connection, names: PublicationNames) -> dict[int, Membership]:
    """The tables of a home's publications, by OID; a publication that is gone has none."""
    version = connection.info.server_version
    filtered = version >= ROW_FILTERS_SINCE
    query = _MEMBERS_SQL.format(
        where="coalesce(pg_get_expr(r.prqual, r.prrelid), '')" if filtered else "''",
        columns="r.prattrs IS NOT NULL" if filtered else "false",
        generated="p.pubgencols = 's'" if version >= GENERATED_SINCE else "true",
    )
    with translated(address_of(connection)):
        rows = connection.execute(query.encode(), (list(names.both),)).fetchall()
    found: dict[int, Membership] = {}
    for name, oid, token, where, grows, changes, via_root, listed, generated in rows:
        append_only = name == names.growing
        lacking = _lacking(grows, changes or append_only, via_root, listed, generated)
        found[oid] = Membership(name, oid, token, where, append_only, lacking)
    return found


def _lacking(grows: bool, changes: bool, via_root: bool, listed: bool, generated: bool) -> str:
    if not grows or not changes:
        return "the publication leaves out kinds of changes"
    if via_root:
        return "the publication hides partitions (publish_via_partition_root)"
    if listed:
        return "the publication lists columns"
    return "" if generated else "the publication leaves out generated columns"


def create_statements(names: PublicationNames, version: int) -> dict[str, str]:
    """The statement that makes each publication, by its name."""
    more = ", publish_generated_columns = stored" if version >= GENERATED_SINCE else ""
    made = "CREATE PUBLICATION {} WITH (publish = '{}', publish_via_partition_root = false{})"
    return {
        name: made.format(sql.Identifier(name).as_string(None), kinds, more)
        for name, kinds in ((names.changes, _ALL), (names.growing, _GROWING))
    }


def ensure_publications(connection: psycopg.Connection, names: PublicationNames) -> None:
    """Make those that are not there, without tables. Raises QueryError (42501) where the role may
    not (``preflight`` says it before, with what to run).
    """
    with translated(address_of(connection)):
        for name, statement in create_statements(names, connection.info.server_version).items():
            there = connection.execute(
                "SELECT FROM pg_publication WHERE pubname = %s", (name,)
            ).rowcount
            if not there:
                try:
                    connection.execute(statement.encode())
                except errors.DuplicateObject:
                    continue


def add_statement(publication: str, shape: TableShape, where: str | None) -> str:
    """The statement that adds a table."""
    filtered = f" WHERE ({where}\n)" if where else ""
    only = "" if shape.partitioned else "ONLY "
    name = sql.Identifier(publication).as_string(None)
    return f"ALTER PUBLICATION {name} ADD TABLE {only}{shape.quoted}{filtered}"


def add_table(
    connection: psycopg.Connection,
    names: PublicationNames,
    shape: TableShape,
    *,
    where: str | None = None,
    append_only: bool = False,
    waits: Waits | None = None,
) -> Membership:
    """Put the table into its publication; nothing where it stands there as it should. What stands
    there otherwise is put in anew: its token is another one then.

    Writers go on meanwhile (SHARE UPDATE EXCLUSIVE); VACUUM, ANALYZE and ALTER TABLE of the same
    table are waited for. Raises ReplicationRefusedError where the producer's UPDATE or DELETE would
    begin to fail, and for a ``where`` that cannot be; QueryTimeoutError at ``waits``' limit.
    """
    name = names.growing if append_only else names.changes
    waits = waits or Waits()
    rounds = waits.rounds(f"a lock on {shape}")
    with translated(address_of(connection)):
        while True:
            try:
                return _add(connection, names, name, shape, where)
            except errors.LockNotAvailable:
                rounds.next(lock_holders(connection, [shape.oid], _CONFLICTING), pause=False)


def _add(
    connection: psycopg.Connection,
    names: PublicationNames,
    name: str,
    shape: TableShape,
    where: str | None,
) -> Membership:
    there = memberships(connection, names).get(shape.oid)
    if there is not None and not where and _stands(there) == (name, "", ""):
        return there
    with connection.transaction() as transaction:
        connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_ATTEMPT_S * 1000)}".encode())
        there = memberships(connection, names).get(shape.oid)
        if there is not None:
            _remove(connection, there.publication, shape.quoted)
        connection.execute(add_statement(name, shape, where).encode())
        made = memberships(connection, names)[shape.oid]
        if there is not None and _stands(there) == _stands(made):
            # As the server writes its filter, it stood there already: the old one stays.
            made = there
            raise psycopg.Rollback(transaction)
        _check_identity(connection, made, shape)
    return made


def _stands(there: Membership) -> tuple[str, str, str]:
    return there.publication, there.where, there.lacking


_FILTER_COLUMNS_SQL = b"""
SELECT a.attname::text FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_depend d ON d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.prrelid AND d.refobjsubid > 0
JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = d.refobjsubid
WHERE p.pubname = %s AND r.prrelid = %s::oid ORDER BY a.attnum
"""


def _check_identity(connection: psycopg.Connection, made: Membership, shape: TableShape) -> None:
    """Under the lock, before anybody sees the publication: what was looked at cannot change."""
    now = read_shape(connection, shape.oid)
    if made.append_only:
        return
    bad = bad_identity(now)
    if bad is not None:
        raise refused_identity(now, bad.what, bad.ways)
    if not made.where or now.identity == FULL:
        return
    used = connection.execute(_FILTER_COLUMNS_SQL, (made.publication, now.oid)).fetchall()
    foreign = [column for (column,) in used if column not in now.identity_columns]
    if foreign:
        raise refused_identity(
            now,
            f"where= uses column {foreign[0]!r}, which is not in its replica identity "
            f"({', '.join(now.identity_columns)}): UPDATE and DELETE would fail",
            (f"ALTER TABLE {now.quoted} REPLICA IDENTITY FULL;",),
        )


def refused_identity(
    shape: TableShape, what: str, ways: tuple[str, ...]
) -> ReplicationRefusedError:
    """The error for a table whose updates cannot be published, with the ways out."""
    ways_out = " or ".join(ways)
    return ReplicationRefusedError(
        f"table {shape} cannot be live with its updates: {what}",
        hint=f"run {ways_out} Or give append_only=True if its rows are never updated or deleted",
        missing=((what, ways[0]),) if ways else (),
    )


def drop_table(connection: psycopg.Connection, names: PublicationNames, oid: int) -> None:
    """Take the table out; nothing where it, or the publication, is gone already."""
    with translated(address_of(connection)):
        there = memberships(connection, names).get(oid)
        found = connection.execute(_NAME_SQL, (oid,)).fetchone()
        if there is None or found is None:
            return
        try:
            _remove(connection, there.publication, quoted(*found))
        except (errors.UndefinedObject, errors.UndefinedTable):
            return


def drop_publications(connection: psycopg.Connection, names: PublicationNames) -> None:
    """Both, with what is in them."""
    with translated(address_of(connection)):
        for name in names.both:
            connection.execute(
                sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name))
            )


def _remove(connection: psycopg.Connection, publication: str, table: str) -> None:
    statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(
        sql.Identifier(publication), sql.SQL(table)
    )
    connection.execute(statement)
