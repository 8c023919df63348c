"""An append to a table that is known from an earlier store: one exchange with the server."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ProtocolError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.connections.connection import failure_from
from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.writing.known_tables import KnownTable
from neural_gpu_bus.stores.postgres.writing.ledgers import CLAIM_JOB
from neural_gpu_bus.stores.postgres.writing.one_exchange import OneExchange, can_exchange
from neural_gpu_bus.stores.postgres.writing.prepared_checks import (
    UNKNOWN_STATEMENT,
    PreparedChecks,
)
from neural_gpu_bus.stores.postgres.writing.sources import Rows

#: What readers wait for. With synchronous_commit off the commit may not be flushed yet, so that
#: only the insert position is surely behind it.
LOG_POSITION = (
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END::text"
)

PIECE_BYTES_MAX = 1 << 20
#: Encoded in less time than it takes to wake the server once more.
FEW_ROWS_MAX = 1_000

#: Refusals that say something of the rows or of the table, which may be another by now: 22 data, 23
#: constraints, 42 names and rights, 0A what a table does not take. The careful way says them, and
#: says them in full.
_ABOUT_ROWS_OR_TABLE = ("22", "23", "42", "0A")
_UNIQUE_VIOLATION = "23505"


@dataclass(slots=True)
class KnownAppend:
    """One append, as far as the remembered table goes."""

    table: KnownTable
    rows: Rows
    job_id: str | None
    address: str
    checks: PreparedChecks
    #: After ``run`` gave None: whether the table may be another than remembered.
    may_be_outdated: bool = False

    def run(self, connection: psycopg.Connection) -> StoreReceipt | None:
        """The rows stored; None, with nothing stored, where the careful way has to look at them.

        Raises ServerError's kinds.
        """
        try:
            planned = self.table.planned(self.rows.schema)
        except (BadParameterError, UnsupportedTypeError):
            self.may_be_outdated = True
            return None
        if not planned.is_plain or not can_exchange(connection):
            return None
        pieces = encode(
            self.rows.batches(),
            planned.plans,
            piece_bytes_max=PIECE_BYTES_MAX,
            first_row=self.rows.first_row,
            framed=True,
        )
        check = self.checks.statement(connection, self.table.definition)
        statements = f"{self._claim(connection)}{planned.copy}; {check}"
        few = (self.rows.rows or 0) <= FEW_ROWS_MAX
        exchange = OneExchange(connection, self.address, few=few)
        try:
            replies = exchange.run(statements, pieces, LOG_POSITION)
        except BadValueError:
            self.may_be_outdated = True
            return None
        refusal = replies.refusal
        if refusal is None and replies.rows is not None:
            return StoreReceipt(rows=replies.rows, lsn=replies.value.decode())
        if refusal is None:
            raise ProtocolError(
                f"PostgreSQL at {self.address} did not say how many rows it stored",
                hint="check what stands between this machine and the server",
                position=0,
            )
        if refusal.sqlstate == UNKNOWN_STATEMENT:
            self.checks.forget(connection)
            return None
        if refusal.sqlstate.startswith(_ABOUT_ROWS_OR_TABLE):
            self.may_be_outdated = refusal.sqlstate != _UNIQUE_VIOLATION
            return None
        raise failure_from(
            refusal.sqlstate,
            refusal.message,
            self.address,
            detail=refusal.detail,
            hint=refusal.hint,
        )

    def _claim(self, connection: psycopg.Connection) -> str:
        if self.job_id is None:
            return ""
        values = (self.job_id, str(self.table.definition.name), self.rows.rows or 0)
        return f"{CLAIM_JOB % tuple(_literal(value, connection) for value in values)}; "


def _literal(value: object, connection: psycopg.Connection) -> str:
    return sql.Literal(value).as_string(connection)
