"""Queries: the part of ``DataPlane`` that reads from PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.arguments import check_seconds, check_text
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory import Frame, check_given_name

if TYPE_CHECKING:
    from datetime import timedelta

    from neural_gpu_bus.ports import Columns, Progress, Reserve
    from neural_gpu_bus.query_cache import QueryCache, QueryExplanation
    from neural_gpu_bus.stores.postgres import (
        FrameStream,
        PostgresStore,
        QueryClassName,
        ReadReport,
        Snapshot,
        Texts,
    )


class Plane(Protocol):
    """What a plane has besides."""

    @property
    def database(self) -> PostgresStore: ...  # noqa: D102

    @property
    def query_cache(self) -> QueryCache: ...  # noqa: D102


class Queries:
    """PostgreSQL's tables as columns."""

    def query(
        self: Plane,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        query_class: QueryClassName = "query",
        timeout_s: float | None = None,
        name: str | None = None,
        numeric: str | Mapping[str, str] = "exact",
        texts: Texts = "auto",
        freshness: float | timedelta | str | None = None,
        max_lag_s: float | None = None,
        snapshot: Snapshot | str | None = None,
        progress: Progress | None = None,
    ) -> Frame:
        """Read a SELECT's result into a block of shared memory.

        Values are written ``%(name)s`` in the statement and come from ``params``, never pasted.
        With ``name`` the result also becomes that dataset's newest version. ``query_class`` gives
        the time it may take, unless ``timeout_s`` does, and the server's settings: ``hot`` for the
        newest rows by an index, ``query``, ``load`` for whole tables.

        ``numeric`` and ``texts`` choose how such columns are decoded (docs/reference/types.md).
        A numeric without digits, which ``sum(bigint)``, ``avg(int)`` and a literal ``1.5`` are,
        comes as texts unless ``numeric="float64"`` says otherwise, or a cast. ``snapshot`` sees the
        database as of that moment; a table that was rewritten since (TRUNCATE, ALTER TABLE) may
        look empty here and in ``stream``, ``table`` refuses it. ``progress`` is told rows as they
        arrive, at least ten times a second; what it raises ends the read on the server too.

        ``freshness``: how old the answer may be. None reads now. A number of seconds takes what
        this host read at most that long ago, counted from before the statement was sent;
        ``"manual"`` what it read since ``forget_query``; ``"live"`` what is equal to reading now,
        as far as this host's live tables show, while commits are heard of within ``max_lag_s``, by
        default 1 s. Else it reads, once for all who ask for the same, and keeps the result;
        ``explain_cache`` says why one is not kept.

        Raises QueryError, UnsupportedTypeError, BadValueError, QueryTimeoutError,
        SharedMemoryFullError, ServerError's kinds, BadParameterError where it cannot be ``"live"``.
        """
        if max_lag_s is not None:
            _check_lag(max_lag_s, freshness)
        if freshness is not None and type(sql) is str:  # first, because it takes a microsecond
            found = self.query_cache.find(
                sql, params, freshness=freshness, max_lag_s=max_lag_s, numeric=numeric, texts=texts
            )
            if found is not None and name is None and snapshot is None:
                return found
        _check_query(sql, timeout_s, name)
        from neural_gpu_bus.stores.postgres import ReadOptions

        read = partial(self.database.query, sql, params, query_class=query_class)
        read = partial(read, options=ReadOptions(numeric, texts), progress=progress)
        if freshness is None:
            return _framed(read(timeout_s=timeout_s, name=name, snapshot=snapshot))
        _check_can_be_kept(name, snapshot)
        wait_s = self.database.read_limit_s(query_class, timeout_s)
        load = partial(self.query_cache.load, partial(_read_for_cache, read), sql, params)
        load = partial(load, freshness=freshness, max_lag_s=max_lag_s, numeric=numeric, texts=texts)
        return load(timeout_s=timeout_s, wait_s=wait_s)

    def table(
        self: Plane,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        order_by: str | Sequence[str] | None = None,
        snapshot: Snapshot | str | None = None,
        connections: int | None = None,
        query_class: QueryClassName = "load",
        timeout_s: float | None = None,
        name: str | None = None,
        numeric: str | Mapping[str, str] = "exact",
        texts: Texts = "auto",
        progress: Progress | None = None,
    ) -> Frame:
        """Read a table's rows, by several connections at once where it is large.

        All of them see one moment, also while others write; a partitioned table is read by its
        partitions. Where that cannot be (a view, row security, ``order_by``), one connection reads,
        and ``read_report(frame)`` says why. Rows come in the order they lie in. ``where``: one
        SQL condition as text, values apart as in ``query`` (no mapping, as ``aggregate`` takes).
        ``order_by``: ``"ts"`` or ``["ts DESC", "id"]``.
        ``connections``: by default as many as cores and table suggest. The rest as ``query``.
        """
        check_text("table", table, "'bars'")
        if name is not None:
            check_given_name(name)
        from neural_gpu_bus.stores.postgres import ReadOptions

        frame = self.database.reader.table(
            table,
            columns=columns,
            where=where,
            params=params,
            order_by=order_by,
            snapshot=snapshot,
            connections=connections,
            query_class=query_class,
            timeout_s=timeout_s,
            name=name,
            options=ReadOptions(numeric, texts),
            progress=progress,
        )
        return _framed(frame)

    def read_report(self: Plane, frame: Frame) -> ReadReport | None:
        """How ``table`` read this frame: connections, snapshot, why not more, bytes, times."""
        return self.database.reader.report(frame)

    def stream(
        self: Plane,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        batch_rows: int = 100_000,
        query_class: QueryClassName = "load",
        timeout_s: float | None = None,
        numeric: str | Mapping[str, str] = "exact",
        texts: Texts = "auto",
        snapshot: Snapshot | str | None = None,
        progress: Progress | None = None,
    ) -> FrameStream:
        """A SELECT's rows in frames of at most ``batch_rows``, all of one moment: memory stays
        bounded whatever the result's size. ``with plane.stream(...) as frames:`` and iterate.

        Until its end, or until it is closed, it keeps a connection, and its time runs. Each frame
        is a block of its own, gone with the frame. The rest as ``query``.
        """
        check_text("sql", sql, "'SELECT * FROM bars'")
        from neural_gpu_bus.stores.postgres import ReadOptions

        return self.database.reader.stream(
            sql,
            params,
            batch_rows=batch_rows,
            query_class=query_class,
            timeout_s=timeout_s,
            options=ReadOptions(numeric, texts),
            snapshot=snapshot,
            progress=progress,
        )

    def snapshot(self: Plane, *, hold_s: float = 3600.0) -> AbstractContextManager[Snapshot]:
        """One moment for several reads: ``with plane.snapshot() as s:``, then ``snapshot=s``.

        Its ``id`` is good in any session of that database, too. It keeps a connection, and rows
        that VACUUM would remove, until the block ends or nothing was read for ``hold_s``.
        """
        return self.database.reader.snapshot(hold_s=hold_s)

    def explain_cache(
        self: Plane,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        numeric: str | Mapping[str, str] = "exact",
        texts: Texts = "auto",
    ) -> QueryExplanation:
        """Why ``query`` with a freshness is answered from memory or not; ``print`` it.

        Tables and functions the result depends on, as the server reads the statement; whether it
        may be kept and why not; what is in memory and how old it is. The statement is not run.
        """
        check_text("sql", sql, "'SELECT * FROM bars'")
        return self.query_cache.explain(sql, params, numeric=numeric, texts=texts)

    def forget_query(
        self: Plane, sql: str, params: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> int:
        """Answer nobody on this host with what was read of this query until now, also what is
        being read at this moment. How many results were dropped.
        """
        check_text("sql", sql, "'SELECT * FROM bars'")
        return self.query_cache.forget(sql, params)

    def tables(self: Plane) -> Frame:
        """``name``, estimated ``rows`` and ``bytes`` of each table that this user may read; rows
        are NULL where a table was never analysed.
        """
        from neural_gpu_bus.stores.postgres import TABLES_SQL

        return _framed(self.database.query(TABLES_SQL))


def _framed(columns: Columns) -> Frame:
    """What this plane's memory sealed, as its own class."""
    assert isinstance(columns, Frame)  # noqa: S101
    return columns


def _check_query(sql: str, timeout_s: float | None, name: str | None) -> None:
    check_text("sql", sql, "'SELECT * FROM bars'")
    if timeout_s is not None:
        check_seconds("timeout_s", timeout_s)
    if name is not None:
        check_given_name(name)


def _check_lag(max_lag_s: float, freshness: object) -> None:
    check_seconds("max_lag_s", max_lag_s)
    if not isinstance(freshness, str) or freshness != "live":
        raise BadParameterError(
            f"max_lag_s is given and freshness is {freshness!r}",
            hint='give freshness="live" with it, or leave it out',
            parameter="max_lag_s",
        )


def _check_can_be_kept(name: str | None, snapshot: object) -> None:
    if name is not None:
        raise BadParameterError(
            f"both name {name!r} and a freshness are given: a result that is kept has a name",
            hint="leave freshness out, or put what was found: plane.put(name, frame)",
            parameter="name",
        )
    if snapshot is not None:
        raise BadParameterError(
            "both a snapshot and a freshness are given: a result that is kept is of its own moment",
            hint="leave one of them out",
            parameter="snapshot",
        )


def _read_for_cache(
    read: Callable[..., Columns], reserve: Reserve | None, timeout_s: float | None
) -> Frame:
    return _framed(read(reserve=reserve, timeout_s=timeout_s))
