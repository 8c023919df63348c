"""Publications of a home: one for tables with their updates, one for tables that only grow.

Tables are published as they are stored, partitions under their own OIDs
(``publish_via_partition_root`` off): through the root the TRUNCATE of one partition is not sent.
No column lists: the producer could not drop a listed column any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import msgspec
import psycopg
from psycopg import errors, sql

from neural_gpu_bus.errors import BadParameterError, ReplicationRefusedError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.identities import bad_identity
from neural_gpu_bus.stores.postgres.replication.identity_ways import WaysOut, ways_out
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
#: Whoever takes a table out follows others meanwhile, and tries again where its lock is taken.
_BRIEFLY = b"SET LOCAL lock_timeout = 100"
#: Classes of refusals that a filter may be the reason of (PostgreSQL manual, appendix A).
_FILTER_REFUSALS = ("0A", "22", "42")
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


_ROOTS_SQL = b"""
SELECT c.oid::int8, coalesce(pg_partition_root(c.oid), 0)::oid::int8, n.nspname::text,
  c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::oid[])
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
        lacking = _lacking(
            (not grows or (not changes and not append_only), "leaves out kinds of changes"),
            (via_root, "hides partitions (publish_via_partition_root)"),
            (listed, "lists columns"),
            (not generated, "leaves out generated columns"),
            (oid in found, "is not the only one of this home that has the table"),
        )
        found[oid] = Membership(name, oid, token, where, append_only, lacking)
    return found


def _lacking(*faults: tuple[bool, str]) -> str:
    return next((f"the publication {what}" for is_so, what in faults if is_so), "")


