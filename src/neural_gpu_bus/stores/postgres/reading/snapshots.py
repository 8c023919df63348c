"""One moment of the database that several reads share, kept open by a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType

import psycopg

from neural_gpu_bus.errors import BadParameterError, NeuralGpuBusError, QueryError
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession

#: Statements of our own take microseconds; a server that takes longer than this is stuck.
ANSWER_S_MAX = 30.0
#: An open snapshot keeps VACUUM from removing rows; the server ends one that was forgotten.
HOLD_S_MAX = 3600.0
_HOLD_S_MOST = 86_400.0

#: What the server says of a snapshot that is not there (22023 before 18, 42704 since).
_GONE = frozenset({"22023", "42704"})

EXPORT = b"SELECT pg_export_snapshot(), pg_postmaster_start_time()"
#: Ids count from one in every server: a session of another one may know the same.
SERVER = b"SELECT pg_postmaster_start_time()"


@dataclass(frozen=True)
class Snapshot:
    """A moment of the database; reads that are given it see all tables as of then."""

    #: As the server knows it, for ``SET TRANSACTION SNAPSHOT`` in any session of that database.
    id: str
    #: Moment just before it was taken, nanoseconds since 1970.
    taken_ns: int
    #: When the server that has it was started, in its own words; empty where not known.
    server: str = field(default="", repr=False)

    def __str__(self) -> str:
        taken = datetime.fromtimestamp(self.taken_ns / 1e9, UTC)
        return f"snapshot {self.id}, taken {taken:%Y-%m-%d %H:%M:%S} UTC"


class SnapshotBlock(AbstractContextManager[Snapshot]):
    """What ``with`` takes: the snapshot is there inside of it alone."""

    def __init__(self, taken: AbstractContextManager[Snapshot]) -> None:
        self._taken = taken

    def __enter__(self) -> Snapshot:
        return self._taken.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._taken.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return "a snapshot to be taken: use `with plane.snapshot() as s:`"


def exported(pool: Pool, address: str, hold_s: float = HOLD_S_MAX) -> SnapshotBlock:
    """A snapshot for the body. It ends with the body, or when nothing was done with its own
    connection for ``hold_s``: that connection is closed then.

    Raises BadParameterError where the pool has no second connection to read with.
    """
    return SnapshotBlock(_exported(pool, address, hold_s))


@contextmanager
def _exported(pool: Pool, address: str, hold_s: float) -> Iterator[Snapshot]:
    if not 0 < hold_s <= _HOLD_S_MOST:
        raise BadParameterError(
            f"hold_s is {hold_s:g}",
            hint=f"give a time above 0, and {_HOLD_S_MOST:g} at most",
            parameter="hold_s",
        )
    if pool.statistics().connections_max < 2:
        raise BadParameterError(
            "a snapshot keeps a connection, and there is only one",
            hint="raise NGB_POSTGRES_CONNECTIONS_MAX",
            parameter="snapshot",
        )
    with pool.lend() as connection:
        session = LibpqSession(connection, address, Deadline(ANSWER_S_MAX, address))
        try:
            yield _export(session, hold_s)
        finally:
            _end(connection, address)


def _export(session: LibpqSession, hold_s: float) -> Snapshot:
    held = b"SET LOCAL idle_in_transaction_session_timeout = %d; " % int(hold_s * 1000)
    taken_ns = time.time_ns()
    begin = transactions.begin_export(limit_ms=int(ANSWER_S_MAX * 1000), settings=held)
    [(snapshot, server)] = session.run(begin + EXPORT)
    return Snapshot(snapshot or "", taken_ns, server or "")


def _end(connection: psycopg.Connection, address: str) -> None:
    """Give the connection back clean, or closed where it broke meanwhile."""
    try:
        LibpqSession(connection, address, Deadline(ANSWER_S_MAX, address)).run(transactions.END)
    except NeuralGpuBusError:
        connection.close()


def snapshot_id(snapshot: Snapshot | str | None) -> str | None:
    """Its id, checked. Raises BadParameterError."""
    if snapshot is None:
        return None
    return transactions.checked_snapshot(
        snapshot.id if isinstance(snapshot, Snapshot) else snapshot
    )


def gone(error: QueryError, snapshot: Snapshot | str | None) -> QueryError:
    """The same error, saying so where the server did not know the snapshot."""
    identity = snapshot_id(snapshot)
    if identity is None or error.facts.get("sqlstate") not in _GONE or "snapshot" not in error.what:
        return error
    return QueryError(
        f"snapshot {identity} is gone: {error.what}",
        hint="read inside of `with plane.snapshot() as s:`; it ends with the block, when its "
        "connection is lost, or after hold_s; ids are good in their own database alone",
        **error.facts,
    )
