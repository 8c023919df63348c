"""What goes around every COPY, prepared once in each session.

To parse and plan the check that a table is still the one remembered takes the server 58 us in every
store, and to run a prepared one 4; of the log's position it is 25, of the claim of a job's id 20
(PostgreSQL 18, 2026-11-22). Only for sessions that are one's own: behind a pooler the next
statement may meet another session.
"""

from __future__ import annotations

from itertools import count
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql

#: In one session; what comes beyond is sent in full.
STATEMENTS_MAX = 100
#: There is no such prepared statement (DEALLOCATE, DISCARD ALL).
UNKNOWN_STATEMENT = "26000"


class PreparedStatements:
    """Which sessions know which. Thread-safe as far as a connection is used by one thread."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[psycopg.Connection, dict[str, str]] = WeakKeyDictionary()
        self._numbers = count()

    def ready(self, connection: psycopg.Connection, statement: str, *values: str) -> str:
        """What runs ``statement``, which has ``{}`` in the places of ``values``, each a literal;
        prepared first where it is new to this session. The connection must be in no transaction.
        """
        names = self._names.get(connection)
        if names is None:
            names = self._names.setdefault(connection, {})
        name = names.get(statement)
        if name is None and len(names) < STATEMENTS_MAX:
            name = self._prepare(connection, statement, len(values))
            if name is not None:
                names[statement] = name
        if name is None:
            return statement.format(*values) if values else statement
        return f"EXECUTE {name}({', '.join(values)})" if values else f"EXECUTE {name}"

    def forget(self, connection: psycopg.Connection) -> None:
        """Somebody took them out of the session."""
        self._names.pop(connection, None)

    def _prepare(self, connection: psycopg.Connection, statement: str, values: int) -> str | None:
        """Its name; None where the server refuses it: running it says the same in its place."""
        name = f"ngb_prepared_{next(self._numbers)}"
        if values:
            statement = statement.format(*(f"${at}" for at in range(1, values + 1)))
        prepare = sql.SQL("PREPARE {} AS {}").format(sql.SQL(name), sql.SQL(statement))
        try:
            connection.execute(prepare)
        except psycopg.ProgrammingError:
            return None
        return name
