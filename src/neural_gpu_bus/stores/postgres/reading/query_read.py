"""One statement on one connection, received into one buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading import transactions
from neural_gpu_bus.stores.postgres.reading.exchanges import Exchange, exchange_on
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot, gone, snapshot_id
from neural_gpu_bus.stores.postgres.reading.statement import Params, bound, only_reads
from neural_gpu_bus.stores.postgres.reading.time_limits import TimeLimit
from neural_gpu_bus.stores.postgres.reading.watching import Watch
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables
from neural_gpu_bus.stores.postgres.wire.messages import Field


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
    meanwhile: Callable[[], None] | None = None,
) -> CopyScan:
    """Its rows in the buffer, counted; ``meanwhile`` is called while the server works. A lost
    connection is tried again within limits; a statement that writes is not run twice.
    """
    limit_s = asked.limit.timeout_s

    def attempt(again: bool, left_s: float | None) -> CopyScan:
        if again:
            means.pool.begin_anew()
        now_s = left_s if again else limit_s
        return receive_once(
            means, buffer, asked, watch, now_s, read_only=again, meanwhile=meanwhile
        )

    return retried(attempt, timeout_s=limit_s)


def receive_once(
    means: ReadingMeans,
    buffer: ReceiveBuffer,
    asked: Question,
    watch: Watch,
    limit_s: float | None,
    *,
    read_only: bool,
    meanwhile: Callable[[], None] | None = None,
) -> CopyScan:
    """One attempt; ``read_only``: the server refuses what writes."""
    buffer.stop = 0
    with means.pool.lend(wait_s=asked.limit.timeout_s) as connection:
        statement = bound(connection, asked.sql, asked.params)
        deadline = Deadline(limit_s, means.address)
        watch.reads(statement, buffer)
        direct = means.direct and only_reads(asked.sql)
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
                before = asked.begin(deadline, read_only=read_only)
                fields = exchange.open(before, statement, transactions.END, meanwhile)
                return _received(means, exchange, fields, asked.options)
        except QueryError as error:
            told = gone(error, asked.snapshot)
            raise with_near_tables(connection, told) from error.__cause__


def _received(
    means: ReadingMeans, exchange: Exchange, fields: Sequence[Field], options: ReadOptions
) -> CopyScan:
    if not means.types.are_known(fields):
        exchange.pause()
        means.types.learn(exchange.connection, fields)
    return exchange.receive(means.types.columns(fields, options))
