"""``ngb query`` and ``ngb tables``: look at data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.assignments import parse_assignments
from neural_gpu_bus.cli.console import out, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory import Frame

MIB = 1 << 20


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT; values as %(name)s.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            help="name=value, as often as needed; a text of digits: name='\"12\"'.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Keep the result in shared memory under this name.")
    ] = None,
    *,
    freshness: Annotated[
        str | None,
        typer.Option(
            help="Take what this host read at most so many seconds ago, or 'manual'; keep what is "
            "read."
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain-cache", help="Say why the result is kept, and run nothing.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Rows to show.")] = 20,
) -> None:
    """Read a query's result into shared memory and show its first rows."""
    params = parse_assignments(parameter) if parameter else None  # None: % means itself
    with ngb.open() as plane:
        if explain:
            out.print(escape(str(plane.explain_cache(sql, params))), soft_wrap=True)
            return
        started = time.perf_counter()
        frame = plane.query(sql, params, name=name, freshness=_freshness(freshness))
        elapsed_ms = (time.perf_counter() - started) * 1e3
        out.print(_first_rows(frame, rows))
        out.print(f"{frame.rows:,} rows, {frame.nbytes / MIB:.1f} MiB, {elapsed_ms:.1f} ms")


def _freshness(text: str | None) -> float | str | None:
    """Seconds where it is a number; a word is judged where it is used."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _first_rows(frame: Frame, rows: int) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = [_texts(column) for column in frame.arrow().slice(0, rows).columns]
    for name in frame:
        table.add_column(escape(printable(name)), overflow="fold")
    for row in zip(*shown, strict=True):
        table.add_row(*row)
    return table


def _texts(column: pa.ChunkedArray[Any]) -> list[str]:
    """Each value as text. Arrow's own for times: Python's end at the year 9999."""
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    return [_cell(value) for value in column.to_pylist()]


def _cell(value: Any) -> str:
    return "[dim]NULL[/]" if value is None else escape(printable(str(value)))


def tables() -> None:
    """List the tables of the database with their rows and sizes."""
    with ngb.open() as plane:
        found = plane.tables()
        rows = list(zip(found["name"], found["rows"], found["bytes"], strict=True))
    table = Table(box=None, pad_edge=False)
    table.add_column("table")
    table.add_column("rows (estimate)", justify="right")
    table.add_column("MiB", justify="right")
    for name, count, nbytes in rows:
        table.add_row(escape(name), f"{count:,}", f"{nbytes / MIB:.1f}")
    out.print(table if rows else "no tables yet; `ngb load FILE... --table NAME` makes one")
