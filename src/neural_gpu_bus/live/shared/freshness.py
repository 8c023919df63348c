"""How fresh a live table is, as a record that a person can read, and why it may be stale."""

from __future__ import annotations

import math
import os
from collections import deque
from contextlib import suppress

import msgspec
import psutil

from neural_gpu_bus.live.shared.manifest import SHOWN_STATES, LiveTableState, TableState
from neural_gpu_bus.live.shared.promises import promise_of

#: Without a heartbeat for that long its process is told to be gone or stuck.
SILENT_S = 2.0
#: Without PostgreSQL's word for that long data may be stale, also where a heartbeat comes.
UNCONFIRMED_S = 5.0
#: Positions asked for that are not reached yet; there are more only where the stream hangs.
_ASKED_MAX = 1000
#: RESTART_WAIT_S_MAX of the keeper.
_ANOTHER = "the home's keeper starts one within 30 s; where none runs `ngb up` does"


class Progress(msgspec.Struct, frozen=True):
    """How far the stream has come, for all tables together. Moments by the host's clock."""

    heartbeat_ns: int
    received_lsn: int
    #: What is published is PostgreSQL's tables as of this position.
    applied_lsn: int
    committed_ns: int
    #: Whatever was committed before this moment is published; 0: nobody knows yet.
    confirmed_ns: int
    pid: int
    started_ns: int
    #: Whether its clock is ours.
    same_clock: bool


class LiveAsOf(msgspec.Struct, frozen=True):
    """Which moment of PostgreSQL a live table shows; ``stale`` says why that may not be now."""

    table: str
    state: LiveTableState
    #: It is equal to the table in PostgreSQL at this position; 0 where there is nothing to see. Of
    #: a table with triggers: all up to there is in it, and maybe more; of a polled one: 0.
    lsn: int
    #: Commit time of the newest transaction by then, since 1970; None where there was none.
    committed_ns: int | None
    #: Upper bound of its age: whatever was committed so long ago is in it. inf: nobody knows.
    lag_s: float
    #: Since the process that follows PostgreSQL was last heard of. inf: never.
    heartbeat_s: float
    #: Why it may be stale; empty where it is as fresh as can be.
    stale: str = ""
    #: What holds of it less than of one that follows the stream, in words; empty for nothing.
    promise: str = ""

    @property
    def is_stale(self) -> bool:
        """Whether it may miss what was committed long ago."""
        return bool(self.stale)


def as_of(table: TableState, progress: Progress, now_ns: int) -> LiveAsOf:
    """Of one table at a moment of the host's clock."""
    is_live = table.state == "live"
    confirmed_ns = progress.confirmed_ns if is_live else table.confirmed_ns
    committed_ns = progress.committed_ns if is_live else table.committed_ns
    return LiveAsOf(
        table=table.name,
        state=table.state,
        lsn=progress.applied_lsn if is_live else table.lsn,
        committed_ns=committed_ns or None,
        lag_s=age_s(confirmed_ns, progress, now_ns),
        heartbeat_s=age_s(progress.heartbeat_ns, progress, now_ns),
        stale=why_stale(table, progress, now_ns),
        promise=promise_of(table.how, table.looked_s),
    )


def age_s(moment_ns: int, progress: Progress, now_ns: int) -> float:
    """inf where it is not known: no moment, one of another clock, or one that is yet to come."""
    if not moment_ns or not progress.same_clock or moment_ns > now_ns:
        return math.inf
    return (now_ns - moment_ns) / 1e9


def why_stale(table: TableState, progress: Progress, now_ns: int) -> str:
    """In words; empty where nothing speaks for it."""
    if table.state not in SHOWN_STATES:
        told = f"it is {table.state}" + (f": {table.detail}" if table.detail else "")
        return told + next_attempt(table, progress, now_ns)
    silent_s = age_s(progress.heartbeat_ns, progress, now_ns)
    if silent_s > SILENT_S:
        return why_silent(progress, silent_s)
    confirmed_ns = progress.confirmed_ns if table.state == "live" else table.confirmed_ns
    lag_s = age_s(confirmed_ns, progress, now_ns)
    if lag_s > UNCONFIRMED_S + table.poll_s:
        since = "yet" if math.isinf(lag_s) else f"for {lag_s:.1f} s"
        return f"PostgreSQL has not confirmed {since} that nothing is missing"
    return ""


