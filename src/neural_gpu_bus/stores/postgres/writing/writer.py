"""Bulk writes: columns into a table in one transaction, with the job's id in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.connections.connection import translated
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name
from neural_gpu_bus.stores.postgres.writing.ledgers import claim_job, ensure_ledgers, forget_old
from neural_gpu_bus.stores.postgres.writing.row_writing import Mode, Rows, open_table, write_rows

if TYPE_CHECKING:
    import pyarrow as pa

Lend = Callable[[], "AbstractContextManager[psycopg.Connection]"]

#: What readers wait for. With synchronous_commit off the commit may not be flushed yet, so that
#: only the insert position is surely behind it.
_LSN = (
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END::text"
)


@dataclass(frozen=True, slots=True)
class _Write:
    """One call of ``store``, checked as far as the server is not needed."""

    table: TableName
    data: pa.Table
    key: tuple[str, ...]
    mode: Mode
    job_id: str | None

    def run(self, connection: psycopg.Connection) -> int | None:
        """Rows written in the connection's transaction; None for a job that was stored before."""
        if self.job_id is not None and not claim_job(
            connection, self.job_id, str(self.table), self.data.num_rows
        ):
            return None
        opened = open_table(connection, self.table, self.data.schema, self.key)
        if self.mode == "upsert" and opened.created and not self.key:
            raise BadParameterError(
                f"table {str(self.table)!r} is new, and an upsert needs to know its key",
                hint="give key=[...]",
                parameter="key",
            )
        rows = Rows(self.data.schema, lambda: iter(self.data.to_batches()))
        return write_rows(connection, opened, rows, key=self.key, mode=self.mode)


class PostgresWriter:
    """Stores columns. ``lend`` gives a connection for the time of one call; ``address`` stands in
    messages. Thread-safe as far as ``lend`` is.
    """

    def __init__(self, lend: Lend, address: str) -> None:
        self._lend = lend
        self._address = address
        self._ledgers_ready = False

    def store(
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
    ) -> StoreReceipt:
        """Write ``columns`` (see ``as_arrow.as_table``) to ``table`` (``name`` or
        ``schema.name``), all rows or none, and say up to where the log has them.

        A missing table is made, with ``key`` as its primary key. Columns are matched by name.
        With a ``job_id`` that was stored before, nothing is done and ``repeated`` is True; so it
        is where the connection broke after the commit, and the store was tried again.

        Raises what ``writing.write_rows`` raises, and ServerError's kinds.
        """
        name = parse_table_name(table)
        if mode not in ("append", "upsert", "replace"):
            raise BadParameterError(
                f"mode {mode!r} is none of append, upsert, replace",
                hint="use one",
                parameter="mode",
            )
        data = as_table(columns)
        bad = first_bad_name(data.column_names)
        if bad is not None:
            raise BadParameterError(bad.why, hint=bad.hint, parameter=bad.column or "columns")
        write = _Write(name, data, tuple(key or ()), mode, job_id)
        if job_id is None:
            return self._stored(write)
        # The job's id tells a second store from the first, so a lost connection is tried again.
        return retried(lambda _again, _left_s: self._stored(write), timeout_s=None)

    def _stored(self, write: _Write) -> StoreReceipt:
        with translated(self._address), self._lend() as connection:
            count = self._run(connection, write)
            lsn = connection.execute(_LSN).fetchall()[0][0]
        return StoreReceipt(rows=count or 0, lsn=lsn, repeated=count is None)

    def _run(self, connection: psycopg.Connection, write: _Write) -> int | None:
        """The write in a transaction. The ledgers are looked at once, not in every store (0.1 of
        2 ms); when somebody dropped them since, the write did nothing and runs again.
        """
        if write.job_id is not None and not self._ledgers_ready:
            self._prepare_ledgers(connection)
        try:
            with connection.transaction():
                return write.run(connection)
        except psycopg.errors.UndefinedTable:
            if write.job_id is None:
                raise
        self._prepare_ledgers(connection)
        with connection.transaction():
            return write.run(connection)

    def _prepare_ledgers(self, connection: psycopg.Connection) -> None:
        ensure_ledgers(connection)
        forget_old(connection)
        self._ledgers_ready = True
