"""Questions: whole tables into columns, fixed-width ones and mixed ones; the newest bars."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.memory.answers import Answer, Part, under
from neural_gpu_bus.benchmarks.postgres import tables
from neural_gpu_bus.benchmarks.postgres.contest import (
    Field,
    connecting_lines,
    median_s,
    opened,
    read_lines,
    require_equal_readers,
)
from neural_gpu_bus.benchmarks.postgres.goals import at_least
from neural_gpu_bus.benchmarks.postgres.raw_copy import RawCopy, RawRows
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader
from neural_gpu_bus.benchmarks.postgres.reader_columns import (
    AdbcTables,
    ConnectorxInTwo,
    ConnectorxTables,
    DuckdbTables,
    PandasOverAdbc,
    PolarsFrames,
)
from neural_gpu_bus.benchmarks.postgres.reader_ours import OurOpening, OurQuery, OurTable
from neural_gpu_bus.benchmarks.postgres.reader_rows import (
    AsyncpgRecords,
    PandasFrames,
    PsycopgRows,
)

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround

RIVALS: tuple[type[Reader], ...] = (
    AdbcTables,
    DuckdbTables,
    ConnectorxTables,
    ConnectorxInTwo,
    PolarsFrames,
    PandasOverAdbc,
    PandasFrames,
    PsycopgRows,
    AsyncpgRecords,
)
#: Issue 4.
_PARALLEL, _SINGLE, _MIXED, _NEWEST, _NEWEST_PANDAS = 2.0, 1.25, 1.5, 1.4, 6.0
_RESIDENT_S = 2e-6
RESIDENT_NAME = "ngb_bench/newest"


def candidates(ground: PostgresGround, *, whole: bool) -> list[Reader]:
    """Ours first, then the bounds, then the rivals. ``whole``: of a whole table."""
    ours: list[Reader] = [OurQuery(ground.plane)]
    bounds: list[Reader] = [RawCopy(ground.dsn), RawRows(ground.dsn)]
    if whole and ground.cores > 1:
        bounds.append(RawRows(ground.dsn, ground.cores))
    if whole and hasattr(ground.plane, "table"):
        ours.append(OurTable(ground.plane))
    rivals = [kind(ground.dsn) for kind in RIVALS if whole or kind is not ConnectorxInTwo]
    return [*ours, *bounds, *rivals]


def _notes(field: Field) -> list[str]:
    return [f"{reader.title}: {reader.how}" for reader in field.readers]


def read_fixed(ground: PostgresGround, closing: ExitStack) -> Answer:
    """A million rows of six fixed-width columns, on one connection and on several."""
    table = tables.fixed_table(ground, ground.sizes.rows)
    asked = Asked(table, tables.FIXED_COLUMNS, cut_by="id")
    field = opened(candidates(ground, whole=True), closing)
    require_equal_readers("fixed", field.readers, asked, "id")
    lines = read_lines(ground, field.readers, asked, ground.sizes.repeats)
    adbc = median_s(lines, AdbcTables.title)
    goals = [
        at_least("several connections beside ADBC", median_s(lines, OurTable.title), adbc,
                 _PARALLEL),
        at_least("one connection beside ADBC", median_s(lines, OurQuery.title), adbc, _SINGLE),
    ]  # fmt: skip
    question = f"{ground.sizes.rows:,} rows of 6 fixed-width columns into columns, connected"
    return Answer("fixed", question, [Part("", lines)], goals, _notes(field), field.skipped)


def read_mixed(ground: PostgresGround, closing: ExitStack) -> Answer:
    """A million rows of twelve columns with text, NULLs and numeric."""
    table = tables.mixed_table(ground, ground.sizes.rows)
    asked = Asked(table, tables.MIXED_COLUMNS, cut_by="id")
    field = opened(candidates(ground, whole=True), closing)
    require_equal_readers("mixed", field.readers, asked, "id")
    lines = read_lines(ground, field.readers, asked, ground.sizes.repeats)
    adbc = median_s(lines, AdbcTables.title)
    ours = [median_s(lines, kind.title) for kind in (OurTable, OurQuery)]
    goals = [
        at_least("several connections beside ADBC", ours[0], adbc, _MIXED),
        at_least("one connection beside ADBC", ours[1], adbc, 1.0),
    ]
    notes = [
        *_notes(field),
        "numeric: ours are exact decimals; ADBC, Polars and pandas over it have its digits as "
        "text, ConnectorX float64",
    ]
    question = f"{ground.sizes.rows:,} rows of 12 columns: text, NULLs, numeric"
    return Answer("mixed", question, [Part("", lines)], goals, notes, field.skipped)


def read_newest(ground: PostgresGround, closing: ExitStack) -> Answer:
    """The last bars of one instrument: from the server, connected or not, and resident."""
    table = tables.indexed_table(ground, ground.sizes.rows)
    rest = (
        " WHERE instrument_id = 'I07' AND bar_type = '1-MINUTE-LAST' "
        f"ORDER BY ts DESC LIMIT {ground.sizes.newest}"
    )
    asked = Asked(table, tables.BAR_COLUMNS, rest)
    field = opened(candidates(ground, whole=False), closing)
    require_equal_readers("newest", field.readers, asked, "ts")
    lines = read_lines(ground, field.readers, asked, ground.sizes.repeats_short)
    alone = [type(reader)(ground.dsn) for reader in field.readers if reader.kind == "rival"]
    connecting = connecting_lines(
        ground, [OurOpening(ground.plane), *alone], asked, ground.sizes.repeats
    )
    resident = _resident(ground, closing, asked)
    ours = median_s(lines, OurQuery.title)
    goals = [
        at_least("from the server, beside ADBC", ours, median_s(lines, AdbcTables.title), _NEWEST),
        at_least("and beside pandas.read_sql", ours, median_s(lines, PandasFrames.title),
                 _NEWEST_PANDAS),
        under("resident: found, and one column as numpy", resident.lines[0].spread.p50_s,
              _RESIDENT_S),
    ]  # fmt: skip
    parts = [
        Part("connected", lines),
        Part("resident", resident.lines),
        Part("with connecting and disconnecting", connecting),
    ]
    question = f"the last {ground.sizes.newest:,} bars of one instrument, by its index"
    return Answer("newest", question, parts, goals, _notes(field), field.skipped)


def _resident(ground: PostgresGround, closing: ExitStack, asked: Asked) -> Part:
    from neural_gpu_bus.benchmarks.memory.answers import Line
    from neural_gpu_bus.benchmarks.memory.spread import call_samples, spread
    from neural_gpu_bus.benchmarks.removal import remove_datasets

    plane = ground.plane
    closing.callback(remove_datasets, plane, [RESIDENT_NAME])
    plane.query(asked.statement, name=RESIDENT_NAME)

    def find(name: str) -> Any:
        return plane.get(name)["close"]

    samples = call_samples(
        find, RESIDENT_NAME, calls_max=20_000, limit_s=0.5, clock_ns=ground.clock_ns
    )
    return Part("resident", [Line("plane.get(name), one column", "ours", spread(samples))])
