"""Bulk writes: columns into a table in one transaction, with the job's id in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

import psycopg
import structlog

from neural_gpu_bus.arguments import check_encodable, check_job_id, check_text
from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import BadParameterError, QueryError
from neural_gpu_bus.stores.postgres.connections.connection import failure_from, translation
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.tables.column_names import first_bad_name
from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition, ledger_name
from neural_gpu_bus.stores.postgres.tables.table_name import TableName, parse_table_name
from neural_gpu_bus.stores.postgres.writing.known_append import LOG_POSITION, KnownAppend
from neural_gpu_bus.stores.postgres.writing.known_tables import KnownTables
from neural_gpu_bus.stores.postgres.writing.ledgers import (
    claim_job,
    claimed_rows,
    ensure_ledgers,
    forget_old,
    note_job_rows,
)
from neural_gpu_bus.stores.postgres.writing.one_exchange import unknown_outcome
from neural_gpu_bus.stores.postgres.writing.prepared_statements import PreparedStatements
from neural_gpu_bus.stores.postgres.writing.row_ranges import UnfinishedRangesError, store_ranges
from neural_gpu_bus.stores.postgres.writing.row_writing import Mode, open_table, write_rows
from neural_gpu_bus.stores.postgres.writing.sources import Rows, rows_of
from neural_gpu_bus.stores.postgres.writing.store_arguments import check_options, checked_key

_log = structlog.get_logger(__name__)

#: Refusals that a table which was altered meanwhile explains: bytes that its types do not take.
_ABOUT_THE_BYTES = ("08P01", "22P03", "54", "XX")

_SESSION = "SELECT pg_backend_pid(), current_setting('default_transaction_isolation')"

Lend = Callable[[], "AbstractContextManager[psycopg.Connection]"]


@dataclass(frozen=True, slots=True)
class Write:
    """One call of ``store``, checked as far as the server is not needed."""

    table: TableName
    data: Rows
    key: tuple[str, ...]
    mode: Mode
    job_id: str | None
    create: bool = True


@dataclass(slots=True)
class _Outcome:
    """What a transaction did so far."""

    #: None for a job that was stored before.
    rows: int | None = None
    #: The table that is there with the rows, where it was there before.
    table: TableDefinition | None = None
    #: The same, before the rows are in it.
    opened: TableDefinition | None = None
    #: All of it is written, and only the commit is left.
    is_written: bool = False


class PostgresWriter:
    """Stores columns. ``lend`` gives a connection for the time of one call; ``address`` stands in
    messages. Thread-safe as far as ``lend`` is.
    """

    def __init__(self, lend: Lend, address: str) -> None:
        self._lend = lend
        self._address = address
        self._ledgers_ready = False
        self._known = KnownTables()
        self._prepared = PreparedStatements()
        #: Connections without a pooler in between, as far as known.
        self._direct: WeakSet[psycopg.Connection] = WeakSet()

    def store(
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
        create: bool = True,
        transactions: int = 1,
    ) -> StoreReceipt:
        """Write ``columns`` (see ``sources.rows_of``) to ``table`` (``name`` or ``schema.name``),
        all rows or none, and say up to where the log has them.

        A missing table is made, with ``key`` as its primary key; ``create=False`` refuses that.
        Columns are matched by name. With a ``job_id`` that was stored before, nothing is done and
        ``repeated`` is True; so it is where the connection broke after the commit, and the store
        was tried again.

        ``transactions``: append ranges of the rows over that many connections at once, each in a
        transaction of its own, all or none of a range: see ``row_ranges.store_ranges``.

        Raises what ``writing.write_rows`` raises, and ServerError's kinds; ServerUnreachableError
        says where the rows may have been stored all the same.
        """
        check_text("table", table, "'bars'")
        check_encodable("table", table)
        name = parse_table_name(table)
        check_options(mode, create, transactions)
        check_job_id(job_id)
        data = rows_of(columns)
        bad = first_bad_name(data.schema.names)
        if bad is not None:
            raise BadParameterError(bad.why, hint=bad.hint, parameter=bad.column or "columns")
        write = Write(name, data, checked_key(key, data.schema.names), mode, job_id, create)
        try:
            if transactions > 1:
                return store_ranges(self, write, transactions)
            return self.run(write)
        except UnfinishedRangesError as unfinished:
            return store_ranges(self, write, unfinished.ranges, transactions_begun=True)

    def run(self, write: Write) -> StoreReceipt:
        """One write in one transaction."""
        if write.job_id is None or not write.data.repeatable:
            return self._stored(write)
        # The job's id tells a second store from the first, so a lost connection is tried again.
        return retried(lambda _again, _left_s: self._stored(write), timeout_s=None)

    def open_table(self, write: Write) -> None:
        """Make the table where it is missing, its key included, and its ledgers for a job."""
        empty = Rows(write.data.schema, lambda: iter(()), 0)
        self.run(replace(write, data=empty, job_id=None))
        if write.job_id is not None and not self._ledgers_ready:
            with self.lend() as connection:
                self._prepare_ledgers(connection)

    @contextmanager
    def lend(self) -> Iterator[psycopg.Connection]:
        """A connection whose refusals are this package's own errors."""
        try:
            with self._lend() as connection:
                yield connection
        except psycopg.Error as error:
            raise translation(error, self._address) from error

    @staticmethod
    def log_position(connection: psycopg.Connection) -> str:
        """Up to where the log has what was committed. Empty where the server does not say: the rows
        are stored all the same.
        """
        try:
            return str(connection.execute(LOG_POSITION).fetchall()[0][0])
        except psycopg.Error as error:
            _log.warning("the log's position is not known", why=" ".join(str(error).split()))
            return ""

    def _stored(self, write: Write) -> StoreReceipt:
        with self.lend() as connection:
            receipt = self._append_known(connection, write)
            if receipt is not None:
                return receipt
            outcome = self._run(connection, write)
            lsn = self.log_position(connection)
            if outcome.table is not None and lsn and self._is_direct(connection):
                self._known.remember(outcome.table)
        return StoreReceipt(rows=outcome.rows or 0, lsn=lsn, repeated=outcome.rows is None)

    def _append_known(self, connection: psycopg.Connection, write: Write) -> StoreReceipt | None:
        """In one exchange, where the table is known and nothing else is to be done."""
        table = self._known.get(write.table)
        ready = write.job_id is None or self._ledgers_ready
        plain = write.mode == "append" and write.data.repeatable and ready
        if connection not in self._direct or table is None or not plain:
            return None
        append = KnownAppend(table, write.data, write.job_id, self._address, self._prepared)
        receipt = append.run(connection)
        bad_value = append.bad_value
        if bad_value is not None and _is_unchanged(connection, table.definition):
            raise bad_value
        if bad_value is not None or append.may_be_outdated:
            self._known.forget(write.table)
        return receipt

    def _is_direct(self, connection: psycopg.Connection) -> bool:
        """Whether no pooler stands in between: what says its process's number is that process.
        pgbouncer 1.18 in transaction mode never answers after rows that no COPY waits for.
        And whether transactions begin as READ COMMITTED by themselves: in others the check that
        the table is unchanged would not see what was altered while the COPY waited for its lock.
        """
        if connection not in self._direct:
            found = connection.execute(_SESSION).fetchone()
            if found != (connection.info.backend_pid, "read committed"):
                return False
            self._direct.add(connection)
        return True

    def _run(self, connection: psycopg.Connection, write: Write) -> _Outcome:
        """The write in a transaction. The ledgers are looked at once, not in every store (0.1 of
        2 ms); when somebody dropped them since, the write did nothing and runs again.
        """
        if write.job_id is not None and not self._ledgers_ready:
            self._prepare_ledgers(connection)
        try:
            return self._transaction(connection, write)
        except psycopg.errors.UndefinedTable:
            if write.job_id is None:
                raise
        self._prepare_ledgers(connection)
        return self._transaction(connection, write)

    def _transaction(self, connection: psycopg.Connection, write: Write) -> _Outcome:
        outcome = _Outcome()
        try:
            with connection.transaction():
                _write(connection, write, outcome)
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if outcome.opened is not None and state.startswith(_ABOUT_THE_BYTES):
                _check_unchanged(connection, outcome.opened)
            if not outcome.is_written or not isinstance(error, psycopg.OperationalError):
                raise
            text = error.diag.message_primary or " ".join(str(error).split())
            raise unknown_outcome(failure_from(error.sqlstate, text, self._address)) from error
        return outcome

    def _prepare_ledgers(self, connection: psycopg.Connection) -> None:
        ensure_ledgers(connection)
        forget_old(connection)
        self._ledgers_ready = True


