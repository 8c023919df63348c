"""The newest bars of one instrument with indicators and scores of patterns, as one table.

M6 of the original design, ``hybrid_time_series_analysis``: what was two jobs, a merge and a store
there is one call here. The kernels run in this process: 10,000 bars take them less time than a
job takes to reach a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.stores.postgres.tables.table_name import parse_table_name

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory import Frame
    from neural_gpu_bus.ports import Planner
    from neural_gpu_bus.stores.postgres import PostgresStore

INDICATORS, PATTERNS = "indicators.technical", "patterns.shape"

#: What a row of the stored table is known by.
KEY = ("instrument_id", "bar_type", "ts")
#: What is read of each bar besides its time.
BAR_NUMBERS = ("open", "high", "low", "close", "volume")
#: A bar without one of these is none.
PRICES_NEEDED = ("high", "low", "close")
#: Bars of one call: 10M rows of 30 columns are 2.4 GB.
BARS_MAX = 10_000_000

#: Names that a hint is looked for among.
_NAMES_MAX = 1000

# A descending scan of the covering index ends after the last row that is wanted. Prices of any kind
# of number are taken as the kernels compute; NaN is above all others there.
_NEWEST_SQL = """
SELECT * FROM (
  SELECT {columns} FROM {table}
  WHERE "instrument_id" = %(instrument_id)s AND "bar_type" = %(bar_type)s AND {finite}
  ORDER BY "ts" DESC LIMIT %(last)s
) AS newest ORDER BY "ts"
"""
_FINITE_SQL = """("{name}"::float8 > '-Infinity' AND "{name}"::float8 < 'Infinity')"""
_INDEXED_SQL = """
SELECT EXISTS (
  SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
  WHERE i.indrelid = to_regclass(%(table)s) AND a.attname = 'instrument_id' AND i.indisvalid
  AND i.indpred IS NULL) AS indexed
