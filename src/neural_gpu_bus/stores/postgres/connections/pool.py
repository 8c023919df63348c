"""A few connections, lent one at a time: given back clean or closed, never shared by a fork."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psycopg
import structlog

from neural_gpu_bus.descriptors import PoolStatistics
from neural_gpu_bus.errors import (
    ClosedError,
    QueryTimeoutError,
    ServerAuthenticationError,
    ServerError,
)
from neural_gpu_bus.stores.postgres.connections.pool_member import Member, PoolCounts, Turn

#: A connection older than this is replaced: a server process never gives back what it cached of
#: tables and plans.
AGE_S_MAX = 3600.0
IDLE_S_MAX = 600.0

_log = structlog.get_logger(__name__)


class Pool:
    """At most ``connections_max`` connections at once, opened when first needed. Thread-safe.

    ``open_connection`` makes one; ``wait_timeout_s`` bounds the wait for a free one. Idle ones are
    closed after ``idle_s_max`` at the next look, and replaced when older than ``age_s_max``.
    """

    def __init__(
        self,
        open_connection: Callable[[], psycopg.Connection],
        *,
        connections_max: int,
        wait_timeout_s: float,
        age_s_max: float = AGE_S_MAX,
        idle_s_max: float = IDLE_S_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_connection = open_connection
        self._connections_max = connections_max
        self._wait_timeout_s = wait_timeout_s
        self._age_s_max = age_s_max
        self._idle_s_max = idle_s_max
        self._clock = clock
        self._of_parent: list[Member] = []
        self._start()
        _pools.add(self)

    def begin_in_child(self) -> None:
        """In the child of a fork. The parent still talks on these sockets: kept, unused, so that
        nothing closes them.
        """
        self._of_parent += self._idle
        self._start()

    def _start(self) -> None:
        # Taken itself: an interrupt may come inside Condition.__enter__, when the lock is held.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        #: The last one given back is lent next, so that the first ones grow old.
        self._idle: list[Member] = []
        #: Whoever has a connection, or is getting one. Weak: a turn that an interrupt kept from
        #: being ended goes with its frame.
        self._turns: weakref.WeakSet[Turn] = weakref.WeakSet()
        self._waiting = 0
        self._closed = False
        self._counts = PoolCounts()

    # ---- lending

    def lend(self, *, wait_s: float | None = None) -> AbstractContextManager[psycopg.Connection]:
        """One connection for the body; closed afterwards if the body raised or left it busy.

        ``wait_s`` bounds the wait for a free one, by default the pool's own limit. Raises
        QueryTimeoutError when none becomes free in time, and what opening one raises.
        """
        return self._lend(self._wait_timeout_s if wait_s is None else wait_s)

    @contextmanager
    def lend_free(self, most: int) -> Iterator[Sequence[psycopg.Connection]]:
        """Up to ``most`` connections that nobody needs now, besides one that was lent already.

        Never waits: two reads that each waited for a second one would wait for each other. What
        cannot be opened is left out.
        """
        with ExitStack() as lent:
            connections: list[psycopg.Connection] = []
            while len(connections) < most:
                try:
                    connections.append(lent.enter_context(self._lend(0.0, counted=False)))
                except ServerError:
                    break
            yield connections

    @contextmanager
    def _lend(self, wait_s: float, *, counted: bool = True) -> Iterator[psycopg.Connection]:
        turn = Turn(os.getpid())
        try:
            turn.member = self._take(turn, wait_s, counted=counted)
            yield turn.member.connection
            turn.healthy = True
        finally:
            self._end_turn(turn)

    # ---- looking and closing

    def statistics(self) -> PoolStatistics:
        """The pool at this moment; of a forked child its own, from zero."""
        counts = self._counts
        with self._lock:
            return PoolStatistics(
                connections_max=self._connections_max,
                lent=len(self._turns),
                idle=len(self._idle),
                waiting=self._waiting,
                waits=counts.waits,
                wait_total_s=counts.wait_total_s,
                wait_longest_s=counts.wait_longest_s,
                opened=counts.opened,
                closed_broken=counts.closed_broken,
                closed_idle=counts.closed_idle,
                closed_old=counts.closed_old,
                retried=counts.retried,
                cancelled=counts.cancelled,
            )

    def count_cancelled(self) -> None:
        """A statement on one of its connections was cancelled."""
        self._counts.cancelled += 1

    def begin_anew(self) -> None:
        """A read lost its connection and begins again: the idle ones may have broken at the same
        moment, without a word, so the next is a new one.
        """
        self._counts.retried += 1
        self._counts.closed_broken += self._close_idle()

    def close(self) -> None:
        """Close idle connections now, and lent ones when they come back."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        self._close_idle()

    def _close_idle(self) -> int:
        """How many those were."""
        with self._lock:
            idle, self._idle = self._idle, []
        for member in idle:
            member.connection.close()
        return len(idle)

    # ---- taking

    def _take(self, turn: Turn, wait_s: float, *, counted: bool) -> Member:
        self._wait_turn(turn, wait_s, counted=counted)
        return self._idle_member() or self._new_member()

    def _wait_turn(self, turn: Turn, wait_s: float, *, counted: bool) -> None:
        with self._lock:
            waits = not self._closed and len(self._turns) >= self._connections_max
            if waits and wait_s > 0:
                started_s = self._clock()
                self._waiting += 1
                try:
                    self._changed.wait_for(
                        lambda: self._closed or len(self._turns) < self._connections_max, wait_s
                    )
                finally:
                    self._waiting -= 1
                if counted:
                    self._counts.waited(self._clock() - started_s)
            if self._closed:
                raise ClosedError("the PostgreSQL store is closed", hint="open a new plane")
            if len(self._turns) >= self._connections_max:
                raise QueryTimeoutError(
                    f"all {self._connections_max} connections to PostgreSQL were in use for "
                    f"{wait_s:g} s",
                    hint="run fewer queries at once, or raise NGB_POSTGRES_CONNECTIONS_MAX",
                    timeout_s=wait_s,
                )
            self._turns.add(turn)

    def _idle_member(self) -> Member | None:
        """One that can be used; those that cannot are closed on the way."""
        while True:
            with self._lock:
                member = self._idle.pop() if self._idle else None
            if member is None:
                return None
            if not member.is_quiet():
                self._counts.closed_broken += 1
                member.connection.close()
                continue
            return self._younger(member)

    def _younger(self, member: Member) -> Member:
        """A new one for one that is too old. The old one goes on where none can be had: its
        password may have been changed, or the server be full.
        """
        if self._clock() - member.opened_s < self._age_s_max:
            return member
        try:
            newer = self._new_member()
        except ServerError as error:
            _log.warning("an old connection is used on", why=error.what)
            return member
        self._counts.closed_old += 1
        member.connection.close()
        return newer

    def _new_member(self) -> Member:
        try:
            connection = self._open_connection()
        except ServerAuthenticationError as error:
            raise self._changed_password(error) from error.__cause__
        self._counts.opened += 1
        return Member(connection, opened_s=self._clock())

    def _changed_password(self, error: ServerAuthenticationError) -> ServerAuthenticationError:
        """The same, with what to do where the same address was good before."""
        if not self._counts.opened:
            return error
        return ServerAuthenticationError(
            error.what,
            hint="the same address was accepted before: if the password was changed, put the new "
            "one into NGB_POSTGRES_DSN and open a new plane; connections that are open go on",
            **error.facts,
        )

    # ---- giving back

    def _end_turn(self, turn: Turn) -> None:
        if turn.process != os.getpid():
            if turn.member is not None:
                self._of_parent.append(turn.member)
            return
        member = None
        try:
            member = self._clean_member(turn)
        finally:
            self._give_back(turn, member)

    def _clean_member(self, turn: Turn) -> Member | None:
        """The turn's connection if it can be lent again; closed if not."""
        member = turn.member
        if member is None or (turn.healthy and member.is_clean()):
            return member
        self._counts.closed_broken += 1
        member.connection.close()
        return None

    def _give_back(self, turn: Turn, member: Member | None) -> None:
        now_s = self._clock()
        with self._lock:
            self._turns.discard(turn)
            gone = [one for one in self._idle if now_s - one.idle_since_s >= self._idle_s_max]
            if gone:
                self._counts.closed_idle += len(gone)
                self._idle = [one for one in self._idle if one not in gone]
            if member is not None and self._closed:
                gone.append(member)
            elif member is not None:
                member.idle_since_s = now_s
                self._idle.append(member)
            if self._waiting:
                self._changed.notify()
        for one in gone:
            one.connection.close()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Before any thread of the child can come: two at once would find half of the parent's."""
    for one in list(_pools):
        one.begin_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
