"""Waiting for other sessions, and telling who they are: nothing here hangs without a word."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import psycopg

from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.errors import ClosedError, QueryTimeoutError

#: How much of another session's statement is shown.
QUERY_CHARACTERS_MAX = 80
#: A lock is asked for again after this: in between the wait is told, and can be ended.
LOCK_ATTEMPT_S = 1.0
_POLL_S_FIRST, _POLL_S_MAX = 0.01, 0.5


class WaitedFor(msgspec.Struct, frozen=True):
    """A session that something waits for; ``pid`` 0: a prepared transaction, without a session."""

    pid: int
    application: str
    #: Of its transaction; None where the role may not see it.
    age_s: float | None
    #: Its last statement's beginning, or the name of the prepared transaction; empty where the
    #: role may not see it.
    query: str
    state: str = ""

    def __str__(self) -> str:
        age = "" if self.age_s is None else f"{self.age_s:.0f} s old"
        if not self.pid:
            return f"prepared transaction {self.query!r} ({age})"
        about = ", ".join(part for part in (self.application, self.state, age) if part)
        said = f": {self.query}" if self.query else ""
        return f"transaction of pid {self.pid} ({about or 'not ours to see'}{said})"


#: Is told what is waited for, again and again while it lasts.
Told = Callable[[str], None]


def tell_nobody(_words: str) -> None:
    """For who does not want to know."""


def never() -> bool:
    """Nobody ends the wait."""
    return False


class Waits(msgspec.Struct, frozen=True):
    """How long to wait for others, who is told, and who may end it."""

    told: Told = tell_nobody
    #: True: give up with ClosedError.
    ended: Callable[[], bool] = never
    limit_s: float = 3600.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def rounds(self, what: str) -> Rounds:
        """For a loop that waits: each round tells, sleeps and looks at the limit."""
        return Rounds(self, what)


class Rounds:
    """One wait. ``what``: for the error, "the end of older transactions"."""

    def __init__(self, waits: Waits, what: str) -> None:
        self._waits, self._what = waits, what
        self._started_s = waits.clock()
        self._pause_s = _POLL_S_FIRST

    def next(self, others: tuple[WaitedFor, ...], *, pause: bool = True) -> None:
        """Tell who is waited for, and sleep a little (unless something else took its time).

        Raises QueryTimeoutError at the limit, ClosedError where the wait was ended.
        """
        waits = self._waits
        waited_s = waits.clock() - self._started_s
        words = in_words(self._what, others)
        if waits.ended():
            raise ClosedError(f"gave up {words}", hint="the service is being stopped")
        if waited_s >= waits.limit_s:
            raise QueryTimeoutError(
                f"gave up after {waits.limit_s:g} s {words}",
                hint="end those transactions (COMMIT, ROLLBACK, or pg_terminate_backend of the "
                "pid), or wait longer",
                timeout_s=waits.limit_s,
                sqlstate=None,
            )
        waits.told(words)
        if pause:
            waits.sleep(min(self._pause_s, max(0.0, waits.limit_s - waited_s)))
            self._pause_s = min(self._pause_s * 2, _POLL_S_MAX)


def in_words(what: str, others: tuple[WaitedFor, ...]) -> str:
    """``waiting for transaction of pid 17 (...) and 2 more, for the end of ...``."""
    if not others:
        return f"waiting for {what}"
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"waiting for {others[0]}{more}, for {what}"


_SESSIONS_SQL = b"""
SELECT a.pid, coalesce(a.application_name, ''),
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
  CASE WHEN pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_read_all_stats', 'USAGE')
       THEN coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), %s), '') ELSE '' END,
  coalesce(a.state, '')
FROM pg_stat_activity a WHERE a.pid = ANY(%s) ORDER BY a.xact_start NULLS LAST
"""

_PREPARED_SQL = b"""
SELECT 0, '', extract(epoch FROM clock_timestamp() - prepared)::float8, left(gid, %s), 'prepared'
FROM pg_prepared_xacts p WHERE p.transaction::text = ANY(%s) ORDER BY prepared
"""

_BLOCKING_SQL = b"SELECT DISTINCT unnest(pg_blocking_pids(%s))"

#: Prepared transactions that one waits for: pg_blocking_pids has no more than a zero for them.
_AWAITED_XIDS_SQL = b"""
SELECT transactionid::text FROM pg_locks
WHERE pid = %s AND NOT granted AND transactionid IS NOT NULL
"""


def sessions(connection: psycopg.Connection, pids: list[int]) -> tuple[WaitedFor, ...]:
    """These sessions, that of the oldest transaction first."""
    rows = connection.execute(_SESSIONS_SQL, (QUERY_CHARACTERS_MAX, pids)).fetchall()
    return tuple(WaitedFor(*row) for row in rows)


def prepared(connection: psycopg.Connection, xids: list[str]) -> tuple[WaitedFor, ...]:
    """Prepared transactions of these 32-bit numbers."""
    rows = connection.execute(_PREPARED_SQL, (QUERY_CHARACTERS_MAX, xids)).fetchall()
    return tuple(WaitedFor(*row) for row in rows)


def blocking(connection: psycopg.Connection, pid: int) -> tuple[WaitedFor, ...]:
    """Whom the session with that pid waits for; empty while it does not wait for a lock."""
    pids = [one for (one,) in connection.execute(_BLOCKING_SQL, (pid,)).fetchall()]
    found = sessions(connection, [one for one in pids if one])
    if 0 in pids:
        xids = [xid for (xid,) in connection.execute(_AWAITED_XIDS_SQL, (pid,)).fetchall()]
        found += prepared(connection, xids)
    return found


_HOLDERS_SQL = b"""
SELECT DISTINCT l.pid FROM pg_locks l
WHERE l.locktype = 'relation' AND l.relation = ANY(%s::oid[]) AND l.mode = ANY(%s)
  AND l.pid <> pg_backend_pid()
"""


def lock_holders(
    connection: psycopg.Connection, oids: Sequence[int], modes: Sequence[str]
) -> tuple[WaitedFor, ...]:
    """Sessions that hold, or wait for, one of these locks on one of these tables."""
    rows = connection.execute(_HOLDERS_SQL, (list(oids), list(modes))).fetchall()
    return sessions(connection, [pid for (pid,) in rows])


def address_of(connection: psycopg.Connection) -> str:
    """Where it goes, to show."""
    return postgres_address(connection.info.dsn)
