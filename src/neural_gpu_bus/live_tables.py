"""The plane's face for live tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.arguments import check_seconds
from neural_gpu_bus.error_records import from_record
from neural_gpu_bus.errors import StaleError

if TYPE_CHECKING:
    from neural_gpu_bus import embedded
    from neural_gpu_bus.live.definitions import How, LiveDefinition, LiveDefinitions, Slot
    from neural_gpu_bus.live.live_table import LiveTable
    from neural_gpu_bus.live.shared import LiveView, TableState
    from neural_gpu_bus.live.sql import LiveSql
    from neural_gpu_bus.memory import Frame, UnifiedMemory
    from neural_gpu_bus.settings import Settings

#: How long the first copy may take.
LIVE_S_MAX = 600.0
#: How often counters are looked at while nothing else is told, and how often whether it is.
_LOOK_S, _PAUSE_S = 0.02, 0.001


class Plane(Protocol):
    """What is needed of the plane."""

    settings: Settings

    @property
    def memory(self) -> UnifiedMemory: ...  # noqa: D102
    @property
    def live_view(self) -> LiveView: ...  # noqa: D102
    @property
    def live_definitions(self) -> LiveDefinitions: ...  # noqa: D102
    @property
    def attachment(self) -> embedded.Attachment: ...  # noqa: D102
    @property
    def live_sql(self) -> LiveSql: ...  # noqa: D102


class LiveTables:
    """``live`` and what belongs to it."""

    def live(
        self: Plane,
        table: str,
        *,
        key: Sequence[str] = (),
        order_by: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        name: str | None = None,
        append_only: bool = False,
        slot: Slot = "temporary",
        how: How = "stream",
        watermark: str | None = None,
        poll_s: float = 1.0,
        recopy_s: float = 3600.0,
        overlap_s: float = 5.0,
        timeout_s: float = LIVE_S_MAX,
        progress: Callable[[TableState], object] | None = None,
    ) -> LiveTable:
        """The table as columns that follow every commit, shared by all processes of the host.

        The first call copies the table and may take a while: ``progress`` is told its state every
        now and then, and may raise to stop waiting. Later calls, of any process, find it.
        ``key``: columns that split it into partitions, ``order_by``: column that orders the rows
        of one. ``where``: a row filter, as SQL (PostgreSQL 15 and later). ``append_only``: follow
        inserts alone, for a table without a primary key.

        ``slot="persistent"``: PostgreSQL keeps what is committed while nobody follows, for this and
        all other live tables of the home, and tables go on from there instead of being copied anew.
        ``how``: by the stream, or, where logical replication is refused, for tables with a primary
        key, promising less: ``as_of.promise`` has it in words. ``"trigger"`` installs triggers that
        log keys of changed rows: equal as of each look, not at every commit. ``"poll"`` asks every
        ``poll_s`` for rows whose ``watermark`` rose, and every ``recopy_s`` for all: deletes, and
        changes that did not raise it or came over ``overlap_s`` late, are seen then alone.

        Whoever may open the memory folder can read what the replicating role may read, row-level
        security or not.

        Raises ReplicationRefusedError with the SQL to run where the server or the table is not
        set up for it, UnsupportedTypeError, BadParameterError where a table of that name is live
        otherwise, StaleError where it takes longer than ``timeout_s``.
        """
        from neural_gpu_bus.live.definitions import live_definition

        definition = live_definition(
            table,
            name=name,
            key=key,
            order_by=order_by,
            columns=columns,
            where=where,
            append_only=append_only,
            slot=slot,
            how=how,
            watermark=watermark,
            poll_s=poll_s,
            recopy_s=recopy_s,
            overlap_s=overlap_s,
        )
        return _followed(self, definition, timeout_s, progress)

    def sql(
        self: Plane,
        statement: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        max_lag_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Frame:
        """One SELECT over live tables, answered in this process by DuckDB, which copies no rows.

        All tables of the statement are seen as of one position, ``frame.as_of``. Values are
        written ``$name`` and come from a mapping, or ``?`` from a sequence. It sees live tables,
        and no file, network or variable. ``/`` between whole numbers, and NULLs in ORDER BY, are as
        in PostgreSQL; all else is as DuckDB has it. ``max_lag_s``: as for a live table.
        ``timeout_s``: by default as ``query``. The answer is in this process's own memory.

        Raises StaleError where its tables are not at one position, DatasetNotFoundError for what
        is no live table, QueryError, QueryTimeoutError, HostError where memory is short, and
        MissingDependencyError without DuckDB.
        """
        limit_s = self.settings.query_timeout_s if timeout_s is None else timeout_s
        return self.live_sql.answer(statement, params, max_lag_s=max_lag_s, timeout_s=limit_s)

    def drop_live(self: Plane, name: str) -> None:
        """Follow it no more. Views of its rows stay. Raises DatasetNotFoundError."""
        self.live_definitions.drop(name)
        self.attachment.follow()

    def live_states(self: Plane) -> dict[str, TableState]:
        """All live tables, by name, as the process that follows them tells."""
        return self.live_view.tables()


def _followed(
    plane: Plane,
    definition: LiveDefinition,
    timeout_s: float,
    progress: Callable[[TableState], object] | None,
) -> LiveTable:
    """Once it is live; what was declared is taken back where that fails."""
    check_seconds("timeout_s", timeout_s)
    definition, is_new = plane.live_definitions.add(definition)
    plane.attachment.follow()
    try:
        _wait_live(plane.live_view, definition, timeout_s, progress)
    except BaseException:
        if is_new:
            plane.live_definitions.drop(definition.name)
        raise
    return live_table(plane, definition.name)


def live_table(plane: Plane, name: str) -> LiveTable:
    """The live table of that name; whether there is one is asked when it is read."""
    from neural_gpu_bus.live.live_table import LiveTable
    from neural_gpu_bus.live.mirror.group import group_of

    growing = plane.memory.growing
    return LiveTable(
        name,
        plane.live_view,
        lambda series: growing.series(series, None, (), None, group_of(series)),
    )


def _wait_live(
    view: LiveView,
    definition: LiveDefinition,
    timeout_s: float,
    progress: Callable[[TableState], object] | None,
) -> None:
    """Return once it is live. Raises what it failed with, where it never was whole.

    What is told of one that had the name before, and is about to go, does not count.
    """
    name = definition.name
    end_s, asked_ns = time.monotonic() + timeout_s, time.time_ns()
    while True:
        view.look_again()
        epoch, state = view.epoch, view.counted(name)
        if state is not None and state.added_ns != definition.added_ns:
            state = None
        if state is not None:
            if state.state in {"live", "polled"}:
                return
            failed = state.state == "failed" and state.since_ns >= asked_ns
            if failed and state.error is not None:
                raise from_record(state.error)
            if progress is not None:
                progress(state)
        if time.monotonic() > end_s:
            why = view.why_not_live(name if state is not None else "")
            raise StaleError(
                f"live table {name!r} is not live after {timeout_s:g} s: {why}",
                hint="wait longer (timeout_s=), or see `ngb live list` and the log of the home",
                table=name,
                why=why,
                timeout_s=timeout_s,
            )
        _wait_told(view, epoch)


def _wait_told(view: LiveView, epoch: int) -> None:
    """Until another thing is told, and not for long."""
    end_s = time.monotonic() + _LOOK_S
    while view.epoch == epoch and time.monotonic() < end_s:
        time.sleep(_PAUSE_S)