def _write(connection: psycopg.Connection, write: Write, outcome: _Outcome) -> None:
    """The write in the connection's transaction, and what became of it."""
    job_id, name, rows = write.job_id, str(write.table), write.data.rows
    if job_id is not None:
        name = ledger_name(connection, write.table)
    if job_id is not None and not claim_job(connection, job_id, name, rows or 0):
        claimed = claimed_rows(connection, job_id, name)
        if claimed < 0:
            raise UnfinishedRangesError(-claimed)
        outcome.is_written = True
        return
    opened = open_table(connection, write.table, write.data.schema, write.key, create=write.create)
    if write.mode == "upsert" and opened.created and not write.key:
        raise BadParameterError(
            f"table {name!r} is new, and an upsert needs to know its key",
            hint="give key=[...]",
            parameter="key",
        )
    outcome.opened = None if opened.created else opened.definition
    outcome.rows = write_rows(connection, opened, write.data, key=write.key, mode=write.mode)
    if job_id is not None and rows is None:
        note_job_rows(connection, job_id, name, outcome.rows)
    if not opened.created:
        _check_unchanged(connection, opened.definition)
        outcome.table = opened.definition
    outcome.is_written = True


def _check_unchanged(connection: psycopg.Connection, table: TableDefinition) -> None:
    """Writing took a lock; before it, somebody may have altered what was looked at."""
    if not _is_unchanged(connection, table):
        raise QueryError(
            f"table {str(table.name)!r} was altered while rows were being prepared for it",
            hint="store them again; nothing was stored",
            sqlstate="40001",
        )


def _is_unchanged(connection: psycopg.Connection, table: TableDefinition) -> bool:
    try:
        connection.execute(table.check_unchanged().encode())
    except psycopg.errors.DivisionByZero:
        return False
    return True
