"""A table to received rows: looked at first, then read in ranges on one snapshot, or by one
statement.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Final

import psycopg
import structlog

from neural_gpu_bus.errors import QueryError, ServerUnreachableError
from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.connections.retrying import retried
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.exchanges import cancelled_on_error
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.query_read import Question, receive_once
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.result_size import Estimate, check_size
from neural_gpu_bus.stores.postgres.reading.statement import bound
from neural_gpu_bus.stores.postgres.reading.table.in_order import InOrder
from neural_gpu_bus.stores.postgres.reading.table.shared_table_read import (
    IN_ORDER,
    SharedTableRead,
)
from neural_gpu_bus.stores.postgres.reading.table.table_facts import (
    TableFacts,
    facts_statement,
    read_facts,
)
from neural_gpu_bus.stores.postgres.reading.table.table_plan import (
    is_large,
    plan_table,
)
from neural_gpu_bus.stores.postgres.reading.table.table_request import (
    ReceivedTable,
    TableLook,
    TableRequest,
)
from neural_gpu_bus.stores.postgres.reading.watching import Watch, ask_estimate
from neural_gpu_bus.stores.postgres.tables.near_names import with_near_tables

#: Of a reply's limit; a table whose pages are fewer bytes need not be asked about.
_ASK_ABOVE_PART: Final = 4
_PAGE_BYTES: Final = 8192

#: The same warning is not said again for that long.
WARN_S: Final = 60.0
WARNINGS_MAX: Final = 1000

_log = structlog.get_logger(__name__)


def receive_table(means: ReadingMeans, asked: TableRequest, stack: ExitStack) -> ReceivedTable:
    """All its rows; buffers stay lent until ``stack`` ends. It writes nothing, so a lost
    connection is tried again within limits. Raises what a query raises.
    """

    def attempt(again: bool, left_s: float | None) -> ReceivedTable:
        if again:
            means.pool.begin_anew()
        limit_s = left_s if again else asked.limit.timeout_s
        with ExitStack() as attempted:  # an attempt that failed keeps no buffers
            received = _TableRead(means, asked, limit_s).receive(attempted)
            stack.push(attempted.pop_all())
        return received

    return retried(attempt, timeout_s=asked.limit.timeout_s)


def hand_on_table(means: ReadingMeans, asked: TableRequest, batches: InOrder) -> ReceivedTable:
    """The same in batches as they come, of a snapshot that was given; a lost connection is tried
    again before the first one was handed on. Raises what decoding and the taker raise, too.
    """
    assert asked.snapshot is not None  # noqa: S101  without one a table may be read as a whole

    def attempt(again: bool, left_s: float | None) -> ReceivedTable:
        if again:
            means.pool.begin_anew()
        limit_s = left_s if again else asked.limit.timeout_s
        batches.restart()
        try:
            with ExitStack() as attempted:
                return _TableRead(means, asked, limit_s).receive(attempted)
        except ServerUnreachableError as error:
            if batches.begun:
                raise _LostError(error) from error
            raise

    try:
        return retried(attempt, timeout_s=asked.limit.timeout_s)
    except _LostError as lost:
        raise lost.error from lost.error.__cause__


class _LostError(Exception):
    """In the middle of rows that were handed on: not to be tried again."""

    def __init__(self, error: ServerUnreachableError) -> None:
        super().__init__(str(error))
        self.error = error


class WarnedOf:
    """What was said in the last ``WARN_S``; many threads that read one table say it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said_s: dict[tuple[str, str], float] = {}

    def is_new(self, key: tuple[str, str], now_s: float) -> bool:
        """Whether it is to be said; it counts as said then."""
        with self._lock:
            if now_s - self._said_s.get(key, -WARN_S) < WARN_S:
                return False
            if len(self._said_s) >= WARNINGS_MAX:
                self._said_s.clear()
            self._said_s[key] = now_s
            return True


_warnings = WarnedOf()


