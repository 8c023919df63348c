"""``ngb live``: tables that follow PostgreSQL."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.console import err, out

app = typer.Typer(no_args_is_help=True, help="Tables of PostgreSQL as columns that stay right.")


@app.command(hidden=True)
def run(
    kept: Annotated[bool, typer.Option("--kept", hidden=True)] = False,
) -> None:
    """Follow this home's live tables until nothing is live, or SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with ngb.open(counted=not kept) as plane:
        plane.run_live(stop=ended.is_set)


@app.command()
def drop(name: Annotated[str, typer.Argument(help="Of the live table.")]) -> None:
    """Follow a table no more; views of its rows stay."""
    with ngb.open() as plane:
        plane.drop_live(name)
        err.print(f"{name} is followed no more")


_ = out
