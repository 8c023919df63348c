"""A table read by several connections on one snapshot, under a lock that holds off its change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import psycopg

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.stores.postgres.connections.deadline import Deadline
from neural_gpu_bus.stores.postgres.reading.exchange import transactions
from neural_gpu_bus.stores.postgres.reading.exchange.libpq_session import LibpqSession
from neural_gpu_bus.stores.postgres.reading.reading_means import ReadingMeans
from neural_gpu_bus.stores.postgres.reading.snapshots import (
    EXPORT,
    SERVER,
    Snapshot,
    gone,
    snapshot_id,
)
from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import HANDED_ON_PAGES_MAX
from neural_gpu_bus.stores.postgres.reading.table.side_by_side import SharedWork, SideBySide
from neural_gpu_bus.stores.postgres.reading.table.table_facts import (
    TableFacts,
    facts_statement,
    read_facts,
)
from neural_gpu_bus.stores.postgres.reading.table.table_plan import (
    TablePlan,
    plan_table,
)
from neural_gpu_bus.stores.postgres.reading.table.table_request import (
    ReceivedTable,
    TableLook,
    TableRequest,
)
from neural_gpu_bus.stores.postgres.reading.watching import Watch
from neural_gpu_bus.stores.postgres.wire.messages import Field

#: Every way gives rows in the order of the pages: no scan begins where another one is.
IN_ORDER: Final = b"SET LOCAL synchronize_seqscans = off; "
#: The leader waits for the others, however long the server lets a transaction be idle.
_LEADER: Final = IN_ORDER + b"SET LOCAL idle_in_transaction_session_timeout = 0; "


class SharedTableRead:
    """One such read. The leader's transaction exports the snapshot, or imports the caller's, holds
    the table's lock, and ends last.
    """

    def __init__(
        self,
        means: ReadingMeans,
        asked: TableRequest,
        look: TableLook,
        leader: psycopg.Connection,
        deadline: Deadline,
    ) -> None:
        self._means = means
        self._asked = asked
        self._look = look
        self._leader = leader
        self._deadline = deadline
        self._session = LibpqSession(leader, means.address, deadline)

    def receive(self, stack: ExitStack, started_ns: int) -> ReceivedTable | str:
        """All rows; or why there is no snapshot to share, the leader's connection clean. Raises
        what a query raises.
        """
        snapshot = self._open()
        if isinstance(snapshot, str):
            return snapshot
        table = self._asked.question.table
        facts = read_facts(self._session.run(facts_statement(table)), table)
        if facts.rewritten:
            raise _rewritten(facts.name, snapshot.id)
        plan = plan_table(
            facts,
            self._look.estimate,
            asked=self._asked.connections,
            cores=usable_cores(),
            connections_max=self._means.pool.statistics().connections_max,
            ordered=bool(self._asked.question.order_by),
            names_row=self._asked.question.names_row(),
            range_pages_max=HANDED_ON_PAGES_MAX if self._asked.batches else None,
        )
        work = self._work(facts, plan, snapshot)
        watch = Watch(
            self._means.pool,
            self._means.address,
            self._asked.progress,
            expected_rows=self._look.expected_rows,
        )
        side = SideBySide(
            work,
            self._means.address,
            self._deadline,
            direct=self._means.direct,
            tell=watch,
            cancelled=self._means.pool.count_cancelled,
            batches=self._asked.batches,
            rows_expected=self._look.expected_rows,
        )
        with self._means.pool.lend_free(plan.connections - 1) as others:
            sessions = [self._leader, *others]
            buffers = stack.enter_context(self._means.buffers.lend_several(len(sessions)))
            prepare_ns = time.perf_counter_ns() - started_ns
            parts = side.read(sessions, buffers)
        self._session.run(transactions.END)
        joined = len(sessions) - len(side.reasons)
        return ReceivedTable(
            parts=parts,
            connections=joined,
            ranges=len(work.statements),
            snapshot=snapshot.id,
            why_one=_why_one(plan, side.reasons) if joined == 1 else "",
            source_ns=snapshot.taken_ns,
            prepare_ns=prepare_ns,
        )

    def _open(self) -> Snapshot | str:
        """Begin, lock, and see one moment. The lock comes first: a table that is rewritten between
        the two would look empty.
        """
        given, limit_ms = self._asked.snapshot, self._deadline.left_ms()
        if given is None:
            settings = self._asked.limit.query_class.set_local() + _LEADER
            return self._export(transactions.begin_export(limit_ms=limit_ms, settings=settings))
        begin = self._begin_import(snapshot_id(given) or "", _LEADER + self._asked.lock_limit)
        try:
            [(server,)] = self._session.run(begin + self._lock(b"") + SERVER)
        except QueryError as error:
            raise gone(error, given) from error.__cause__
        taken_ns = given.taken_ns if isinstance(given, Snapshot) else 0
        return Snapshot(snapshot_id(given) or "", taken_ns, server or "")

    def _export(self, begin: bytes) -> Snapshot | str:
        taken_ns = time.time_ns()
        try:
            [(identity, server)] = self._session.run(begin + self._lock(b"") + EXPORT)
        except QueryError as error:
            self._session.run(transactions.END)
            return error.what
        return Snapshot(identity or "", taken_ns, server or "")

    def _begin_import(self, snapshot: str, settings: bytes) -> bytes:
        settings = self._asked.limit.query_class.set_local() + settings
        return transactions.begin(
            limit_ms=self._deadline.left_ms(), settings=settings, snapshot=snapshot
        )

    def _lock(self, how: bytes) -> bytes:
        """Of the table and all below it; nothing for what is read as a whole, whose statement
        takes its own.
        """
        if self._look.facts.why_whole:
            return b""
        name = self._look.facts.name.encode()
        return b"LOCK TABLE %s IN ACCESS SHARE MODE%s; " % (name, how)

    def _work(self, facts: TableFacts, plan: TablePlan, snapshot: Snapshot) -> SharedWork:
        question, where = self._asked.question, self._look.where
        whole = question.whole(where)
        fields = self._session.describe(whole)
        if not self._means.types.are_known(fields):
            self._means.types.learn(self._leader, fields)
        columns = self._means.types.columns(fields, self._asked.options)
        # Another session that waited behind a change of the table, which waits for the leader's
        # lock, would wait forever.
        join = self._begin_import(snapshot.id, IN_ORDER) + self._lock(b" NOWAIT") + SERVER
        return SharedWork(
            statements=self._statements(facts, plan, fields, whole),
            fields=fields,
            columns=columns,
            join=join,
            server=snapshot.server,
        )

    def _statements(
        self, facts: TableFacts, plan: TablePlan, fields: Sequence[Field], whole: bytes
    ) -> list[bytes]:
        if plan.ranges is None:
            return [whole]
        names = [field.name for field in fields]
        return [
            self._asked.question.part(
                facts.leaves[one.leaf].name,
                names,
                one,
                self._look.where,
                only=facts.has_children,
            )
            for one in plan.ranges
        ]


def _why_one(plan: TablePlan, reasons: Sequence[str]) -> str:
    if plan.connections == 1:
        return plan.why_one
    return reasons[0] if reasons else "no other connection was free"


def _rewritten(table: str, snapshot: str) -> QueryError:
    return QueryError(
        f"{table} was rewritten (TRUNCATE, ALTER TABLE, CLUSTER or VACUUM FULL) after snapshot "
        f"{snapshot} was taken, which may not show its rows",
        hint="take a new snapshot",
        sqlstate=None,
    )
