"""The loop: what came of the stream, into the columns, visible in one step, acknowledged.

One thread reads the stream, applies and publishes; each copy has a thread of its own; another sends
status messages, so that neither a long transaction nor a long copy lets the server think that we
are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import structlog

from neural_gpu_bus.errors import NeuralGpuBusError, ReplicationError
from neural_gpu_bus.live.mirror.failpoints import failpoint
from neural_gpu_bus.live.mirror.followed_tables import FollowedTables
from neural_gpu_bus.live.shared.freshness import AskedPositions

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.means import MirrorMeans
    from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
    from neural_gpu_bus.stores.postgres.replication.transactions import StreamBatch
    from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

#: How long one look at the stream waits: what else is to do is done as often.
RECEIVE_S = 0.02
#: While somebody waits for a copy, which takes three steps of this loop.
RECEIVE_S_FOR_COPY = 0.004
#: How often the server is asked how far its WAL goes.
ASK_S = 0.1
#: A message wakes the server's process on a core that we may need (decision 018).
ACKNOWLEDGE_S = 0.1
#: After a lost connection; doubles.
PAUSE_S, PAUSE_S_MAX = 0.2, 10.0

_log = structlog.get_logger(__name__)

#: Moment and position of the server's WAL; what it shows, if that was asked.
_Answer: TypeAlias = "tuple[tuple[int, int], VisibleTransactions | None]"


class Mirror:
    """Follows the tables of one home until ``stop`` says so or nothing is live any more."""

    def __init__(
        self, means: MirrorMeans, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._means = means
        self._clock_s = clock_s
        self._tables = FollowedTables(means, clock_s)
        self._asked = AskedPositions()
        self._asker = ThreadPoolExecutor(1, thread_name_prefix="ngb-ask")
        self._asking: Future[_Answer] | None = None
        self._next_ask_s = self._next_look_s = self._next_acknowledge_s = 0.0
        self._next_reconcile_s = 0.0
        self._position = 0
        #: Where the stream began: transactions that were committed before are in the columns.
        self._begun_at = 0
        #: Applied and not published.
        self._changes = 0

    def run(self, stop: Callable[[], bool]) -> None:
        """Raises SeriesBusyError where another process follows this home's tables."""
        pause_s = PAUSE_S
        while not stop() and self._tables.reconcile():
            try:
                self._means.source.prepare(self._tables.sources)
                with self._means.source.open_stream() as session:
                    self._begin(session)
                    pause_s = PAUSE_S
                    self._follow(session, stop)
            except NeuralGpuBusError as error:
                self._lose(error, pause_s)
                self._wait(pause_s, stop)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        self._tables.close()
        self._asker.shutdown()

    def _begin(self, session: StreamSession) -> None:
        source = self._means.source
        failpoint("before slot")
        continuing, tables = self._means.continuing, self._tables
        begun = continuing.begin(session, tables.going_on.wants_persistent, tables.tell_waiting)
        failpoint("after slot")
        self._asked.forget()
        self._asking = None
        self._position = self._begun_at = begun.position
        tables.go_on(begun)
        tables.begin()
        failpoint("before streaming")
        session.start(begun.slot, begun.position, source.publications.both)
        continuing.check(session, begun)
        self._means.state.beat(begun.position)

    def _follow(self, session: StreamSession, stop: Callable[[], bool]) -> None:
        while not stop():
            batch, copies = None, self._tables.any_copy
            receive_s = RECEIVE_S_FOR_COPY if copies else RECEIVE_S
            if self._tables.read_on:
                batch = session.receive(receive_s)
            else:
                time.sleep(receive_s)
            if batch is not None:
                self._take(batch)
            self._means.state.beat(session.received_lsn)
            self._collect()
            self._confirm()
            self._acknowledge(session, idle=batch is None and not copies)
            if not self._are_tables(idle=batch is None):
                return
            wanted = self._tables.going_on.wants_persistent
            if wanted and not self._means.continuing.is_persistent:
                raise _kept_from_now_on()

    def _are_tables(self, *, idle: bool) -> bool:
        """Whether any is declared; looked at as often as a declaration may wait."""
        now_s = self._clock_s()
        if not idle and now_s < self._next_reconcile_s:
            return True
        self._next_reconcile_s = now_s + RECEIVE_S
        return self._tables.reconcile()

    def _acknowledge(self, session: StreamSession, *, idle: bool) -> None:
        """Not with every batch: a message takes both sides as long as a row."""
        now_s = self._clock_s()
        if idle or now_s >= self._next_acknowledge_s:
            self._next_acknowledge_s = now_s + ACKNOWLEDGE_S
            session.acknowledge(self._position)

    # ---- one batch

    def _take(self, batch: StreamBatch) -> None:
        tables = self._tables
        if batch.transactions and batch.transactions[0].final_lsn < self._begun_at:
            self._leave_out(batch)
        self._changes += tables.take(batch)
        last = batch.transactions[-1] if batch.transactions else None
        if last is not None and not last.ends:
            return  # a part of a large one: it waits in the columns, where nobody sees it
        position = max(self._position, batch.end_lsn)
        committed_ns = last.committed_ns if last is not None else 0
        if self._changes:
            failpoint("before publish")
            self._means.room.writer.publish(position, committed_ns)
            self._changes = 0
        self._position = position
        self._means.state.applied(position, committed_ns)
        failpoint("before acknowledgement")

    def _leave_out(self, batch: StreamBatch) -> None:
        """Of a stream that goes on: the server leaves these out by itself, as it is asked to."""
        batch.transactions[:] = [
            one for one in batch.transactions if one.final_lsn >= self._begun_at
        ]

    def _collect(self) -> None:
        """Copies that are there, and versions that readers may see from now on."""
        if self._tables.collect(self._position):
            self._means.state.applied(self._position)

    def _confirm(self) -> None:
        now_s, asking = self._clock_s(), self._asking
        if asking is not None and asking.done():
            self._asking = None
            position, visible = asking.result()
            self._asked.asked(*position)
            if visible is not None:
                self._means.changes.seen(visible)
        if self._asking is None and now_s >= self._next_ask_s:
            self._next_ask_s = now_s + ASK_S
            # Beside the stream: a commit that comes meanwhile does not wait for the answer.
            self._asking = self._asker.submit(self._ask, visible=self._means.changes.waits)
        confirmed_ns = self._tables.confirmed(self._asked.confirmed_by(self._position))
        if confirmed_ns:
            self._means.state.confirmed(confirmed_ns)
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + self._tables.look()
            self._means.continuing.watch()

    def _ask(self, *, visible: bool) -> _Answer:
        """In a thread of its own."""
        source = self._means.source
        return source.position(), source.visible() if visible else None

    # ---- a lost stream

    def _lose(self, error: NeuralGpuBusError, pause_s: float) -> None:
        _log.warning("the stream of changes is lost", reason=str(error))
        self._means.continuing.lose(error, self._position)
        self._tables.lose(error, pause_s)
        self._changes = 0

    def _wait(self, pause_s: float, stop: Callable[[], bool]) -> None:
        end_s = self._clock_s() + pause_s
        while self._clock_s() < end_s and not stop() and not self._tables.asked_again:
            time.sleep(RECEIVE_S)


def _kept_from_now_on() -> ReplicationError:
    return ReplicationError(
        "a table asks for a persistent slot, and the stream has a temporary one",
        hint="nothing is to be done: tables are copied again, once",
        slot="",
        sqlstate="",
    )