class _TableRead:
    """One attempt."""

    def __init__(self, means: ReadingMeans, asked: TableRequest, limit_s: float | None) -> None:
        self._means = means
        self._asked = asked
        self._limit_s = limit_s
        self._started_ns = time.perf_counter_ns()

    def receive(self, stack: ExitStack) -> ReceivedTable:
        means, asked = self._means, self._asked
        with means.pool.lend(wait_s=asked.limit.timeout_s) as leader, cancelled_on_error(leader):
            deadline = Deadline(self._limit_s, means.address)
            session = LibpqSession(leader, means.address, deadline)
            look = self._look(leader, session, deadline)
            plan = plan_table(
                look.facts,
                look.estimate,
                asked=asked.connections,
                cores=usable_cores(),
                connections_max=means.pool.statistics().connections_max,
                ordered=bool(asked.question.order_by),
                names_row=asked.question.names_row(),
            )
            why_one, received = plan.why_one, None
            if plan.connections > 1 or asked.snapshot is not None:
                shared = SharedTableRead(means, asked, look, leader, deadline)
                received = shared.receive(stack, self._started_ns)
                why_one = received if isinstance(received, str) else received.why_one
            if why_one and (plan.connections > 1 or plan.expected_more):
                self._warn(why_one)
            if isinstance(received, ReceivedTable):
                return received
        return self._alone(stack, look, why_one)

    def _warn(self, why_one: str) -> None:
        if not _warnings.is_new((str(self._asked.question.table), why_one), time.monotonic()):
            return
        _log.warning(
            "a table is read by one connection", table=str(self._asked.question.table), why=why_one
        )

    def _look(
        self, leader: psycopg.Connection, session: LibpqSession, deadline: Deadline
    ) -> TableLook:
        question = self._asked.question
        where = bound(leader, question.where, question.params).decode() if question.where else ""
        begin = transactions.begin(
            limit_ms=deadline.left_ms(), read_only=True, settings=self._asked.lock_limit
        )
        try:
            facts = read_facts(
                session.run(begin + facts_statement(question.table) + transactions.COMMIT),
                question.table,
            )
            estimate = self._estimate(session, facts, where, begin)
        except QueryError as error:
            session.run(b"ROLLBACK")
            raise with_near_tables(leader, error) from error.__cause__
        if estimate is not None:
            check_size(estimate, self._means.buffers.bytes_max)
        return TableLook(facts, where, estimate)

    def _estimate(
        self, session: LibpqSession, facts: TableFacts, where: str, begin: bytes
    ) -> Estimate | None:
        """The planner's, where it may matter: by which way a condition is read, how much comes."""
        large_reply = facts.pages * _PAGE_BYTES > self._means.buffers.bytes_max // _ASK_ABOVE_PART
        if not large_reply and not (where and is_large(facts)):
            return None
        session.run(begin + IN_ORDER)
        estimate = ask_estimate(session, self._asked.question.whole(where))
        session.run(b"COMMIT")
        return estimate

    def _alone(self, stack: ExitStack, look: TableLook, why_one: str) -> ReceivedTable:
        means, asked = self._means, self._asked
        [buffer] = stack.enter_context(means.buffers.lend_several(1))
        watch = Watch(means.pool, means.address, asked.progress, expected_rows=look.expected_rows)
        question = Question(
            asked.question.whole(look.where).decode(),
            None,
            asked.limit,
            asked.options,
            settings=IN_ORDER,
        )
        prepare_ns = time.perf_counter_ns() - self._started_ns
        source_ns = time.time_ns()
        scan = receive_once(means, buffer, question, watch, self._limit_s, read_only=True)
        return ReceivedTable(
            parts=[ReceivedPart(buffer.bytes, scan)],
            connections=1,
            ranges=1,
            snapshot="",
            why_one=why_one,
            source_ns=source_ns,
            prepare_ns=prepare_ns,
        )