"""
# One step down the index a name, where DISTINCT would read every row.
_NAMES_SQL = """
WITH RECURSIVE names AS (
  (SELECT "instrument_id" AS name FROM {table} ORDER BY 1 LIMIT 1)
  UNION ALL
  SELECT (SELECT "instrument_id" FROM {table} WHERE "instrument_id" > name ORDER BY 1 LIMIT 1)
  FROM names WHERE name IS NOT NULL
) SELECT name::text AS name FROM names WHERE name IS NOT NULL LIMIT %(most)s
"""
_BAR_TYPES_SQL = """
SELECT DISTINCT "bar_type"::text AS name FROM {table}
WHERE "instrument_id" = %(instrument_id)s ORDER BY 1 LIMIT 20
"""


def newest_bars(
    database: PostgresStore, table: str, instrument_id: str, bar_type: str, last: int
) -> Frame:
    """The ``last`` newest bars, oldest first, numbers as float64; those whose high, low or close is
    NULL or not finite are left out.

    Raises BadParameterError naming others where there are none, and what a query raises.
    """
    identifier = parse_table_name(table).identifier.as_string()
    place = identifier.replace("%", "%%")
    columns = ", ".join(['"ts"', *(f'"{name}"::float8 AS "{name}"' for name in BAR_NUMBERS)])
    finite = " AND ".join(_FINITE_SQL.format(name=name) for name in PRICES_NEEDED)
    wanted = {"instrument_id": instrument_id, "bar_type": bar_type}
    frame: Any = database.query(
        _NEWEST_SQL.format(columns=columns, table=place, finite=finite), {**wanted, "last": last}
    )
    if not frame.rows:
        raise _no_bars(database, identifier, place, wanted)
    found: Frame = frame
    return found


def _no_bars(
    database: PostgresStore, identifier: str, place: str, wanted: Mapping[str, str]
) -> BadParameterError:
    instrument_id, bar_type = wanted["instrument_id"], wanted["bar_type"]
    known: list[str] = []
    if _texts(database, _INDEXED_SQL, {"table": identifier}, "indexed")[0]:
        types = _texts(database, _BAR_TYPES_SQL.format(table=place), wanted)
        if types:
            return BadParameterError(
                f"{instrument_id!r} has no bars of type {bar_type!r} in {identifier}",
                hint=f"it has {', '.join(map(repr, types))}",
                parameter="bar_type",
            )
        known = _texts(database, _NAMES_SQL.format(table=place), {"most": _NAMES_MAX})
    return BadParameterError(
        f"there are no bars of {instrument_id!r} in {identifier}",
        hint=did_you_mean(
            instrument_id, known, "see which there are: SELECT DISTINCT instrument_id"
        ),
        parameter="instrument_id",
    )


def _texts(database: PostgresStore, sql: str, params: Any, column: str = "name") -> list[Any]:
    values: list[Any] = database.query(sql, params).arrow()[column].to_pylist()
    return values


def warm_up_bars(indicators: Mapping[str, Any]) -> int:
    """Bars to read before the first that is wanted, so that values do not tell how many that were.

    Raises BadParameterError for what the indicators do not take.
    """
    from neural_gpu_bus.workloads import check_params, find
    from neural_gpu_bus.workloads.shape_patterns import WINDOW
    from neural_gpu_bus.workloads.technical_indicators import TechnicalIndicatorsParams, warm_up

    params = check_params(find(INDICATORS), indicators)
    assert isinstance(params, TechnicalIndicatorsParams)  # noqa: S101
    return max(WINDOW - 1, warm_up(params))


def analysed(
    bars: Frame,
    planner: Planner,
    *,
    indicators: Mapping[str, Any],
    patterns: bool,
    engine: str,
) -> pa.Table:
    """Bars with their indicators and, from the 32nd on, their patterns' scores.

    ``ts, open, high, low, close, volume``, the ten columns of ``indicators.technical``, and with
    ``patterns`` ``pattern`` (a name), ``pattern_score`` and one score a shape. What is not defined
    yet is NaN, and ``pattern`` NULL.
    """
    table = bars.arrow()
    found = _run(bars, planner, INDICATORS, indicators, engine)
    for name in found.column_names[1:]:
        table = table.append_column(name, found[name])
    if not patterns:
        return table
    from neural_gpu_bus.workloads.shape_patterns import SHAPES, WINDOW

    some = bars.rows >= WINDOW
    scores = _run(bars, planner, PATTERNS, {}, engine) if some else None
    missing = min(WINDOW - 1, bars.rows)
    return _with_patterns(table, scores, missing, SHAPES)


def _with_patterns(table: pa.Table, scores: Any, missing: int, shapes: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    none = pa.nulls(missing, pa.large_string())
    names = [none] if scores is None else [none, *scores["shape"].chunks]
    table = table.append_column("pattern", pa.chunked_array(names).combine_chunks())
    for name in ("score", *shapes):
        undefined = pa.array(np.full(missing, np.nan))
        parts = [undefined] if scores is None else [undefined, *scores[name].chunks]
        table = table.append_column(f"pattern_{name}", pa.chunked_array(parts).combine_chunks())
    return table


def _run(
    bars: Frame, planner: Planner, name: str, given: Mapping[str, Any], engine: str
) -> pa.Table:
    from neural_gpu_bus.workloads import check_params, find

    workload = find(name)
    params = check_params(workload, given)
    arrays = workload.prepare({"bars": bars}, params)
    if engine == "neural" and workload.kernels.neural is None:
        engine = "cpu"  # indicators are recurrences, and no network
    runner, _ = planner.choose(workload, arrays, params, engine)
    return workload.table(runner.run(workload, arrays, params), params)


def stored_rows(table: pa.Table, instrument_id: str, bar_type: str) -> pa.Table:
    """The rows whose values are all defined, with the instrument and the bars' type before them.

    The others are the series' first; where its older bars were deleted, what is stored of these
    from before is better.
    """
    import pyarrow as pa

    table = table.slice(_undefined(table))
    rows = table.num_rows
    table = table.add_column(0, "bar_type", pa.repeat(pa.scalar(bar_type), rows))
    return table.add_column(0, "instrument_id", pa.repeat(pa.scalar(instrument_id), rows))


def _undefined(table: pa.Table) -> int:
    """Rows before the first of which all is known."""
    import pyarrow as pa

    known = np.ones(table.num_rows, np.bool_)
    for name in table.column_names[1 + len(BAR_NUMBERS) :]:
        column: Any = table[name]
        known &= column.is_valid().to_numpy()
        if pa.types.is_floating(column.type):
            known &= ~np.isnan(column.to_numpy())
    return int(np.argmax(known)) if known.any() else table.num_rows