def membership_of(members: Mapping[int, Membership], shape: TableShape) -> Membership | None:
    """How the table stands among ``memberships``. With a row filter, leaves of a partitioned one
    stand there as well, each with it; the root itself has none.
    """
    root = members.get(shape.oid)
    there = [found for oid in shape.leaves if (found := members.get(oid)) is not None]
    # One without a filter is a live table of its own.
    leaves = [one for one in there if one.where]
    if root is None or not leaves:
        return root
    filters = {one.where for one in leaves}
    whole = len(leaves) == len(shape.leaves) and len(filters) == 1
    lacking = root.lacking or next((one.lacking for one in leaves if one.lacking), "")
    return msgspec.structs.replace(
        root,
        token=",".join([root.token, *(one.token for one in leaves)]),
        where=leaves[0].where,
        lacking=lacking or ("" if whole else "not all partitions have the row filter"),
    )


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
    """The statement that adds a table. A partitioned one can have no filter, each leaf can; the
    root stands there too, so that rows of a partition that is new are not missed.
    """
    only = "" if shape.partitioned else "ONLY "
    entries = [f"{only}{shape.quoted}"]
    # On a line of its own, so that a comment in it ends.
    filtered = f" WHERE ({where}\n)" if where else ""
    if filtered and shape.partitioned:
        leaves = (quoted(leaf.schema, leaf.name) for leaf in shape.holding_rows())
        entries += [f"ONLY {leaf}{filtered}" for leaf in leaves]
    elif filtered:
        entries[0] += filtered
    return f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {', '.join(entries)}"


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
    fail (it is taken out then, where it stood), BadParameterError for a ``where`` that cannot be,
    QueryTimeoutError at ``waits``' limit, QueryError where the role may not.
    """
    name = names.growing if append_only else names.changes
    waits = waits or Waits()
    rounds = waits.rounds(f"a lock on {shape}")
    if where and connection.info.server_version < ROW_FILTERS_SINCE:
        raise bad_filter(where, "row filters came with PostgreSQL 15")
    with translated(address_of(connection)):
        while True:
            try:
                return _add(connection, names, name, shape, where)
            except errors.LockNotAvailable:
                rounds.next(lock_holders(connection, [shape.oid], _CONFLICTING), pause=False)
            except ReplicationRefusedError:
                drop_table(connection, names, shape.oid)
                raise


def _add(
    connection: psycopg.Connection,
    names: PublicationNames,
    name: str,
    shape: TableShape,
    where: str | None,
) -> Membership:
    there = membership_of(memberships(connection, names), shape)
    if there is not None and not where and _stands(there) == (name, "", ""):
        _check_identity(connection, there, shape)
        return there
    with connection.transaction() as transaction:
        connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_ATTEMPT_S * 1000)}".encode())
        members = memberships(connection, names)
        there = membership_of(members, shape)
        _take_out(connection, members, shape)
        _put_in(connection, name, shape, where)
        made = membership_of(memberships(connection, names), shape)
        assert made is not None  # noqa: S101  (it was put in)
        _check_identity(connection, made, shape)
        if there is not None and _stands(there) == _stands(made):
            # As the server writes its filter, it stood there already: the old one stays.
            made = there
            raise psycopg.Rollback(transaction)
    return made


def _stands(there: Membership) -> tuple[str, str, str]:
    return there.publication, there.where, there.lacking


def _put_in(
    connection: psycopg.Connection, name: str, shape: TableShape, where: str | None
) -> None:
    try:
        connection.execute(add_statement(name, shape, where).encode())
    except psycopg.Error as error:
        if not where or (error.sqlstate or "")[:2] not in _FILTER_REFUSALS:
            raise
        if isinstance(error, errors.InsufficientPrivilege | errors.UndefinedTable):
            raise
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise bad_filter(where, f"{error.diag.message_primary}{detail}") from error


def bad_filter(where: str, why: str) -> BadParameterError:
    """The error for a row filter that the server refuses."""
    return BadParameterError(
        f"where={where!r} cannot be the filter of a publication: {why}",
        hint="it may use columns of the table and constants, with built-in operators and immutable "
        "functions: no subquery, no function or type of your own, no system column",
        parameter="where",
    )


_FILTER_COLUMNS_SQL = b"""
SELECT DISTINCT a.attname::text FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_depend d ON d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = r.prrelid AND d.refobjsubid > 0
JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = d.refobjsubid
WHERE p.pubname = %s AND r.prrelid = ANY(%s::oid[]) ORDER BY 1
"""


def _check_identity(connection: psycopg.Connection, made: Membership, shape: TableShape) -> None:
    """Under the lock, before anybody sees the publication: what was looked at cannot change."""
    now = read_shape(connection, shape.oid)
    if made.append_only:
        return
    bad = bad_identity(now)
    if bad:
        raise refused_identity(now, bad, ways_out(connection, now))
    if not made.where or now.identity == FULL:
        return
    filtered = list(now.stream_oids)
    used = connection.execute(_FILTER_COLUMNS_SQL, (made.publication, filtered)).fetchall()
    foreign = [column for (column,) in used if column not in now.identity_columns]
    if foreign:
        # Of partitioned tables new partitions would not have it.
        full = (f"ALTER TABLE {now.quoted} REPLICA IDENTITY FULL;",)
        raise refused_identity(
            now,
            f"where= uses column {foreign[0]!r}, which is not in its replica identity "
            f"({', '.join(now.identity_columns)}): UPDATE and DELETE would fail",
            WaysOut(() if now.partitioned else full, "leave it out of where="),
        )


def refused_identity(shape: TableShape, what: str, out: WaysOut) -> ReplicationRefusedError:
    """The error for a table whose updates cannot be published, with the ways out."""
    run = f"run {' or '.join(out.ways)} " if out.ways else ""
    words = f"{'Or' if run else 'It needs'} {out.words}. " if out.words else ""
    return ReplicationRefusedError(
        f"table {shape} cannot be live with its updates: {what}",
        hint=f"{run}{words}Or, if rows are never updated or deleted, give append_only=True",
        missing=((what, out.ways[0] if out.ways else ""),),
    )


def drop_table(connection: psycopg.Connection, names: PublicationNames, oid: int) -> None:
    """Take the table out, and leaves that stood there for it; nothing where it is gone already.

    Raises QueryTimeoutError where somebody has a lock on it (ALTER TABLE, VACUUM).
    """
    _drop(connection, names, lambda it: it == oid)


def drop_harmful(
    connection: psycopg.Connection, names: PublicationNames, shape: TableShape
) -> None:
    """Take a table out that was altered such that the producer's UPDATE fails while it is
    published, or that ends the stream: whoever finds a table altered comes here first.
    """
    there = memberships(connection, names).get(shape.oid)
    if there is None:
        return
    ends_stream = any(column.sending_fails for column in shape.columns)
    if ends_stream or (not there.append_only and bad_identity(shape)):
        drop_table(connection, names, shape.oid)


def drop_others(
    connection: psycopg.Connection, names: PublicationNames, wanted: Collection[int]
) -> None:
    """Take out all tables but these and their leaves: what definitions left that are gone."""
    _drop(connection, names, lambda it: it not in wanted)


def _drop(
    connection: psycopg.Connection, names: PublicationNames, goes: Callable[[int], bool]
) -> None:
    members = memberships(connection, names)
    with translated(address_of(connection)):
        rows = connection.execute(_ROOTS_SQL, (list(members),)).fetchall()
        for oid, root, schema, name in rows:
            # A leaf with a filter may stand there for its root, or be live itself.
            for_root = bool(root and members[oid].where and root in members)
            if goes(root if for_root else oid):
                with (
                    suppress(errors.UndefinedObject, errors.UndefinedTable),
                    connection.transaction(),
                ):
                    connection.execute(_BRIEFLY)
                    _remove(connection, members[oid].publication, quoted(schema, name))


def drop_publications(connection: psycopg.Connection, names: PublicationNames) -> None:
    """Both, with what is in them."""
    with translated(address_of(connection)):
        for name in names.both:
            connection.execute(
                sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name))
            )


def _take_out(
    connection: psycopg.Connection, members: Mapping[int, Membership], shape: TableShape
) -> None:
    for relation in shape.relations:
        there = members.get(relation.oid)
        if there is not None and (relation.oid == shape.oid or there.where):
            _remove(connection, there.publication, quoted(relation.schema, relation.name))


def _remove(connection: psycopg.Connection, publication: str, table: str) -> None:
    statement = f"ALTER PUBLICATION {quoted(publication)} DROP TABLE {table}"
    connection.execute(statement.encode())
