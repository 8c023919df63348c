"""``ngb query`` and ``ngb tables``: look at data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape
from rich.table import Table

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.assignments import parse_assignments
from neural_gpu_bus.cli.console import out, printable
from neural_gpu_bus.cli.shown_rows import first_rows, shown_columns
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.quantities import plural, size

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres import QueryClassName


Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        help="name=value, as often as needed; a text of digits: name='\"12\"'.",
    ),
]
Name = Annotated[str | None, typer.Option(help="Keep the result in shared memory under this name.")]
Freshness = Annotated[
    str | None,
    typer.Option(
        help="Take what this host read at most so many seconds ago, what is as of now ('live'), or "
        "what nobody forgot ('manual'); keep what is read."
    ),
]
Explain = Annotated[
    bool, typer.Option("--explain-cache", help="Say why the result is kept, and run nothing.")
]
Forget = Annotated[
    bool, typer.Option("--forget", help="Answer nobody with what was kept of it; run nothing.")
]
Numeric = Annotated[
    list[str] | None,
    typer.Option(
        help="numeric as exact, text, float64 or decimal128(p, s); for one column close=float64, "
        "as often as needed."
    ),
]
Texts = Annotated[str, typer.Option(help="Texts as auto, plain or dictionary (each value once).")]
QueryClass = Annotated[
    str, typer.Option(help="hot, query or load: time limit and settings of the server.")
]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds it may take, in place of the class's own.")
]


def query(
    sql: Annotated[str, typer.Argument(help="A SELECT; values as %(name)s.")],
    parameter: Parameters = None,
    name: Name = None,
    *,
    freshness: Freshness = None,
    explain: Explain = False,
    forget: Forget = False,
    numeric: Numeric = None,
    texts: Texts = "auto",
    query_class: QueryClass = "query",
    timeout: Timeout = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Rows to show.")] = 20,
) -> None:
    """Read a query's result into shared memory and show its first rows."""
    params = parse_assignments(parameter) if parameter else None  # None: % means itself
    decoded: dict[str, Any] = {"numeric": _numeric(numeric or []), "texts": texts}
    with ngb.open() as plane:
        if forget:
            dropped = plane.forget_query(sql, params)
            out.print(f"{plural(dropped, 'kept result')} dropped")
            return
        if explain:
            out.print(escape(str(plane.explain_cache(sql, params, **decoded))), soft_wrap=True)
            return
        started = time.perf_counter()
        frame = plane.query(
            sql,
            params,
            name=name,
            freshness=_freshness(freshness),
            query_class=cast("QueryClassName", query_class),
            timeout_s=timeout,
            **decoded,
        )
        elapsed_ms = (time.perf_counter() - started) * 1e3
        for part in first_rows(shown_columns(frame.head(rows).arrow()), out.width):
            out.print(part)
        counted = plural(frame.rows, "row")
        out.print(f"{counted}, {size(frame.nbytes)}, {elapsed_ms:.1f} ms")


def _freshness(text: str | None) -> float | str | None:
    """Seconds where it is a number; a word is judged where it is used."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _numeric(choices: list[str]) -> str | dict[str, str]:
    """One choice for all columns, or one for each that is named."""
    if not choices:
        return "exact"
    named = dict(choice.split("=", 1) for choice in choices if "=" in choice)
    if named and len(named) == len(choices):
        return named
    if len(choices) == 1:
        return choices[0]
    raise BadParameterError(
        f"--numeric is given {len(choices)} times: {', '.join(choices)}",
        hint="give it once for all columns, or as --numeric close=float64 for each, once a column",
        parameter="numeric",
    )


def tables() -> None:
    """List the tables of the database with their rows and sizes."""
    with ngb.open() as plane:
        found = plane.tables().arrow().to_pylist()
    table = Table(box=None, pad_edge=False)
    table.add_column("table")
    table.add_column("rows (estimate)", justify="right")
    table.add_column("size", justify="right")
    for one in found:
        rows = "[dim]unknown[/]" if one["rows"] is None else f"{one['rows']:,}"
        table.add_row(escape(printable(one["name"])), rows, size(one["bytes"]))
    out.print(table if found else "no tables yet; `ngb load FILE... --table NAME` makes one")
    if any(one["rows"] is None for one in found):
        out.print("[dim]unknown: never analysed; ANALYZE counts its rows[/]")
