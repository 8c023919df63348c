"""One statement on one connection, received into one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.connections.connection import CLEAN_UP
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import Exchange, exchange_on
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.expected_memory import ExpectedMemory
from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot, gone, snapshot_id
from neural_gpu_bus.stores.postgres.reading.statement import bound, may_write, only_reads
from neural_gpu_bus.stores.postgres.reading.time_limits import TimeLimit
from neural_gpu_bus.stores.postgres.reading.watching import Watch
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables
from neural_gpu_bus.stores.postgres.wire.messages import Field

UNDEFINED_FUNCTION = "42883"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, how, and how long for."""

    sql: str
    params: Params
    limit: TimeLimit
    options: ReadOptions
    snapshot: Snapshot | str | None = None
    #: More settings of the server for the statement's transaction, as SET LOCAL.
    settings: bytes = b""

    def begin(self, deadline: Deadline, *, read_only: bool = False) -> bytes:
        """How its transaction begins."""
        return transactions.begin(
            limit_ms=deadline.left_ms(),
            settings=self.limit.query_class.set_local() + self.settings,
            snapshot=snapshot_id(self.snapshot),
            read_only=read_only,
        )


def receive_query(
    means: ReadingMeans,
    buffer: ReceiveBuffer,
    asked: Question,
    watch: Watch,
    memory: ExpectedMemory | None = None,
) -> CopyScan:
    """Its rows in the buffer, counted; ``memory`` is prepared while the server works. A lost
    connection is tried again within limits; a statement that writes is not run twice.
    """
    limit_s = asked.limit.timeout_s

    def attempt(again: bool, left_s: float | None) -> CopyScan:
        if again:
            means.pool.begin_anew()
        now_s = left_s if again else limit_s
        return receive_once(means, buffer, asked, watch, now_s, read_only=again, memory=memory)

    return retried(attempt, timeout_s=limit_s)


def receive_once(
    means: ReadingMeans,
    buffer: ReceiveBuffer,
    asked: Question,
    watch: Watch,
    limit_s: float | None,
    *,
    read_only: bool,
    memory: ExpectedMemory | None = None,
) -> CopyScan:
    """One attempt; ``read_only``: the server refuses what writes."""
    buffer.stop = 0
    with means.pool.lend(wait_s=asked.limit.timeout_s) as connection:
        statement = bound(connection, asked.sql, asked.params)
        deadline = Deadline(limit_s, means.address)
        watch.reads(statement, buffer)
        direct = means.direct and only_reads(asked.sql)
        ends = _Ends(LibpqSession(connection, means.address, deadline), may_write(asked.sql))
        fields: Sequence[Field] = ()
        try:
            with exchange_on(
                connection,
                buffer,
                means.address,
                deadline,
                direct=direct,
                told=watch,
                cancelled=means.pool.count_cancelled,
            ) as exchange:
                before = ends.begun(asked.begin(deadline, read_only=read_only))
                meanwhile = None if memory is None else memory.prepare
                fields = exchange.open(before, statement, ends.after, meanwhile)
                columns = _columns(means, exchange, fields, asked.options)
                counted = None if memory is None else memory.early_writer(columns, buffer)
                scan = exchange.receive(columns, counted)
            ends.commit()
            return scan
        except QueryError as error:
            ends.roll_back()
            _check_types(means, connection, fields, asked.options, error)
            told = gone(error, asked.snapshot)
            raise with_near_tables(connection, told) from error.__cause__


class _Ends:
    """Begin and end of one transaction: beside the statement, in one message; of a statement that
    may write, around it, so that what is refused for its types has written nothing.
    """

    def __init__(self, session: LibpqSession, alone: bool) -> None:
        self._session = session
        self._alone = alone
        self._open = False
        self.after = b"" if alone else transactions.END

    def begun(self, before: bytes) -> bytes:
        """What is still to be sent before the statement."""
        if not self._alone:
            return before
        self._open = True
        self._session.run(before)
        return b""

    def commit(self) -> None:
        """After all rows came."""
        if self._open:
            self._session.run(transactions.END)
            self._open = False

    def roll_back(self) -> None:
        """After a refusal; where the connection is lost or closed the server does."""
        pgconn = self._session.pgconn
        if self._open and pgconn.transaction_status != TransactionStatus.UNKNOWN:
            self._open = False
            self._session.run(b"ROLLBACK; " + CLEAN_UP)


def _check_types(
    means: ReadingMeans,
    connection: psycopg.Connection,
    fields: Sequence[Field],
    options: ReadOptions,
    error: QueryError,
) -> None:
    """Raises UnsupportedTypeError where the server has no binary form for a column that was not
    known before: it says so of the first row, without the column's name.
    """
    if error.facts.get("sqlstate") != UNDEFINED_FUNCTION or not fields or connection.closed:
        return
    if not means.types.are_known(fields):
        means.types.learn(connection, fields)
        means.types.columns(fields, options)


def _columns(
    means: ReadingMeans, exchange: Exchange, fields: Sequence[Field], options: ReadOptions
) -> Sequence[SourceColumn]:
    if not means.types.are_known(fields):
        exchange.pause()
        means.types.learn(exchange.connection, fields)
    return means.types.columns(fields, options)
