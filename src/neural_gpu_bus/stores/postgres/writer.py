"""Bulk writes: columns into a table in one transaction, with the job's id in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.as_arrow import as_table
from neural_gpu_bus.stores.postgres.connection import translated
from neural_gpu_bus.stores.postgres.ledgers import claim_job, ensure_ledgers, forget_old
from neural_gpu_bus.stores.postgres.table_name import parse_table_name
from neural_gpu_bus.stores.postgres.writing import Mode, Rows, open_table, write_rows

if TYPE_CHECKING:
    import psycopg

Lend = Callable[[], "AbstractContextManager[psycopg.Connection]"]

#: What readers wait for. With synchronous_commit off the commit may not be flushed yet, so that
#: only the insert position is surely behind it.
_LSN = (
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END::text"
)


class PostgresWriter:
    """Stores columns. ``lend`` gives a connection for the time of one call; ``address`` stands in
    messages. Thread-safe as far as ``lend`` is.
    """

    def __init__(self, lend: Lend, address: str) -> None:
        self._lend = lend
        self._address = address
        self._old_jobs_forgotten = False
        self._lock = threading.Lock()

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
        With a ``job_id`` that was stored before, nothing is done and ``repeated`` is True.

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
        rows = Rows(data.schema, lambda: iter(data.to_batches()))
        with translated(self._address), self._lend() as connection:
            self._prepare(connection)
            count = self._transact(connection, name, rows, tuple(key or ()), mode, job_id, data)
            lsn = connection.execute(_LSN).fetchone()
        assert lsn is not None
        return StoreReceipt(rows=count or 0, lsn=lsn[0], repeated=count is None)

    def _transact(
        self,
        connection: psycopg.Connection,
        name: Any,
        rows: Rows,
        key: Sequence[str],
        mode: Mode,
        job_id: str | None,
        data: Any,
    ) -> int | None:
        with connection.transaction():
            if job_id is not None and not claim_job(connection, job_id, str(name), data.num_rows):
                return None
            opened = open_table(connection, name, rows.schema, key)
            if mode == "upsert" and opened.created and not key:
                raise BadParameterError(
                    f"table {str(name)!r} is new, and an upsert needs to know its key",
                    hint="give key=[...]",
                    parameter="key",
                )
            return write_rows(connection, opened, rows, key=key, mode=mode)

    def _prepare(self, connection: psycopg.Connection) -> None:
        ensure_ledgers(connection)
        with self._lock:
            first, self._old_jobs_forgotten = not self._old_jobs_forgotten, True
        if first:
            forget_old(connection)
