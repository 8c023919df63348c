"""Reading: queries, tables, streams and snapshots, decoded into reserved memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.ports import Columns, Progress, Reserve
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.connections.query_classes import QueryClass, QueryClassName
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart, write_columns
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading import snapshots
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffers
from neural_gpu_bus.stores.postgres.reading.expected_memory import ExpectedMemory, Shapes
from neural_gpu_bus.stores.postgres.reading.frame_stream import BATCH_ROWS, FrameStream
from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
from neural_gpu_bus.stores.postgres.reading.query_read import Question, receive_query
from neural_gpu_bus.stores.postgres.reading.read_report import ReadReport, ReadReports
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.result_columns import ResultColumns
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.reading.table.expecting import expected_rows
from neural_gpu_bus.stores.postgres.reading.table.in_order import (
    BatchProgress,
    InOrder,
    TakesBatches,
)
from neural_gpu_bus.stores.postgres.reading.table.table_read import hand_on_table, receive_table
from neural_gpu_bus.stores.postgres.reading.table.table_request import ReceivedTable, TableRequest
from neural_gpu_bus.stores.postgres.reading.table.table_statement import table_question
from neural_gpu_bus.stores.postgres.reading.time_limits import TimeLimit, time_limit
from neural_gpu_bus.stores.postgres.reading.watching import Watch

#: As of the settings.
HOT_TIMEOUT_S = 0.1
AS_THEY_COME = ReadOptions()


class PostgresReader:
    """Reads into reserved memory; thread-safe.

    ``received_bytes_max``: largest reply, of all connections of a read together. ``direct=False``
    reads through libpq always. ``query_classes``: by default of ``timeout_s``.
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
        self._means = ReadingMeans(
            pool=pool,
            reserve=reserve,
            address=address,
            buffers=ReceiveBuffers(received_bytes_max),
            types=ResultColumns(address, pool.lend),
            query_classes=query_classes
            or {
                "hot": QueryClass("hot", HOT_TIMEOUT_S),
                "query": QueryClass("query", timeout_s),
                "load": QueryClass("load", None),
            },
            direct=direct,
        )
        self._reports, self._shapes = ReadReports(), Shapes()

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        query_class: QueryClassName = "query",
        timeout_s: float | None = None,
        name: str | None = None,
        options: ReadOptions = AS_THEY_COME,
        snapshot: Snapshot | str | None = None,
        progress: Progress | None = None,
        reserve: Reserve | None = None,
    ) -> Columns:
        """The statement's rows as sealed columns, named ``name`` where given.

        ``params``: values for ``%(name)s`` or ``%s``; without any, ``%`` means itself.
        ``snapshot``: the moment to see. ``progress`` is told rows as they arrive, and may raise to
        end the read. ``reserve``: memory for this result, by default the reader's.
        Raises QueryError, UnsupportedTypeError, BadValueError, QueryTimeoutError,
        ServerUnreachableError and what reserving memory raises; nothing is left behind then.
        """
        limit = self.limit(query_class, timeout_s)
        started_ns, source_ns = time.perf_counter_ns(), _seen_ns(snapshot)
        means = self._means
        asked = Question(sql, params, limit, options, snapshot)
        watch = Watch(means.pool, means.address, progress)
        kind = (sql, str(options.numeric), options.texts)
        memory = ExpectedMemory(self._shapes, kind, reserve or means.reserve)
        with closing(memory), means.buffers.lend() as buffer, limit.named():
            scan = receive_query(means, buffer, asked, watch, memory)
            watch.end(scan.rows)
            reservation = memory.written(scan, buffer) or write_columns(
                [ReceivedPart(buffer.bytes, scan)], memory
            )
        reload_ns = time.perf_counter_ns() - started_ns
        return reservation.seal(name, reload_ns=reload_ns, source_ns=source_ns)

    def table(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Params = None,
        order_by: str | Sequence[str] | None = None,
        snapshot: Snapshot | str | None = None,
        connections: int | None = None,
        query_class: QueryClassName = "load",
        timeout_s: float | None = None,
        name: str | None = None,
        options: ReadOptions = AS_THEY_COME,
        progress: Progress | None = None,
    ) -> Columns:
        """A table's rows, read by several connections on one snapshot where it is large.

        Without ``order_by`` rows come in the order of the table's pages. ``connections``: how many
        to read by, by default as cores and table suggest. ``report`` tells how it was read; where
        several were expected and could not be, the log does too. Raises what ``query`` raises.
        """
        limit = self.limit(query_class, timeout_s)
        question = table_question(
            table, columns=columns, where=where, params=params, order_by=order_by
        )
        if connections is not None:
            check_whole_number("connections", connections, 1, "e.g. connections=2")
        asked = TableRequest(question, limit, options, snapshot, connections, progress)
        started_ns = time.perf_counter_ns()
        with ExitStack() as stack, limit.named():
            received = receive_table(self._means, asked, stack)
            received_ns = time.perf_counter_ns()
            reservation = write_columns(received.parts, self._means.reserve)
        decoded_ns = time.perf_counter_ns()
        result = reservation.seal(
            name, reload_ns=decoded_ns - started_ns, source_ns=received.source_ns
        )
        report = _report(str(question.table), received, started_ns, received_ns, decoded_ns)
        self._reports.keep(result, report)
        if progress is not None:
            progress(report.rows, report.rows)
        return result

    def hand_on(
        self,
        table: str,
        taker: TakesBatches,
        *,
        snapshot: Snapshot | str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        options: ReadOptions = AS_THEY_COME,
        progress: BatchProgress | None = None,
        reserve: Reserve | None = None,
    ) -> int:
        """Read a table as ``table`` does and hand its rows to ``taker``, batch by batch in the
        order of its pages, while more are received; how many. Few batches are in memory at once.

        A lost connection is tried again as long as nothing was taken. Raises what ``table`` and
        the taker raise.
        """
        limit = self.limit("load", None)
        question = table_question(table, columns=columns, where=where, params=None, order_by=None)
        memory, source_ns = reserve or self._means.reserve, _seen_ns(snapshot)

        def decoded(part: ReceivedPart) -> Columns:
            return write_columns([part], memory).seal(None, source_ns=source_ns)

        batches = InOrder(taker, decoded)

        def told(done: int, total: int | None) -> None:
            if progress is not None:
                progress(done, total, batches.nbytes)

        asked = TableRequest(question, limit, options, snapshot, None, told, batches)
        with limit.named():
            hand_on_table(self._means, asked, batches)
        told(batches.rows, batches.rows)
        return batches.rows

    def expected_rows(self, table: str, *, where: str | None = None) -> int | None:
        """About how many it has, as the server expects; None where it does not say so at once. The
        connections that reading it takes are open then.
        """
        question = table_question(table, columns=None, where=where, params=None, order_by=None)
        return expected_rows(self._means, question)

    def report(self, result: Columns) -> ReadReport | None:
        """How ``table`` read a result that is still there; None for what it did not read."""
        return self._reports.of(result)

    def stream(
        self,
        sql: str,
        params: Params = None,
        *,
        batch_rows: int = BATCH_ROWS,
        query_class: QueryClassName = "load",
        timeout_s: float | None = None,
        options: ReadOptions = AS_THEY_COME,
        snapshot: Snapshot | str | None = None,
        progress: Progress | None = None,
    ) -> FrameStream:
        """The statement's rows in batches of at most ``batch_rows``, of one snapshot.

        Raises what ``query`` raises, at once or while it is read.
        """
        asked = Question(sql, params, self.limit(query_class, timeout_s), options, snapshot)
        return FrameStream(self._means, asked, batch_rows=batch_rows, progress=progress)

    def snapshot(self, *, hold_s: float = snapshots.HOLD_S_MAX) -> AbstractContextManager[Snapshot]:
        """One moment for several reads; see ``snapshots.exported``."""
        return snapshots.exported(self._means.pool, self._means.address, hold_s)

    def close(self) -> None:
        """Give the receive buffers back; the pool is its owner's."""
        self._means.buffers.close()

    def limit(self, query_class: QueryClassName, timeout_s: float | None) -> TimeLimit:
        """The time of one read: that of its class, unless the caller gives one."""
        return time_limit(self._means.query_classes, query_class, timeout_s)


def _seen_ns(snapshot: Snapshot | str | None) -> int:
    """Moment just before what is seen was taken; 0 where only another process knows."""
    if snapshot is None:
        return time.time_ns()
    return snapshot.taken_ns if isinstance(snapshot, Snapshot) else 0


def _report(
    table: str, received: ReceivedTable, started_ns: int, received_ns: int, decoded_ns: int
) -> ReadReport:
    scans = [part.scan for part in received.parts]
    return ReadReport(
        table=table,
        rows=sum(scan.rows for scan in scans),
        bytes=sum(scan.position - scan.start for scan in scans),
        connections=received.connections,
        ranges=received.ranges,
        snapshot=received.snapshot,
        why_one=received.why_one,
        prepare_ms=received.prepare_ns / 1e6,
        receive_ms=(received_ns - started_ns - received.prepare_ns) / 1e6,
        decode_ms=(decoded_ns - received_ns) / 1e6,
    )
