"""The moment a table is copied from: which transactions it has, and from where none is missing.

After a table was added to a publication, transactions that had begun to write before may still
commit, and the stream has their earlier changes not at all: they must end first. Then a snapshot
is taken; the stream's transactions that it sees are left out, by their number. Positions in the
WAL cannot tell: a commit is written there before others see it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import msgspec
import psycopg
from psycopg import errors, sql

from neural_gpu_bus.errors import ServerError
from neural_gpu_bus.stores.postgres.connections.connection import connect, translated
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.replication.publications import (
    Membership,
    PublicationNames,
    membership_of,
    memberships,
)
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.table_shapes import TableShape
from neural_gpu_bus.stores.postgres.replication.told import (
    LOCK_ATTEMPT_S,
    WaitedFor,
    Waits,
    address_of,
    lock_holders,
    prepared,
    sessions,
)
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

CONNECT_S_MAX = 10.0
WITHOUT_WAITING = Waits()

_BURN_SQL = b"SELECT pg_current_xact_id()::text::int8"
_RUNNING_SQL = b"SELECT pg_current_snapshot()::text"
#: Who runs them. Those of other databases cannot have written into this one's tables; the slot
#: waits for them all the same, this does not.
_WRITERS_SQL = b"""
SELECT a.pid, a.backend_xid::text::int8, a.datid IS NOT DISTINCT FROM d.oid
FROM pg_stat_activity a, pg_database d
WHERE d.datname = current_database() AND a.backend_xid IS NOT NULL
"""
_PREPARED_SQL = b"""
SELECT transaction::text::int8, database = current_database() FROM pg_prepared_xacts
"""
_TAKE_SQL = b"""
SELECT pg_current_snapshot()::text, pg_export_snapshot(), pg_postmaster_start_time()::text,
  pg_current_xact_id_if_assigned() IS NULL
