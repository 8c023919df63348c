"""Question: how reading grows with rows, columns and connections, and where the server ends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from neural_gpu_bus.benchmarks.memory.answers import Answer, Goal, Line, Part
from neural_gpu_bus.benchmarks.postgres import tables
from neural_gpu_bus.benchmarks.postgres.contest import opened, read_lines
from neural_gpu_bus.benchmarks.postgres.raw_copy import RawRows
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader
from neural_gpu_bus.benchmarks.postgres.reader_columns import AdbcTables
from neural_gpu_bus.benchmarks.postgres.reader_ours import OurQuery, OurTable
from neural_gpu_bus.benchmarks.wording import TIMES

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.postgres.ground import PostgresGround

CONNECTIONS = (1, 2, 3, 4)
#: Within that much of receiving and discarding, the server is what is waited for.
SERVER_LIMIT = 1.15
#: Repeats of tables of ten million rows are dear.
_LONG_ROWS, _LONG_REPEATS = 2_000_000, 3


def scale(ground: PostgresGround, closing: ExitStack) -> Answer:
    """Rows, columns, connections; beside each what the server alone takes."""
    rows = [_at_rows(ground, closing, count) for count in ground.sizes.scaled_rows]
    columns = [_at_columns(ground, closing, count) for count in ground.sizes.scaled_columns]
    parts = [*rows, *columns]
    goals = [
        Goal("rows: the server is the limit", *_server_limited(rows)),
        Goal("columns: the server is the limit", *_server_limited(columns)),
    ]
    if hasattr(ground.plane, "table"):
        connections = _at_connections(ground, closing)
        parts.append(connections)
        goals.append(Goal("connections: the server is the limit", *_more_is_no_use(connections)))
    question = "reading by rows, columns and connections; where the server is the limit"
    notes = [
        f"the server is the limit where reading takes under {SERVER_LIMIT:g} {TIMES} of receiving "
        "the same bytes and throwing them away",
        "server and client share the cores of this machine: with a core each one connection is "
        "quicker",
    ]
    return Answer("scale", question, parts, goals, notes)


def _at_rows(ground: PostgresGround, closing: ExitStack, count: int) -> Part:
    table = tables.fixed_table(ground, count)
    asked = Asked(table, tables.FIXED_COLUMNS)
    return _part(ground, closing, f"{count:,} rows x {len(asked.columns)}", asked, count)


def _at_columns(ground: PostgresGround, closing: ExitStack, count: int) -> Part:
    rows = ground.sizes.wide_rows
    table = tables.wide_table(ground, rows, count)
    asked = Asked(table, ("id", *(f"c{place}" for place in range(1, count))))
    return _part(ground, closing, f"{rows:,} rows x {count}", asked, rows)


def _part(ground: PostgresGround, closing: ExitStack, title: str, asked: Asked, rows: int) -> Part:
    readers: list[Reader] = [OurQuery(ground.plane), RawRows(ground.dsn), AdbcTables(ground.dsn)]
    field = opened(readers, closing)
    repeats = min(ground.sizes.repeats, _LONG_REPEATS if rows > _LONG_ROWS else 99)
    return Part(title, read_lines(ground, field.readers, asked, repeats))


def _at_connections(ground: PostgresGround, closing: ExitStack) -> Part:
    """The table of the other questions, by one to four connections."""
    table = tables.fixed_table(ground, ground.sizes.rows)
    asked = Asked(table, tables.FIXED_COLUMNS)
    readers: list[Reader] = []
    for count in CONNECTIONS:
        readers += [_table_by(ground, count), RawRows(ground.dsn, count)]
    field = opened(readers, closing)
    lines = read_lines(ground, field.readers, asked, ground.sizes.repeats)
    named = [
        Line(f"{line.title.split(' x ')[0]} x {CONNECTIONS[at // 2]}", line.kind, line.spread)
        for at, line in enumerate(lines)
    ]
    return Part(f"{ground.sizes.rows:,} rows x 6 by connections", named)


def _table_by(ground: PostgresGround, count: int) -> Reader:
    reader = OurTable(ground.plane)
    reader.connections = count
    return reader


def _server_limited(parts: Sequence[Part]) -> tuple[str, bool]:
    """The first size from which the server is what is waited for, in words."""
    ratios = [_ratio(part.lines[0], part.lines[1]) for part in parts]
    for part, ratio in zip(parts, ratios, strict=True):
        if ratio < SERVER_LIMIT:
            return f"from {part.title} on ({ratio:.2f} {TIMES} of receiving alone)", True
    at = ratios.index(min(ratios))
    return f"nowhere; nearest at {parts[at].title}: {ratios[at]:.2f} {TIMES}", False


def _more_is_no_use(part: Part) -> tuple[str, bool]:
    """The number of connections after which neither we nor bare receiving gain a tenth."""
    bare = [line.spread.p50_s for line in part.lines[1::2]]
    ours = [line.spread.p50_s for line in part.lines[::2]]
    for at in range(len(bare) - 1):
        if min(bare[at + 1 :]) > 0.9 * bare[at]:
            ratio = ours[at] / bare[at]
            text = (
                f"from {CONNECTIONS[at]} connection(s) on: more of them receive no quicker; "
                f"ours takes {ratio:.2f} {TIMES} of receiving alone"
            )
            return text, True
    return f"not within {CONNECTIONS[-1]} connections", False


def _ratio(ours: Line, bare: Line) -> float:
    return ours.spread.p50_s / bare.spread.p50_s
