"""Queries to columns: run, receive, decode into a reservation, seal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.ports import Columns, Reserve
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.connections.query_classes import QueryClass, QueryClassName
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading import transactions
from neural_gpu_bus.stores.postgres.reading.exchanges import exchange_on
from neural_gpu_bus.stores.postgres.reading.receive_buffer import ReceiveBuffer, ReceiveBuffers
from neural_gpu_bus.stores.postgres.reading.result_columns import ResultColumns
from neural_gpu_bus.stores.postgres.reading.statement import Params, bound, only_reads
from neural_gpu_bus.stores.postgres.reading.time_limits import TimeLimit, time_limit
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables

#: As of the settings.
HOT_TIMEOUT_S = 0.1
AS_THEY_COME = ReadOptions()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how long for."""

    sql: str
    params: Params
    limit: TimeLimit
    options: ReadOptions


class PostgresReader:
    """Reads queries into reserved memory; thread-safe.

    ``received_bytes_max``: largest reply. ``direct=False`` reads through libpq always.
    """

    def __init__(
        self,
        pool: Pool,
        reserve: Reserve,
        *,
        address: str,
        timeout_s: float,
        received_bytes_max: int,
        direct: bool = True,
        query_classes: Mapping[QueryClassName, QueryClass] | None = None,
    ) -> None:
        self._pool = pool
        self._reserve = reserve
        self._address = address
        self._classes = query_classes or {
            "hot": QueryClass("hot", HOT_TIMEOUT_S),
            "query": QueryClass("query", timeout_s),
            "load": QueryClass("load", None),
        }
        self._buffers = ReceiveBuffers(received_bytes_max)
        self._direct = direct
        self._types = ResultColumns(address)

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        query_class: QueryClassName = "query",
        timeout_s: float | None = None,
        name: str | None = None,
        options: ReadOptions = AS_THEY_COME,
        reserve: Reserve | None = None,
    ) -> Columns:
        """The statement's rows as sealed columns, named ``name`` where given.

        ``params``: values for ``%(name)s`` or ``%s``; without any, ``%`` means itself.
        ``reserve``: memory for this result, by default the reader's.
        Raises QueryError, UnsupportedTypeError, BadValueError, QueryTimeoutError,
        ServerUnreachableError and what reserving memory raises; nothing is left behind then.
        """
        limit = time_limit(self._classes[query_class], timeout_s)
        started_ns, source_ns = time.perf_counter_ns(), time.time_ns()
        with self._buffers.lend() as buffer, limit.named():
            scan = retried(
                partial(self._receive, buffer, Question(sql, params, limit, options)),
                timeout_s=limit.timeout_s,
            )
            reservation = write_columns(
                [ReceivedPart(buffer.bytes, scan)], reserve or self._reserve
            )
        reload_ns = time.perf_counter_ns() - started_ns
        return reservation.seal(name, reload_ns=reload_ns, source_ns=source_ns)

    def close(self) -> None:
        """Give the receive buffer back; the pool is its owner's."""
        self._buffers.close()

    def _receive(
        self, buffer: ReceiveBuffer, asked: Question, again: bool, left_s: float | None
    ) -> CopyScan:
        """One attempt; ``again``: an earlier one broke, and may have been carried out."""
        buffer.stop, limit = 0, asked.limit
        with self._pool.lend() as connection:
            statement = bound(connection, asked.sql, asked.params)
            deadline = Deadline(left_s if again else limit.timeout_s, self._address)
            before = transactions.begin(
                limit_ms=deadline.left_ms(),
                settings=limit.query_class.set_local(),
                read_only=again,
            )
            direct = self._direct and only_reads(statement)
            try:
                with exchange_on(
                    connection, buffer, self._address, deadline, direct=direct
                ) as exchange:
                    fields = exchange.open(before, statement, transactions.END)
                    if not self._types.are_known(fields):
                        exchange.pause()
                        self._types.learn(connection, fields)
                    return exchange.receive(self._types.columns(fields, asked.options))
            except QueryError as error:
                raise with_near_tables(connection, error) from error.__cause__
