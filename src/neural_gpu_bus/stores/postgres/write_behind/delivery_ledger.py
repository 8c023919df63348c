"""Up to where each journal was delivered: a small table in schema ``ngb_ledger``, written in the
delivery's own transaction.

``ngb_ledger.delivered_batches`` has one row for each table of a journal, and one for each record
that was set aside and stored later; a row goes when its journal is gone.
"""

from __future__ import annotations

import psycopg

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.writing.ledgers import ensure_ledgers

#: Any constant that no other program uses for its advisory locks.
_LOCK = 0x6E6764

_IS_THERE = "SELECT to_regclass('ngb_ledger.delivered_batches') IS NOT NULL"

_CREATE = """CREATE TABLE IF NOT EXISTS ngb_ledger.delivered_batches (
    journal text, table_name text, sequence bigint NOT NULL,
    delivered_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (journal, table_name))"""

#: Waits for a transaction that is at the same row: one of ours whose connection broke, and whose
#: COMMIT is still on its way. Then it tells which of the two came first.
_ADVANCE = """
INSERT INTO ngb_ledger.delivered_batches AS kept (journal, table_name, sequence)
VALUES (%(journal)s, %(table)s, %(last)s)
ON CONFLICT (journal, table_name) DO UPDATE SET sequence = EXCLUDED.sequence, delivered_at = now()
WHERE kept.sequence < %(first)s
"""

_DELIVERED = """
SELECT sequence FROM ngb_ledger.delivered_batches WHERE journal = %s AND table_name = %s
"""


def ensure_delivery_ledger(connection: psycopg.Connection) -> None:
    """Make the ledger where it is missing; safe when several sessions do it at once."""
    ensure_ledgers(connection)
    if connection.execute(_IS_THERE).fetchone() == (True,):
        return
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(_CREATE)
    except psycopg.errors.InsufficientPrivilege as error:
        raise QueryError(
            f"the ledger of deliveries cannot be made: {error.diag.message_primary}",
            hint="let an administrator run: GRANT CREATE ON SCHEMA ngb_ledger TO your_user",
            sqlstate=error.sqlstate,
        ) from None


def advance(
    connection: psycopg.Connection, journal: str, table: str, first: int, last: int
) -> int | None:
    """Note that records ``first`` to ``last`` are delivered by this transaction. Where another one
    delivered ``first`` already, nothing is noted, and up to where is returned.
    """
    values = {"journal": journal, "table": table, "first": first, "last": last}
    if connection.execute(_ADVANCE, values).rowcount == 1:
        return None
    (found,) = connection.execute(_DELIVERED, (journal, table)).fetchall()[0]
    return int(found)


def forget_journal(connection: psycopg.Connection, journal: str) -> None:
    """The journal is gone for good."""
    if connection.execute(_IS_THERE).fetchone() == (True,):
        connection.execute(
            "DELETE FROM ngb_ledger.delivered_batches WHERE journal = %s", (journal,)
        )
