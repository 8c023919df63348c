"""``ngb store-later``: rows on their way to PostgreSQL, and those that it refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.console import out, printable
from neural_gpu_bus.quantities import count, plural, size, span

if TYPE_CHECKING:
    from neural_gpu_bus import WriteBehindStatistics

app = typer.Typer(no_args_is_help=True, help="Look at rows of store_later, retry and drop.")

#: What dead processes left is delivered as soon as a plane is open: so long it may take.
_DELIVERY_S_MAX = 5.0

Ids = Annotated[
    list[str], typer.Argument(help="Rows set aside, by id; see `ngb store-later status`.")
]


@app.command()
def status(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what waits on disk, and what PostgreSQL refused and why; deliver what processes left."""
    with ngb.open() as plane:
        end_s = time.monotonic() + _DELIVERY_S_MAX
        found = plane.write_behind.statistics()
        while found.waiting_records and time.monotonic() < end_s:
            time.sleep(0.1)
            found = plane.write_behind.statistics()
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        _print(found)


@app.command()
def retry(ids: Ids) -> None:
    """Store rows that are set aside, after what was stored since; each once, however often."""
    with ngb.open() as plane:
        for each in ids:
            receipt = plane.write_behind.retry(each)
            out.print(f"{escape(each)}: {plural(receipt.rows, 'row')} stored", soft_wrap=True)


@app.command()
def drop(ids: Ids) -> None:
    """Forget rows that are set aside, for good."""
    with ngb.open() as plane:
        for each in ids:
            plane.write_behind.drop(each)
            out.print(f"{escape(each)}: dropped", soft_wrap=True)


def _print(found: WriteBehindStatistics) -> None:
    whose = f"{found.journals} process{'' if found.journals == 1 else 'es'}"
    out.print(
        f"{size(found.disk_bytes)} of {size(found.disk_bytes_max)} on disk"
        + (f", in journals of {whose}" if found.journals else "")
    )
    if found.waiting_records:
        oldest = span(found.oldest_waiting_s * 1e9)
        out.print(
            f"{plural(found.waiting_records, 'record')} of ended processes not stored yet, the "
            f"oldest for "
            f"{oldest}: {escape(printable(found.last_error or found.state))}",
            soft_wrap=True,
        )
    if not found.set_aside:
        out.print("[green]nothing is set aside[/]")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)  # to be copied into `retry` and `drop`
    table.add_column("table", overflow="fold")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for one in found.set_aside:
        since = span(time.time_ns() - one.refused_ns)
        cells = (one.id, one.table or "-", count(one.rows), since, printable(one.reason))
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print("[dim]`ngb store-later retry ID...` stores them, `drop ID...` forgets them[/]")
