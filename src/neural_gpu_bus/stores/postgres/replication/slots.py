"""Replication slots of a home: their names, what they hold back, who waits and who holds them."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import errors

from neural_gpu_bus.errors import NeuralGpuBusError, ReplicationRefusedError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.replication.publications import PREFIX, home_mark
from neural_gpu_bus.stores.postgres.replication.told import (
    Waits,
    address_of,
    blocking,
    sessions,
)

#: How often who creates a slot is told what he waits for.
TELL_EVERY_S = 0.5
#: Of the WAL budget: from here on it is told.
ALARM_SHARE = 0.5

Verdict = Literal["fine", "alarm", "drop", "lost"]


class SlotFacts(msgspec.Struct, frozen=True):
    """One slot as the server shows it now."""

    name: str
    temporary: bool
    database: str
    #: Of the session that reads from it; 0 for none.
    active_pid: int
    #: WAL from here on is kept; 0 where the slot has none.
    restart_lsn: int
    #: The stream goes on behind this, whatever is asked for.
    confirmed_flush_lsn: int
    #: WAL that it keeps.
    retained_bytes: int
    #: reserved, extended, unreserved or lost.
    wal_status: str
    #: WAL that can still be written before the slot may be lost; None for no limit.
    safe_bytes: int | None = None
    #: Why it cannot be used any more; empty while it can.
    lost_because: str = ""
    #: Whether standbys get it (17 and newer).
    failover: bool = False
    #: On a standby: whether it came from the primary and can be used after a promotion.
    synced: bool = False


def session_name(home: str) -> str:
    """The application name of a home's own sessions: what is left of a dead one is found by it."""
    return f"{PREFIX}{home_mark(home)}"


def persistent_slot(home: str) -> str:
    """The same at every start."""
    return f"{PREFIX}{home_mark(home)}"


def temporary_slot(home: str) -> str:
    """Another one each time: one of a session that is not known to be dead yet may be there."""
    return f"{PREFIX}{home_mark(home)}_{secrets.token_hex(4)}"


_FACTS_SQL = b"""
SELECT to_jsonb(s), coalesce(pg_wal_lsn_diff(s.restart_lsn, '0/0'), 0)::int8,
  coalesce(pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0'), 0)::int8,
  greatest(0, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
    THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, s.restart_lsn), 0))::int8
FROM pg_replication_slots s WHERE s.slot_type = 'logical' AND s.slot_name ~ %s
"""


def slot_facts(connection: psycopg.Connection, name: str) -> SlotFacts | None:
    """The slot of that name; None where there is none."""
    return next(iter(_facts(connection, f"^{name}$")), None)


def slots_of(connection: psycopg.Connection, home: str) -> tuple[SlotFacts, ...]:
    """All of a home's, the persistent one and those of its temporary ones that are left."""
    return _facts(connection, f"^{persistent_slot(home)}(_[0-9a-f]+)?$")


def all_live_slots(connection: psycopg.Connection) -> tuple[SlotFacts, ...]:
    """Of all homes that follow tables of this server."""
    return _facts(connection, f"^{PREFIX}[0-9a-f]+(_[0-9a-f]+)?$")


def _facts(connection: psycopg.Connection, pattern: str) -> tuple[SlotFacts, ...]:
    with translated(address_of(connection)):
        rows = connection.execute(_FACTS_SQL, (pattern,)).fetchall()
    return tuple(_slot(*row) for row in rows)


def _slot(shown: dict[str, Any], restart: int, confirmed: int, retained: int) -> SlotFacts:
    """Columns came with versions: conflicting (16), invalidation_reason, failover, synced (17)."""
    status = shown.get("wal_status") or ("lost" if not restart else "reserved")
    because = shown.get("invalidation_reason") or ""
    if not because and shown.get("conflicting"):
        because = "conflict with recovery"
    if not because and status == "lost":
        because = "the WAL it needs was removed"
    return SlotFacts(
        name=shown["slot_name"],
        temporary=bool(shown["temporary"]),
        database=shown["database"] or "",
        active_pid=shown["active_pid"] or 0,
        restart_lsn=restart,
        confirmed_flush_lsn=confirmed,
        retained_bytes=retained,
        wal_status=status,
        safe_bytes=shown.get("safe_wal_size"),
        lost_because=because,
        failover=bool(shown.get("failover")),
        synced=bool(shown.get("synced")),
    )


