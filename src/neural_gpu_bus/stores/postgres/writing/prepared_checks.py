"""Checks that a table is still the one remembered, prepared once in each session.

To parse and plan one takes the server 58 us in every store; to run a prepared one, 4 (PostgreSQL
18, 2026-11-22). Only for sessions that are one's own: behind a pooler the next statement may meet
another session.
"""

from __future__ import annotations

from itertools import count
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

#: In one session; what comes beyond is sent in full.
CHECKS_MAX = 100
#: There is no such prepared statement (DEALLOCATE, DISCARD ALL).
UNKNOWN_STATEMENT = "26000"


class PreparedChecks:
    """Which sessions know which. Thread-safe as far as a connection is used by one thread."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[psycopg.Connection, dict[str, str]] = WeakKeyDictionary()
        self._numbers = count()

    def statement(self, connection: psycopg.Connection, check: str) -> str:
        """What runs ``check``; prepared first where it is new to this session. The connection
        must be in no transaction.
        """
        names = self._names.get(connection)
        if names is None:
            names = self._names.setdefault(connection, {})
        if check not in names:
            if len(names) >= CHECKS_MAX:
                return check
            name = f"ngb_unchanged_{next(self._numbers)}"
            connection.execute(sql.SQL("PREPARE {} AS {}").format(sql.SQL(name), sql.SQL(check)))
            names[check] = name
        return f"EXECUTE {names[check]}"

    def forget(self, connection: psycopg.Connection) -> None:
        """Somebody took them out of the session."""
        self._names.pop(connection, None)
