"""An append to a table that is known from an earlier store: one exchange with the server."""

from __future__ import annotations

from collections.abc import Generator
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
from neural_gpu_bus.stores.postgres.writing.known_tables import KnownTable, PlannedCopy
from neural_gpu_bus.stores.postgres.writing.ledgers import CLAIM_JOB
from neural_gpu_bus.stores.postgres.writing.one_exchange import OneExchange, can_exchange
from neural_gpu_bus.stores.postgres.writing.prepared_statements import (
    UNKNOWN_STATEMENT,
    PreparedStatements,
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

#: Refusals that say nothing of the rows or of the table: 25 read-only, 28 user, 40 deadlocks, 53 no
#: room, 55P03 a lock, 57 cancelled or shut down, 58 the system. All others may mean that the table
#: is another by now: a longer type is "insufficient data left in message" (08P01), an array has a
#: wrong number of dimensions (54000), jsonb an unknown version (XX000). Nothing is stored then, and
#: the careful way looks at the table again, or says it in full.
_ABOUT_THE_SERVER = ("25", "28", "40", "53", "55P03", "57", "58")
_UNIQUE_VIOLATION = "23505"

_CLAIM_JOB = CLAIM_JOB.replace("%s", "{}")

#: What a literal cannot hold as it is.
_QUOTED = frozenset("'\\")


@dataclass(slots=True)
class KnownAppend:
    """One append, as far as the remembered table goes."""

    table: KnownTable
    rows: Rows
    job_id: str | None
    address: str
    prepared: PreparedStatements
    #: After ``run`` gave None: whether the table may be another than remembered.
    may_be_outdated: bool = False
    #: After ``run`` gave None: what is wrong unless the table is another.
    bad_value: BadValueError | None = None

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
        check = self.prepared.ready(connection, self.table.check)
        position = self.prepared.ready(connection, LOG_POSITION)
        statements = f"{self._claim(connection)}{planned.copy}; {check}"
        few = (self.rows.rows or 0) <= FEW_ROWS_MAX
        exchange = OneExchange(connection, self.address, few=few)
        try:
            replies = exchange.run(statements, self._pieces(planned), position)
        except BadValueError as error:
            self.bad_value = error
            return None
        refusal = replies.refusal
        if refusal is None and replies.rows is not None:
            if not replies.value:  # it may be gone from the session, the check being there
                self.prepared.forget(connection)
            return StoreReceipt(rows=replies.rows, lsn=replies.value.decode())
        if refusal is None:
            raise ProtocolError(
                f"PostgreSQL at {self.address} did not say how many rows it stored",
                hint="check what stands between this machine and the server",
                position=0,
            )
        if refusal.sqlstate == UNKNOWN_STATEMENT:
            self.prepared.forget(connection)
            return None
        if not refusal.sqlstate.startswith(_ABOUT_THE_SERVER):
            self.may_be_outdated = refusal.sqlstate != _UNIQUE_VIOLATION
            return None
        raise failure_from(
            refusal.sqlstate,
            refusal.message,
            self.address,
            detail=refusal.detail,
            hint=refusal.hint,
        )

    def _pieces(self, planned: PlannedCopy) -> Generator[bytes, None, None]:
        batches = list(self.rows.batches())
        if planned.few is not None and len(batches) == 1:
            message = planned.few.message(batches[0])
            if message is not None:
                yield message  # type: ignore[misc]  # sockets take any buffer
                return
        yield from encode(
            batches,
            planned.plans,
            piece_bytes_max=PIECE_BYTES_MAX,
            first_row=self.rows.first_row,
            framed=True,
        )

    def _claim(self, connection: psycopg.Connection) -> str:
        if self.job_id is None:
            return ""
        job_id = _literal(self.job_id, connection)
        table = _literal(self.table.definition.ledger_name, connection)
        values = (job_id, table, str(self.rows.rows or 0))
        return f"{self.prepared.ready(connection, _CLAIM_JOB, *values)}; "


def _literal(text: str, connection: psycopg.Connection) -> str:
    """Quoted for SQL; psycopg takes 2 us for it, of which most texts need nothing."""
    if text.isascii() and text.isprintable() and not _QUOTED & set(text):
        return f"'{text}'"
    return sql.Literal(text).as_string(connection)
