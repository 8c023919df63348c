"""One delivery: records of one table in one transaction, with the ledger's row in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import structlog

from neural_gpu_bus.errors import BadParameterError, QueryError, ServerUnreachableError
from neural_gpu_bus.stores.postgres.connections.connection import SERVER, translated
from neural_gpu_bus.stores.postgres.tables.table_definition import ledger_name
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name
from neural_gpu_bus.stores.postgres.write_behind.coalescing import last_of_each_key
from neural_gpu_bus.stores.postgres.write_behind.delivery_ledger import (
    advance,
    ensure_delivery_ledger,
    forget_journal,
)
from neural_gpu_bus.stores.postgres.write_behind.record_format import Record, RecordMetadata
from neural_gpu_bus.stores.postgres.writing.ledgers import claim_job, claimed_rows
from neural_gpu_bus.stores.postgres.writing.row_writing import (
    OpenedTable,
    open_table,
    write_rows,
)
from neural_gpu_bus.stores.postgres.writing.sources import Rows

_log = structlog.get_logger(__name__)

Lend = Callable[[], "AbstractContextManager[psycopg.Connection]"]

#: Longest wait for a lock in a table, first and at most: other tables wait behind it. It grows
#: with the failures, so that a table that is locked again and again has its turn.
LOCK_TIMEOUT_S = 0.2
LOCK_TIMEOUT_S_MAX = 2.0

#: A commit that is not flushed can be lost with the server, and the journal with it is gone by
#: then. A stronger setting (remote_apply) stays.
_BEGIN = """
SELECT set_config('lock_timeout', %s, true),
  set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
"""

_LSN = "SELECT pg_current_wal_flush_lsn()::text"

#: A server that went without a word is missed after 10 + 3 x 5 s, where the system waits 2 hours;
#: bytes that nobody acknowledges are given up after 30 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one table and one journal that are written at once."""

    journal: str
    table: str
    records: Sequence[Record]
    #: Rows of each record, all of one schema.
    tables: Sequence[pa.Table]
    lock_timeout_s: float = LOCK_TIMEOUT_S_MAX

    @property
    def first(self) -> int:
        """Sequence of the oldest record."""
        return self.records[0].sequence

    @property
    def last(self) -> int:
        """Sequence of the newest record."""
        return self.records[-1].sequence


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivery found or did."""

    #: Records of the table up to this sequence are in it.
    through: int
    #: Rows written by this delivery.
    rows: int
    #: The log has them up to here; empty where the server does not tell.
    lsn: str
    #: Sequences whose job had been stored before.
    repeated: tuple[int, ...] = ()


class Courier:
    """Writes batches. ``lend`` gives a connection; ``address`` stands in messages."""

    def __init__(self, lend: Lend, address: str) -> None:
        self._lend = lend
        self._address = address
        self._ledger_ready = False

    def deliver(self, batch: Batch) -> Delivered:
        """All rows of the batch and the ledger's row, or neither; nothing where an earlier try
        succeeded after all.

        Raises what ``writing.write_rows`` raises, and ServerError's kinds.
        """
        with translated(self._address), self._lend() as connection:
            _keep_alive(connection)
            self._ensure_ledger(connection)
            try:
                with connection.transaction():
                    through, rows, repeated = _write(connection, batch)
            except Exception as error:
                self._ledger_ready = False  # somebody may have dropped it
                if connection.broken and getattr(error, "sqlstate", None) is None:
                    # Whatever else seemed wrong then, the rows are not to blame.
                    raise psycopg.OperationalError("the connection broke") from error
                raise
            lsn = _log_position(connection)
        return Delivered(through, rows, lsn, repeated)

    def forget(self, journal: str) -> None:
        """The ledger's rows of a journal that is gone. Raises ServerError's kinds."""
        # Flushed, as a delivery is: nobody would come back to rows that a crash brings back.
        with translated(self._address), self._lend() as connection, connection.transaction():
            connection.execute(_BEGIN, (f"{1000 * LOCK_TIMEOUT_S_MAX:.0f}ms",))
            forget_journal(connection, journal)

    def _ensure_ledger(self, connection: psycopg.Connection) -> None:
        if self._ledger_ready:
            return
        try:
            ensure_delivery_ledger(connection)
        except QueryError as error:
            raise ServerUnreachableError(
                error.what, hint=error.hint, server=SERVER, address=self._address, **error.facts
            ) from None
        self._ledger_ready = True


def _log_position(connection: psycopg.Connection) -> str:
    """Empty where the server does not tell: the rows are stored all the same."""
    try:
        return str(connection.execute(_LSN).fetchall()[0][0])
    except psycopg.Error as error:
        _log.debug("the log's position is not told", error=str(error))
        return ""


def _write(connection: psycopg.Connection, batch: Batch) -> tuple[int, int, tuple[int, ...]]:
    """Up to where the table has the journal now, rows written, sequences of repeated jobs."""
    connection.execute(_BEGIN, (f"{1000 * batch.lock_timeout_s:.0f}ms",))
    already = advance(connection, batch.journal, batch.table, batch.first, batch.last)
    if already is not None:
        return already, 0, ()
    repeated = tuple(
        record.sequence
        for record in batch.records
        if not _is_new(connection, record.metadata, batch.table)
    )
    tables = [
        table
        for record, table in zip(batch.records, batch.tables, strict=True)
        if record.sequence not in repeated
    ]
    rows = _write_tables(connection, batch, tables) if tables else 0
    return batch.last, rows, repeated


def _is_new(connection: psycopg.Connection, metadata: RecordMetadata, table: str) -> bool:
    """False for a job that was stored before. Raises BadParameterError for one that ``store`` began
    in ranges and did not finish: some of its rows are there, and which only ``store`` knows.
    """
    job_id = metadata.job_id
    if job_id is None:
        return True
    table = ledger_name(connection, parse_table_name(table))
    if claim_job(connection, job_id, table, metadata.rows):
        return True
    claimed = claimed_rows(connection, job_id, table)
    if claimed < 0:
        raise BadParameterError(
            f"job {job_id!r} was begun in {-claimed} ranges by store(transactions=...), and not "
            f"all of them are in table {table!r}",
            hint="finish it with plane.store: the same rows and the same job_id",
            parameter="job_id",
        )
    return False


def _write_tables(connection: psycopg.Connection, batch: Batch, tables: Sequence[pa.Table]) -> int:
    wanted = batch.records[0].metadata
    schema = tables[0].schema
    opened = open_table(connection, parse_table_name(batch.table), schema, wanted.key)
    if wanted.mode == "upsert":
        whole = last_of_each_key(tables, _upsert_key(opened, batch))
    else:
        whole = pa.concat_tables(tables)
    rows = Rows(schema, lambda: iter(whole.to_batches()), whole.num_rows)
    return write_rows(connection, opened, rows, key=wanted.key, mode=wanted.mode)


def _upsert_key(opened: OpenedTable, batch: Batch) -> Sequence[str]:
    key = batch.records[0].metadata.key
    if opened.created and not key:
        raise BadParameterError(
            f"table {batch.table!r} is new, and an upsert needs to know its key",
            hint="give key=[...]",
            parameter="key",
        )
    return key or opened.definition.primary_key


def _keep_alive(connection: psycopg.Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        if end.family not in (socket.AF_INET, socket.AF_INET6):
            return
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            with suppress(OSError, AttributeError):
                end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
