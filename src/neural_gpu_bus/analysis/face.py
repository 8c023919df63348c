"""Analysis: the part of ``DataPlane`` that computes aggregates and series of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from neural_gpu_bus.aggregates.conditions import condition_of
from neural_gpu_bus.aggregates.operations import Aggregate, operations_of
from neural_gpu_bus.aggregates.rates import AggregatePlan, RatesFile
from neural_gpu_bus.aggregates.request import Request, bucket_of, make_request
from neural_gpu_bus.analysis.table_numbers import Numeric, TableRead, number_options
from neural_gpu_bus.arguments import check_seconds, check_text, check_whole_number
from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, DatasetNotFoundError
from neural_gpu_bus.memory import Frame, UnifiedMemory, check_given_name

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.aggregates.rates import Engine
    from neural_gpu_bus.analysis.table_aggregates import TableAggregates
    from neural_gpu_bus.descriptors import StoreReceipt
    from neural_gpu_bus.settings import Settings
    from neural_gpu_bus.stores.postgres import Mode, PostgresStore, Snapshot

_ENGINES = ("resident", "database")


class Plane(Protocol):
    """What a plane has besides."""

    settings: Settings

    @property
    def memory(self) -> UnifiedMemory: ...  # noqa: D102

    @property
    def database(self) -> PostgresStore: ...  # noqa: D102

    def store(  # noqa: D102
        self,
        table: str,
        columns: Any,
        *,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
    ) -> StoreReceipt: ...


class Analysis:
    """What a plane computes on its own columns and tables."""

    def aggregate(
        self: Plane,
        source: Any,
        *operations: Aggregate,
        by: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | str | None = None,
        bucket: tuple[Any, ...] | None = None,
        order_by: str | None = None,
        engine: Engine | None = None,
        numeric: Numeric = "exact",
        timeout_s: float | None = None,
        snapshot: Snapshot | str | None = None,
        name: str | None = None,
        table: str | None = None,
        key: Sequence[str] | None = None,
        mode: Mode = "append",
        job_id: str | None = None,
        **keywords: Any,
    ) -> Frame:
        """One row a group: ``plane.aggregate("bars", by="instrument_id", mean="close")``.

        ``source``: a dataset's name, a Frame or columns in any form that ``put`` takes, or the name
        of a PostgreSQL table that is no dataset. Operations are keywords (``mean=["open",
        "close"]``, ``count=True``, ``quantile=("close", 0.95)``, ``vwap=("price", "size")``) or
        ``Aggregate`` records; their results are named ``close_mean``. Rules for NULL, NaN and -0.0
        are SQL's. Groups go by ``by`` and by stretches of time, ``bucket=("ts", "5 minutes")``;
        ``first``, ``last`` and ``ohlcv`` by ``order_by``, else the bucket's time. ``where`` chooses
        rows: a mapping or a text such as ``"close > 10 and instrument_id = 'A'"``.

        Resident columns are folded here. A table is asked there or read and folded here, whichever
        ``explain_aggregate`` estimates to be faster; ``engine`` (``resident``, ``database``) forces
        one. ``numeric``: what a table's columns of numeric count as: ``exact`` decimals,
        ``float64``, ``decimal128(p, s)``, or a mapping of columns to these. ``timeout_s``
        limits each of a table's statements, by default as ``query``; they see ``snapshot``.

        With ``name`` the result becomes that dataset's newest version; with ``table`` it is stored
        too, by ``store`` with ``key``, ``mode`` and ``job_id``.

        Raises BadParameterError, ColumnNotFoundError, UnsupportedTypeError, DatasetNotFoundError,
        BadValueError for a sum that overflows, and what ``query`` and ``store`` raise.
        """
        request = _request(operations, by, where, bucket, order_by, keywords)
        if name is not None:
            check_given_name(name)
        if timeout_s is not None:
            check_seconds("timeout_s", timeout_s)
        how = TableRead(number_options(numeric), timeout_s, snapshot)
        only_tables = {"numeric": numeric, "timeout_s": timeout_s, "snapshot": snapshot}
        columns = _resident(self, source, engine, only_tables)
        if columns is None:
            answer = _tables(self).run(source, request, engine, self.memory.names(), how)
        else:
            from neural_gpu_bus.aggregates import aggregate_table

            said = f"{source!r}" if isinstance(source, str) else "the columns"
            answer = aggregate_table(columns, request, source=said)
        frame = _shown(self, answer, name)
        if table is not None:
            self.store(table, frame, key=key, mode=mode, job_id=job_id)
        return frame

    def explain_aggregate(
        self: Plane,
        source: Any,
        *operations: Aggregate,
        by: str | Sequence[str] | None = None,
        where: Mapping[str, Any] | str | None = None,
        bucket: tuple[Any, ...] | None = None,
        order_by: str | None = None,
        engine: Engine | None = None,
        numeric: Numeric = "exact",
        **keywords: Any,
    ) -> AggregatePlan:
        """Which way ``aggregate`` would go with the same arguments, the estimates, and why.

        Of a table the server is asked what it thinks (EXPLAIN); nothing is read or computed.
        """
        request = _request(operations, by, where, bucket, order_by, keywords)
        options = number_options(numeric)
        columns = _resident(self, source, engine, {"numeric": numeric})
        if columns is None:
            how = TableRead(options)
            return _tables(self).plan(source, request, engine, self.memory.names(), how)
        rows, nbytes = columns.num_rows, columns.select(list(request.columns)).nbytes
        return AggregatePlan("resident", "the columns are in memory", rows=rows, nbytes=nbytes)

    def time_series(
        self: Plane,
        instrument_id: str,
        bar_type: str,
        *,
        last: int = 10_000,
        table: str = "bars",
        indicators: Mapping[str, Any] | None = None,
        patterns: bool = True,
        engine: str | None = None,
        name: str | None = None,
        store: str | None = None,
    ) -> Frame:
        """The newest bars of one instrument with indicators and pattern scores, oldest first.

        Columns: ``ts, open, high, low, close, volume``; those of ``indicators.technical`` (its
        parameters are ``indicators``: ``{"sma": 50}``); with ``patterns`` those of
        ``patterns.shape``: ``pattern``, ``pattern_score`` and ``pattern_`` with each shape's name.
        What is not defined yet is NaN, and ``pattern`` NULL. The kernels run in this process, on
        ``cpu`` unless ``engine`` names another (``neural`` scores the patterns alone).

        Bars before the first one shown are read too, as many as averages need: values are those of
        a longer series to a relative 1e-9. Bars whose high, low or close is NULL or not finite are
        left out. With ``name`` the result becomes that dataset's newest version; with ``store``
        the rows whose values are all defined are upserted into that table by instrument, bar type
        and time.

        Raises BadParameterError naming like instruments where there are no bars, and what
        ``query`` and ``store`` raise.
        """
        from neural_gpu_bus.analysis import time_series as series
        from neural_gpu_bus.engines import build_planner

        check_text("instrument_id", instrument_id, "'AAPL.XNAS'")
        check_text("bar_type", bar_type, "'1-MINUTE-LAST'")
        check_text("table", table, "'bars'")
        count = check_whole_number("last", last, 1)
        if count > series.BARS_MAX:
            raise BadParameterError(
                f"last is {count:,}, more than {series.BARS_MAX:,}",
                hint="read fewer bars",
                parameter="last",
            )
        if name is not None:
            check_given_name(name)
        given = indicators or {}
        wanted = count + series.warm_up_bars(given)
        bars = series.newest_bars(self.database, table, instrument_id, bar_type, wanted)
        planner = build_planner(self.settings.gpu_backend, self.settings.neural_provider)
        answer = series.analysed(
            bars, planner, indicators=given, patterns=patterns, engine=engine or "cpu"
        )
        frame = _shown(self, answer.slice(max(0, answer.num_rows - count)), name)
        if store is not None:
            rows = series.stored_rows(frame.arrow(), instrument_id, bar_type)
            self.store(store, rows, key=series.KEY, mode="upsert")
        return frame


def _request(  # noqa: PLR0917  (as aggregate has them)
    operations: Sequence[Aggregate],
    by: str | Sequence[str] | None,
    where: Any,
    bucket: Any,
    order_by: str | None,
    keywords: Mapping[str, Any],
) -> Request:
    found = bucket_of(bucket)
    order = order_by if order_by is not None or found is None else found.column
    wanted = operations_of(operations, keywords, order)
    return make_request(by, found, condition_of(where), wanted)


def _resident(
    plane: Plane, source: Any, engine: str | None, only_tables: Mapping[str, Any]
) -> pa.Table | None:
    """The columns, where they are in memory; None for a name that can only be a table's.

    ``only_tables``: arguments that columns in memory do not take.
    """
    if engine is not None and engine not in _ENGINES:
        raise BadParameterError(
            f"engine is {engine!r}", hint=f"one of {', '.join(_ENGINES)}", parameter="engine"
        )
    if isinstance(source, str):
        if engine == "database":
            return None
        try:
            found = plane.memory.get(source).arrow()
        except DatasetNotFoundError:
            return None
        _check_only_tables(only_tables, f"dataset {source!r} is")
        return found
    if engine == "database":
        raise BadParameterError(
            f"columns of a {type(source).__name__} are in no database",
            hint="leave engine out, or name a table",
            parameter="engine",
        )
    _check_only_tables(only_tables, "these columns are")
    return source.arrow() if isinstance(source, Frame) else as_table(source)


def _check_only_tables(given: Mapping[str, Any], what: str) -> None:
    for name, value in given.items():
        if value is not None and (name, value) != ("numeric", "exact"):
            raise BadParameterError(
                f"{name} is {value!r}, but {what} in memory already",
                hint=f"give it where they are read: plane.query(..., {name}=...)",
                parameter=name,
            )


def _tables(plane: Plane) -> TableAggregates:
    from neural_gpu_bus.analysis.table_aggregates import TableAggregates

    path = plane.settings.home / "cache" / "aggregate_rates.json"
    return TableAggregates(plane.database, RatesFile(path))


def _shown(plane: Plane, answer: pa.Table, name: str | None) -> Frame:
    return plane.memory.share(answer) if name is None else plane.memory.put(name, answer)
