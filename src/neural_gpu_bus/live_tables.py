"""The plane's face for live tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.arguments import check_seconds

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

        The first call copies the table and may take a while: ``progress`` is told its state now and
        then, and may raise to stop waiting. Later calls, of any process, find it. ``key``: columns
        that split it into partitions, ``order_by``: column that orders each. ``where``: a row
        filter, as SQL (PostgreSQL 15 and later). ``append_only``: follow inserts alone, for a table
        without a primary key.

        ``slot="persistent"``: PostgreSQL keeps what is committed while nobody follows, for this and
        all other live tables of the home, and tables go on from there instead of being copied anew.
        ``how``: by the stream, or, where logical replication is refused, for tables with a primary
        key, promising less: ``as_of.promise`` has it in words. ``"trigger"`` installs triggers that
        log keys of changed rows: equal as of each look, not at every commit. ``"poll"`` asks every
        ``poll_s`` for rows whose ``watermark`` rose, and every ``recopy_s`` for all: deletes, and
        changes that did not raise it or came over ``overlap_s`` late, are seen then alone.

        Who may open the memory folder can read what that role may read, whatever row security says.

        Raises ReplicationRefusedError with the SQL to run where the server or the table is not
        set up for it, UnsupportedTypeError, BadParameterError where a table of that name is live
        otherwise, StaleError after ``timeout_s``, DatasetNotFoundError where somebody drops it
        meanwhile. Then it is declared no more, unless others asked for it too.
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
    from neural_gpu_bus.live.becoming_live import BecomingLive

    check_seconds("timeout_s", timeout_s)
    becoming = BecomingLive(
        plane.live_view, plane.live_definitions, plane.attachment.follow, definition
    )
    becoming.wait(timeout_s, progress)
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