"""
_BOUND_SQL = b"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
_LIMITS = (
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
)
#: What keeps a reader waiting.
_CONFLICTING = ("AccessExclusiveLock",)
_XID32 = 1 << 32


class SnapshotMoment(msgspec.Struct, frozen=True):
    """What a copy reads, and how to go on from it."""

    #: For ``reader.table(..., snapshot=...)`` and SET TRANSACTION SNAPSHOT in other sessions.
    snapshot: Snapshot
    #: Transactions that the copy has.
    visible: VisibleTransactions
    #: The table as the snapshot has it; it cannot be altered while the moment is held.
    shape: TableShape
    #: WAL position after the snapshot was taken: no transaction with a commit behind it is seen.
    bound_lsn: int
    #: Moment just before it was taken, nanoseconds since 1970.
    taken_ns: int
    #: How the table stood in the publication; None where it did not.
    membership: Membership | None = None

    @property
    def snapshot_id(self) -> str:
        """As the server knows it."""
        return self.snapshot.id


@contextmanager
def snapshot_moment(
    dsn: str,
    table: str,
    names: PublicationNames,
    waits: Waits = WITHOUT_WAITING,
    *,
    settled: str = "",
) -> Iterator[SnapshotMoment]:
    """Wait until what ran before has ended, then take and export a snapshot for the body.

    ``settled``: token of the membership with which an earlier moment of the same stream was taken;
    while it is still the same, all changes of running transactions come, and none is waited for.

    The table must be in the publication already, by a transaction that has committed. It is held
    with the lock of a SELECT (ACCESS SHARE), so that it is not rewritten under the copy; VACUUM
    keeps what the snapshot sees, both until the body ends. Raises QueryTimeoutError after
    ``waits.limit_s``, ClosedError where ``waits.ended``, QueryError where the table is gone.
    """
    with (
        closing(connect(dsn, timeout_s=CONNECT_S_MAX)) as connection,
        moment_on(connection, table, names, waits, settled=settled) as moment,
    ):
        yield moment


@contextmanager
def moment_on(
    connection: psycopg.Connection,
    table: str,
    names: PublicationNames,
    waits: Waits = WITHOUT_WAITING,
    *,
    settled: str = "",
    known: TableShape | None = None,
) -> Iterator[SnapshotMoment]:
    """The same on a connection at hand, whose limits are lifted and stay so. ``known``: the table
    as it was seen last, which need not be asked for before it is locked.
    """
    try:
        with translated(address_of(connection)):
            _without_limits(connection)
            if not settled or _token(connection, table, names) != settled:
                wait_for_writers(connection, waits)
            moment = _held(connection, table, names, waits, known)
        yield moment
    finally:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def _token(connection: psycopg.Connection, table: str, names: PublicationNames) -> str:
    found = membership_of(memberships(connection, names), read_shape(connection, table))
    return found.token if found else ""


def wait_for_writers(connection: psycopg.Connection, waits: Waits) -> None:
    """Return once every transaction of this database that has written and runs now has ended."""
    # A number of our own: a snapshot does not name those that run and are newer than any that has
    # ended, so without it the newest writer would not be waited for.
    (newest,) = _one(connection, _BURN_SQL)
    running = _look(connection).running
    left = {one for one in running if one < newest} - _elsewhere(connection, running)
    rounds = waits.rounds("the end of transactions that began to write before the table was added")
    while left:
        left &= _look(connection).running
        left -= _elsewhere(connection, left)
        if left:
            rounds.next(_who(connection, left))


def _look(connection: psycopg.Connection) -> VisibleTransactions:
    return VisibleTransactions.parse(_one(connection, _RUNNING_SQL)[0])


def _elsewhere(connection: psycopg.Connection, running: Collection[int]) -> set[int]:
    """Those in other databases."""
    rows = connection.execute(_WRITERS_SQL).fetchall()
    found = {xid for _, xid, ours in rows if not ours}
    found |= {xid for xid, ours in connection.execute(_PREPARED_SQL) if not ours}
    return {one for one in running if one % _XID32 in found}


def _who(connection: psycopg.Connection, left: set[int]) -> tuple[WaitedFor, ...]:
    lower = {one % _XID32 for one in left}
    rows = connection.execute(_WRITERS_SQL).fetchall()
    found = sessions(connection, [pid for pid, xid, _ in rows if xid in lower])
    return found + prepared(connection, [str(one) for one in lower])


def _without_limits(connection: psycopg.Connection) -> None:
    """A role's or a database's own limits would end the session in the middle of a copy."""
    version = connection.info.server_version
    names = (*_LIMITS, *(("transaction_timeout",) if version >= 170_000 else ()))
    settings = ", ".join(f"set_config('{name}', '0', false)" for name in names)
    connection.execute(f"SELECT {settings}".encode())


def _held(
    connection: psycopg.Connection,
    table: str,
    names: PublicationNames,
    waits: Waits,
    known: TableShape | None,
) -> SnapshotMoment:
    """The moment of the table that was locked; another may have got its name meanwhile."""
    while True:
        locked = _begin_locked(connection, table, waits, known)
        moment = _take(connection, table, names)
        if moment.shape.oid == locked:
            return moment
        connection.execute("ROLLBACK")
        known = None


def _begin_locked(
    connection: psycopg.Connection, table: str, waits: Waits, known: TableShape | None
) -> int:
    """Begin the transaction that holds the table, and say its OID. LOCK takes no snapshot, so what
    comes next sees the table as it stands under the lock.
    """
    rounds = waits.rounds(f"a lock on {table}")
    attempt_ms = int(LOCK_ATTEMPT_S * 1000)
    while True:
        shape, known = known or read_shape(connection, table), None
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            connection.execute(f"SET LOCAL lock_timeout = {attempt_ms}".encode())
            connection.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(shape.identifier)
            )
            connection.execute("SET LOCAL lock_timeout = 0")
            return shape.oid
        except errors.LockNotAvailable:
            connection.execute("ROLLBACK")
            rounds.next(
                lock_holders(connection, (shape.oid, *shape.leaves), _CONFLICTING), pause=False
            )


def _take(connection: psycopg.Connection, table: str, names: PublicationNames) -> SnapshotMoment:
    taken_ns = time.time_ns()
    visible, snapshot, server, has_no_xid = _one(connection, _TAKE_SQL)
    if not has_no_xid:
        raise ServerError(
            "the snapshot's transaction has a number of its own",
            hint="this is a bug of neural-gpu-bus: please report it",
        )
    shape = read_shape(connection, table)
    membership = membership_of(memberships(connection, names), shape)
    return SnapshotMoment(
        Snapshot(snapshot, taken_ns, server),
        VisibleTransactions.parse(visible),
        shape,
        # After the snapshot, on another statement: a commit that it sees is before it.
        _one(connection, _BOUND_SQL)[0],
        taken_ns,
        membership,
    )


def _one(connection: psycopg.Connection, query: bytes) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    return row