def judge(facts: SlotFacts, budget_bytes: int) -> tuple[Verdict, str]:
    """What to do about a slot that may keep ``budget_bytes`` of WAL, and why in words; pure."""
    if facts.lost_because:
        return "lost", f"slot {facts.name} is lost: {facts.lost_because}"
    kept = f"slot {facts.name} keeps {_mebibytes(facts.retained_bytes)} of WAL"
    if facts.retained_bytes > budget_bytes:
        return "drop", f"{kept}, more than its budget of {_mebibytes(budget_bytes)}"
    if facts.wal_status == "unreserved":
        return "alarm", f"{kept}, which the server may remove at the next checkpoint"
    if facts.retained_bytes > budget_bytes * ALARM_SHARE:
        return "alarm", f"{kept} of its budget of {_mebibytes(budget_bytes)}"
    return "fine", kept


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


class SlotWait:
    """Says whom the session with that pid waits for while it makes a slot: a slot waits for every
    transaction of the whole server that runs when it is made. Call it again and again meanwhile
    (``StreamSession.create_slot`` does); ``connection`` is another one.

    Raises what ``Waits`` ends a wait with, once the session's statement was cancelled.
    """

    def __init__(self, connection: psycopg.Connection, pid: int, waits: Waits) -> None:
        self._connection, self._pid = connection, pid
        self._clock = waits.clock
        self._rounds = waits.rounds("the slot to be made")
        self._next_s = waits.clock() + TELL_EVERY_S

    def __call__(self) -> None:
        """Look, twice a second at most."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + TELL_EVERY_S
        connection = self._connection
        with translated(address_of(connection)):
            try:
                self._rounds.next(blocking(connection, self._pid), pause=False)
            except NeuralGpuBusError:
                # It would wait on, unseen, and take one of the server's slots.
                connection.execute("SELECT pg_cancel_backend(%s)", (self._pid,))
                raise


_HOLDER_SQL = b"""
SELECT a.application_name, a.client_addr IS NOT DISTINCT FROM o.client_addr,
  coalesce(host(a.client_addr), 'a local socket')
FROM pg_stat_activity a, pg_stat_activity o WHERE a.pid = %s AND o.pid = pg_backend_pid()
"""


def end_zombies(
    connection: psycopg.Connection, home: str, *, own_pids: tuple[int, ...], waits: Waits
) -> int:
    """End sessions that still hold a slot of this home, and say how many. The caller holds the
    home's own lock, so that whoever is left of it on this host is dead, or about to be.

    Raises ReplicationRefusedError where the holder is somebody else: another host with a copy of
    the home, or another program that reads from the slot. QueryTimeoutError where it does not end.
    """
    ended = 0
    for slot in slots_of(connection, home):
        pid = slot.active_pid
        if not pid or pid in own_pids:
            continue
        _check_ours(connection, home, slot)
        _end_session(connection, pid, waits)
        ended += 1
    return ended


def _check_ours(connection: psycopg.Connection, home: str, slot: SlotFacts) -> None:
    found = connection.execute(_HOLDER_SQL, (slot.active_pid,)).fetchone()
    if found is None:
        return
    application, same_place, place = found
    if application == session_name(home) and same_place:
        return
    raise ReplicationRefusedError(
        f"slot {slot.name} is read by pid {slot.active_pid} ({application or 'no name'}, from "
        f"{place}), which is none of ours",
        hint="stop that reader; one slot has one. If it is dead: "
        f"SELECT pg_terminate_backend({slot.active_pid});",
        missing=(),
    )


def _end_session(connection: psycopg.Connection, pid: int, waits: Waits) -> None:
    with translated(address_of(connection)):
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        rounds = waits.rounds(f"the end of the session that was left (pid {pid})")
        while _is_there(connection, pid):
            rounds.next(sessions(connection, [pid]))


def _is_there(connection: psycopg.Connection, pid: int) -> bool:
    query = b"SELECT FROM pg_stat_activity WHERE pid = %s UNION ALL SELECT FROM " + (
        b"pg_replication_slots WHERE active_pid = %s"
    )
    return connection.execute(query, (pid, pid)).rowcount > 0


def drop_slot(connection: psycopg.Connection, name: str) -> bool:
    """Drop it; False where it is gone already. Raises ServerError's kin where somebody reads from
    it (55006): ``end_zombies`` comes first.
    """
    with translated(address_of(connection)):
        try:
            connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
        except errors.UndefinedObject:
            return False
    return True