def next_attempt(table: TableState, progress: Progress, now_ns: int) -> str:
    """When what failed is tried again, behind why it did; empty where nothing is to be tried, or
    by nobody.
    """
    silent_s = age_s(progress.heartbeat_ns, progress, now_ns)
    if not is_told_by_one_alive(progress):
        return f"; {why_silent(progress, silent_s)}"
    if not table.retry_ns or not progress.same_clock:
        return ""
    left_s = (table.retry_ns - now_ns) / 1e9
    return f"; tried again in {left_s:.1f} s" if left_s > 0 else "; it is being tried again"


def is_told_by_one_alive(progress: Progress) -> bool:
    """Whether whoever told it still runs, as far as is known."""
    return not progress.same_clock or bool(
        progress.pid and is_alive(progress.pid, progress.started_ns)
    )


def why_silent(progress: Progress, silent_s: float) -> str:
    """Of the process that follows PostgreSQL."""
    if not progress.pid:
        return f"no process follows PostgreSQL: {_ANOTHER}"
    if not progress.same_clock:
        return f"process {progress.pid}, which follows PostgreSQL, has another clock than this one"
    if not is_alive(progress.pid, progress.started_ns):
        return f"process {progress.pid}, which followed PostgreSQL, has ended: {_ANOTHER}"
    since = "" if math.isinf(silent_s) else f" for {silent_s:.1f} s"
    return f"process {progress.pid}, which follows PostgreSQL, has not been heard of{since}"


def is_alive(pid: int, started_ns: int) -> bool:
    """Whether that very process runs: its number may be another's by now."""
    with suppress(psutil.Error):
        return abs(psutil.Process(pid).create_time() - started_ns / 1e9) < 1.0
    return False


def own_start_ns() -> int:
    """When this process began, since 1970."""
    return int(psutil.Process(os.getpid()).create_time() * 1e9)


class AskedPositions:
    """How it becomes known that nothing is missing, for ``LiveState.confirmed``.

    PostgreSQL is asked now and then how far its WAL goes (``pg_current_wal_insert_lsn()``). A
    commit is visible to others only after its record is in the WAL. So once everything up to that
    position is published, whatever was committed before the question was sent is published.
    """

    def __init__(self) -> None:
        self._asked: deque[tuple[int, int]] = deque()
        self._confirmed_ns = 0

    def asked(self, at_ns: int, lsn: int) -> None:
        """The answer to a question that was sent at that moment of the host's clock."""
        if len(self._asked) < _ASKED_MAX:  # the oldest stay: they are reached first
            self._asked.append((lsn, at_ns))

    def confirmed_by(self, applied_lsn: int) -> int:
        """Moment up to which nothing is missing, once that position is published; 0: not known."""
        while self._asked and end_of_record(self._asked[0][0]) <= applied_lsn:
            self._confirmed_ns = self._asked.popleft()[1]
        return self._confirmed_ns

    def forget(self) -> None:
        """Another server, or another timeline: positions mean something else."""
        self._asked.clear()
        self._confirmed_ns = 0


#: Bytes of a page of WAL, and of the head of each but a segment's first (XLogPageHeaderData).
_PAGE_BYTES, _PAGE_HEAD_BYTES = 8192, 24


def end_of_record(lsn: int) -> int:
    """Where the record before that position ends.

    ``pg_current_wal_insert_lsn()`` tells where the next one would begin: behind a page's head,
    where the last one ended with the page before. No record ever ends there, so an idle server
    would let whoever waits for it wait for ever.
    """
    return lsn - _PAGE_HEAD_BYTES if lsn % _PAGE_BYTES == _PAGE_HEAD_BYTES else lsn
