"""Tables: the part of ``DataPlane`` that reads from PostgreSQL and writes to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from neural_gpu_bus.arguments import check_seconds, check_text
from neural_gpu_bus.errors import BadParameterError, ServerError
from neural_gpu_bus.memory import Frame, check_given_name

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import StoreReceipt
    from neural_gpu_bus.ports import Progress, Reserve
    from neural_gpu_bus.query_cache import QueryCache, QueryExplanation
    from neural_gpu_bus.stores.postgres import (
        Acknowledgement,
        LoadReport,
        Mode,
        PostgresStore,
        WriteBehind,
        WriteBehindMode,
    )
    from neural_gpu_bus.traditional import EventBus

#: Topic on the market-data bus that says that a table has new rows.
TABLES_TOPIC = "tables"

_log = structlog.get_logger(__name__)


class Plane(Protocol):
    """What a plane has besides."""

    @property
    def database(self) -> PostgresStore: ...  # noqa: D102

    @property
    def query_cache(self) -> QueryCache: ...  # noqa: D102

    @property
    def write_behind(self) -> WriteBehind: ...  # noqa: D102

    @property
    def market_data(self) -> EventBus: ...  # noqa: D102


class Tables:
    """PostgreSQL's tables as columns, and columns as tables."""

    def query(
        self: Plane,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        timeout_s: float | None = None,
        name: str | None = None,
        freshness: float | str | None = None,
    ) -> Frame:
        """Read a SELECT's result into a block of shared memory.

        Values are written ``%(name)s`` in the statement and come from ``params``, never pasted.
        With ``name`` the result also becomes that dataset's newest version. ``timeout_s`` is by
        default the setting ``query_timeout_s``.

        ``freshness``: how old the answer may be. None reads now. A number of seconds takes what
        this host read at most that long ago, counted from before the statement was sent;
        ``"manual"`` what it read since ``forget_query``. Else it reads, once for all who ask for
        the same, and keeps the result; ``explain_cache`` says why one is not kept.

        Raises QueryError, UnsupportedTypeError, BadValueError, QueryTimeoutError,
        SharedMemoryFullError, and ServerError's kinds.
        """
        if freshness is not None and type(sql) is str:  # first, because it takes a microsecond
            found = self.query_cache.find(sql, params, freshness=freshness)
            if found is not None and name is None:
                return found
        check_text("sql", sql, "'SELECT * FROM bars'")
        if timeout_s is not None:
            check_seconds("timeout_s", timeout_s)
        if freshness is not None:
            _check_unnamed(name)
            read = partial(_read_for_cache, self.database, sql, params)
            return self.query_cache.load(
                read, sql, params, freshness=freshness, timeout_s=timeout_s
            )
        if name is not None:
            check_given_name(name)
        frame = self.database.query(sql, params, timeout_s=timeout_s, name=name)
        assert isinstance(frame, Frame)  # noqa: S101  (what this plane's memory seals)
        return frame

    def explain_cache(
        self: Plane, sql: str, params: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> QueryExplanation:
        """Why ``query`` with a freshness is answered from memory or not; ``print`` it.

        Tables and functions the result depends on, as the server reads the statement; whether it
        may be kept and why not; what is in memory and how old it is. The statement is not run.
        """
        check_text("sql", sql, "'SELECT * FROM bars'")
        return self.query_cache.explain(sql, params)

    def forget_query(
        self: Plane, sql: str, params: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> int:
        """Answer nobody on this host with what was read of this query until now, also what is
        being read at this moment. How many results were dropped.
        """
        check_text("sql", sql, "'SELECT * FROM bars'")
        return self.query_cache.forget(sql, params)

    def store(
        self: Plane,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
    ) -> StoreReceipt:
        """Write columns to a PostgreSQL table, all rows or none; makes the table when missing.

        ``columns``: a Frame, a mapping, or any Arrow, Polars or pandas table. ``mode``: ``append``,
        ``upsert`` by ``key`` (else the primary key), or ``replace`` all rows. A ``job_id`` that
        was stored to this table before makes the call a no-op. Raises BadParameterError,
        BadValueError naming column and row, UnsupportedTypeError, and ServerError's kinds.
        """
        return self.database.store(table, columns, key=key, mode=mode, job_id=job_id)

    def store_later(
        self: Plane,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: WriteBehindMode = "append",
        job_id: str | None = None,
    ) -> Acknowledgement:
        """Return once the rows are on the local disk; a thread stores them soon after, once and
        in order within a table, through restarts of this process and of PostgreSQL.

        Arguments as ``store``, without ``replace``. ``plane.write_behind`` waits for them
        (``wait_stored``, ``flush``) and tells how it stands. Rows that the server refuses are set
        aside there and hold up no others. Raises BadParameterError and UnsupportedTypeError for
        what no table takes, JournalFullError, DiskFullError, HostError; then nothing was taken.
        """
        return self.write_behind.store_later(table, columns, key=key, mode=mode, job_id=job_id)

    def load(
        self: Plane,
        files: Sequence[str | os.PathLike[str]],
        table: str,
        *,
        key: Sequence[str] | None = None,
        text: Sequence[str] = (),
        again: bool = False,
        progress: Progress | None = None,
    ) -> list[LoadReport]:
        """Bring Parquet, Arrow or CSV files into a table, each in one transaction.

        The same bytes again add nothing; with a key they bring back rows that were deleted or
        changed since. ``key``: columns that tell rows apart; known market data has its own.
        ``text``: columns of a CSV that are text whatever they look like. ``again``: append also
        what was loaded before, where the table has no key. ``progress`` is told rows done and,
        where known, all rows. The market-data bus hears of each file. Raises BadFileError naming
        file, row and column.
        """
        reports = self.database.load(
            files, table, key=key, text=text, again=again, progress=progress
        )
        for report in reports:
            if report.rows:
                _announce_rows(self.market_data, report)
        return reports

    def tables(self: Plane) -> Frame:
        """``name``, estimated ``rows`` and ``bytes`` of each table that this user may read."""
        from neural_gpu_bus.stores.postgres import TABLES_SQL

        frame = self.database.query(TABLES_SQL)
        assert isinstance(frame, Frame)  # noqa: S101  (what this plane's memory seals)
        return frame


def _check_unnamed(name: str | None) -> None:
    if name is not None:
        raise BadParameterError(
            f"both name {name!r} and a freshness are given: a result that is kept has a name",
            hint="leave freshness out, or put what was found: plane.put(name, frame)",
            parameter="name",
        )


def _read_for_cache(
    database: PostgresStore,
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    reserve: Reserve | None,
    timeout_s: float | None,
) -> Frame:
    frame = database.query(sql, params, timeout_s=timeout_s, reserve=reserve)
    assert isinstance(frame, Frame)  # noqa: S101  (what this plane's memory seals)
    return frame


def _announce_rows(market_data: EventBus, report: LoadReport) -> None:
    try:
        market_data.publish(TABLES_TOPIC, "TableLoaded", msgspec.structs.asdict(report))
    except ServerError as error:  # the rows are there: that is the answer
        _log.warning("new rows were not announced", table=report.table, error=error.what)
