"""What a pool knows of one of its connections, and what it has counted."""

from __future__ import annotations

import select
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus


@dataclass(slots=True, eq=False)
class Member:
    """One connection; times as the pool's clock has them."""

    connection: psycopg.Connection
    opened_s: float
    idle_since_s: float = 0.0

    def is_quiet(self) -> bool:
        """False when the server closed an idle connection or said something on it: either way the
        next reply could not be told from it.
        """
        if self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def is_clean(self) -> bool:
        """Whether it can be lent again: open, and in no transaction."""
        # A closed one has another status (PQtransactionStatus).
        return self.connection.pgconn.transaction_status == TransactionStatus.IDLE


@dataclass(eq=False, slots=True, weakref_slot=True)
class Turn:
    """One place among the pool's connections, from the wait for it to its end."""

    #: That asked for it; a child made by fork gives nothing back.
    process: int
    member: Member | None = None
    #: The body came to its end.
    healthy: bool = False


@dataclass(slots=True)
class PoolCounts:
    """Counted since the pool was made; without a lock, for people to look at."""

    waits: int = 0
    wait_total_s: float = 0.0
    wait_longest_s: float = 0.0
    opened: int = 0
    closed_broken: int = 0
    closed_idle: int = 0
    closed_old: int = 0
    retried: int = 0
    cancelled: int = 0

    def waited(self, duration_s: float) -> None:
        """Somebody waited that long for a connection, whether or not it came."""
        self.waits += 1
        self.wait_total_s += duration_s
        self.wait_longest_s = max(self.wait_longest_s, duration_s)
