"""All tables of a home that are asked for: a thread with a group of series of its own.

look -> what changed in one snapshot -> merged -> published in one step -> told -> log emptied
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import structlog
from psycopg import errors

from neural_gpu_bus.error_records import to_record
from neural_gpu_bus.errors import (
    DatasetNotFoundError,
    NeuralGpuBusError,
    ServerError,
    UsageError,
)
from neural_gpu_bus.live.applying.refused_values import in_live_words
from neural_gpu_bus.live.asking import trigger_log
from neural_gpu_bus.live.asking.asked_table import AskedTable
from neural_gpu_bus.live.mirror.group import ASKED_GROUP, ASKED_MARK
from neural_gpu_bus.live.shared.manifest import TableState

if TYPE_CHECKING:
    import psycopg

    from neural_gpu_bus.live.asking.asked_database import AskedDatabase, Look
    from neural_gpu_bus.live.definitions import LiveDefinition, LiveDefinitions
    from neural_gpu_bus.live.shared.manifest import LiveTableState
    from neural_gpu_bus.live.shared.state import LiveState
    from neural_gpu_bus.memory.growing import GrowingColumns
    from neural_gpu_bus.memory.series.writer import SeriesWriter

#: How long one wait for a notification lasts: declarations are looked at as often.
WAIT_S = 0.1
#: After notifications: those that come meanwhile are taken together.
GATHER_S = 0.005
#: After an attempt that failed; doubles.
RETRY_S, RETRY_S_MAX = 1.0, 30.0
#: What dropped tables left on the server is looked for so often.
CLEAN_S = 30.0

_log = structlog.get_logger(__name__)


class _StoppedError(Exception):
    """The process ends."""


class AskedTables:
    """Runs from ``with`` on; ``any`` says whether there is something to do."""

    def __init__(
        self,
        database: AskedDatabase,
        growing: GrowingColumns,
        state: LiveState,
        definitions: LiveDefinitions,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._growing, self._state = database, growing, state
        self._definitions, self._clock_s = definitions, clock_s
        self._writer: SeriesWriter | None = None
        self._tables: dict[str, AskedTable] = {}
        self._token: object = None
        self._session = 0
        self._clean_at_s, self._clean_wait_s = 0.0, RETRY_S
        #: Whether nothing of dropped tables is there any more; or may not be taken away.
        self._is_clean = self._may_not = False
        self._notified = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ngb-asking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def any(self) -> bool:
        """Whether a declared table is asked for, or something is to be taken away."""
        if not self._thread.is_alive():
            return False
        is_known = self._token == self._definitions.token() and (self._is_clean or self._may_not)
        return bool(not is_known or self._tables)

    @property
    def is_clean(self) -> bool:
        """Whether nothing that dropped tables had is on the server any more."""
        return self._token == self._definitions.token() and self._is_clean

    def _wanted(self) -> dict[str, LiveDefinition]:
        found = self._definitions.all()
        return {name: one for name, one in found.items() if one.how != "stream"}

    # ---- the loop

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                with suppress(_StoppedError):
                    self._turn()
            self._leave()
        finally:
            self._database.close()
            if self._writer is not None:
                self._writer.close()

    def _leave(self) -> None:
        """The process ends, and may have been told to just as the last table was dropped."""
        with suppress(NeuralGpuBusError):
            self._reconcile()
            if not self._tables:
                self._clean()

    def _turn(self) -> None:
        try:
            self._reconcile()
            self._clean()
            if self._tables:
                self._round()
                self._notified = self._database.wait(WAIT_S)
                if self._notified:
                    self._ended.wait(GATHER_S)
            else:
                self._ended.wait(WAIT_S)
        except NeuralGpuBusError as error:
            self._database.close()
            self._lost(error)
            self._ended.wait(RETRY_S)

    def _reconcile(self) -> None:
        token = self._definitions.token()
        if token == self._token:
            return
        wanted = self._wanted()
        for name, table in list(self._tables.items()):
            now = wanted.get(name)
            if now is None or not now.is_same(table.definition):
                self._drop(name)
        for name, state in self._state.tables.items():
            if state.how != "stream" and name not in wanted:
                self._state.drop_table(name)  # of the process before
        for name, definition in wanted.items():
            if name not in self._tables:
                self._tables[name] = AskedTable(definition, self._last_version(name))
                self._tell(self._tables[name], "starting")
            self._tables[name].next_s = 0.0
        self._clean_at_s, self._clean_wait_s = 0.0, RETRY_S
        self._is_clean = self._may_not = False
        self._token = token

    def _drop(self, name: str) -> None:
        self._tables.pop(name)
        if name not in self._definitions.all() or self._definitions.all()[name].how != "stream":
            self._state.drop_table(name)
        self._forget(name, keep="")

    def _clean(self) -> None:
        """Take away what is on the server and belongs to no table that is asked for."""
        now_s = self._clock_s()
        if now_s < self._clean_at_s or ((self._is_clean or self._may_not) and not self._tables):
            return
        self._clean_at_s = now_s + CLEAN_S
        home = self._database.home
        wanted = [one.log_name(home) for one in self._tables.values() if one.is_logged]
        try:
            with self._database.connected() as connection:
                trigger_log.clean(connection, home, wanted)
            self._is_clean, self._may_not = True, False
        except NeuralGpuBusError as error:
            self._is_clean, self._may_not = False, isinstance(error, UsageError)
            self._clean_at_s = now_s + self._clean_wait_s
            self._clean_wait_s = min(2 * self._clean_wait_s, RETRY_S_MAX)
            _log.warning("triggers of dropped tables are still there", reason=str(error))
        if not self._tables:
            self._database.close()

    def _round(self) -> None:
        """All tables that are due, as of one snapshot."""
        now_s, database = self._clock_s(), self._database
        with database.connected() as connection:
            if database.session != self._session:
                self._session = database.session
                for table in self._tables.values():  # the server may be another
                    table.applied = None
            due = [one for one in self._tables.values() if self._is_due(one, now_s)]
            ready = [one for one in due if self._prepared(one, connection)]
        if ready:
            with database.look() as look:
                done = self._steps(ready, look)
                if done:
                    self._publish(done, look)
            self._consume(done, look)
        self._state.beat()

    def _is_due(self, table: AskedTable, now_s: float) -> bool:
        notified = self._notified and table.definition.how == "trigger" and not table.failures
        return now_s >= table.next_s or notified

    def _prepared(self, table: AskedTable, connection: psycopg.Connection) -> bool:
        try:
            table.prepare(connection, self._database)
        except errors.LockNotAvailable:
            self._tell(table, "waiting", "waiting for transactions that change the table")
            table.next_s = self._clock_s() + RETRY_S
            return False
        except (NeuralGpuBusError, errors.Error) as error:
            self._fail(table, _told(error, connection))
            return False
        return True

    def _steps(self, ready: list[AskedTable], look: Look) -> list[tuple[AskedTable, int]]:
        done: list[tuple[AskedTable, int]] = []
        for table in ready:
            try:
                done.append((table, self._step(table, look)))
            except (NeuralGpuBusError, errors.Error) as error:
                self._open_writer().discard()
                for one in ready:
                    one.lose()
                self._fail(table, _told(error, look.connection))
                return []
        return done

    def _step(self, table: AskedTable, look: Look) -> int:
        definition, now_s = table.definition, self._clock_s()

        def copying(reason: str, done: int, expected: int) -> None:
            if self._ended.is_set():
                raise _StoppedError
            self._state.beat()
            if done == 0:
                self._tell(table, "copying anew" if reason else "copying", reason)
            self._state.count(definition.name, rows_copied=done, rows_expected=expected)

        anew = definition.how == "poll" and now_s >= table.recopy_at_s
        make = self._growing, self._open_writer()
        changed = table.step(look, self._database, make, copying, anew=anew)
        table.next_s = now_s + definition.poll_s
        return changed

    def _publish(self, done: list[tuple[AskedTable, int]], look: Look) -> None:
        if any(changed for _, changed in done) or any(not one.is_shown for one, _ in done):
            self._open_writer().publish(look.lsn)
        for table, changed in done:
            definition = table.definition
            name, lsn = definition.name, look.lsn if definition.how == "trigger" else 0
            is_new = table.settle()
            self._state.shown(name, lsn, look.at_ns)
            self._state.count(name, changes=0 if is_new else changed)
            if is_new or not table.is_shown:
                table.recopy_at_s = self._clock_s() + definition.recopy_s
                self._tell(table, "polled")
                self._forget(name, keep=table.series)
            table.failures = 0

    def _consume(self, done: list[tuple[AskedTable, int]], look: Look) -> None:
        snapshot = str(look.visible)
        with self._database.connected() as connection:
            for table, changed in done:
                if changed:
                    table.consume(connection, snapshot)

    # ---- what is told

    def _fail(self, table: AskedTable, error: NeuralGpuBusError) -> None:
        error = in_live_words(error, table.definition)
        table.failures += 1
        wait_s = min(RETRY_S * 2 ** (table.failures - 1), RETRY_S_MAX)
        table.next_s = self._clock_s() + wait_s
        table.applied = None
        _log.warning("a table cannot be followed", table=table.definition.name, reason=str(error))
        self._tell(table, "failed", str(error).partition("\n")[0], error)

    def _lost(self, error: NeuralGpuBusError) -> None:
        _log.warning("PostgreSQL cannot be asked", reason=str(error))
        if self._writer is not None:
            self._writer.discard()
        for table in self._tables.values():
            table.lose()
            table.applied, table.next_s = None, 0.0
            self._tell(table, "stale", str(error).partition("\n")[0])

    def _tell(
        self,
        table: AskedTable,
        state: LiveTableState,
        detail: str = "",
        error: NeuralGpuBusError | None = None,
    ) -> None:
        definition = table.definition
        table.is_shown = state == "polled"
        told = TableState(
            definition.name,
            table.series if table.is_shown else "",
            state,
            detail,
            error=None if error is None else to_record(error),
            added_ns=definition.added_ns,
            how=definition.how,
            poll_s=definition.poll_s,
        )
        self._state.set_table(told)

    # ---- series

    def _open_writer(self) -> SeriesWriter:
        if self._writer is None:
            self._writer = self._growing.writer(ASKED_GROUP, make=True)
        return self._writer

    def _versions(self, name: str) -> dict[str, int]:
        with suppress(DatasetNotFoundError):
            mark = f"{name}@{ASKED_MARK}"
            found = self._growing.names(ASKED_GROUP)
            return {one: int(one[len(mark) :]) for one in found if _is_version(one, mark)}
        return {}

    def _last_version(self, name: str) -> int:
        return max(self._versions(name).values(), default=0)

    def _forget(self, name: str, *, keep: str) -> None:
        """Empty all versions but one, and take away those that are."""
        for found in self._versions(name):
            if found != keep:
                with suppress(DatasetNotFoundError):
                    if not self._open_writer().remove(found):
                        self._open_writer().truncate(found)


def _is_version(series: str, mark: str) -> bool:
    return series.startswith(mark) and series[len(mark) :].isdigit()


def _told(error: Exception, connection: psycopg.Connection) -> NeuralGpuBusError:
    """As an error of one table; raises it where the connection is gone."""
    if isinstance(error, NeuralGpuBusError):
        return error
    if connection.closed or connection.broken:
        raise error
    return ServerError(
        f"PostgreSQL refused to tell what changed: {str(error).strip()[:300]}",
        hint="it is tried again; `ngb live show` tells how it stands",
    )
