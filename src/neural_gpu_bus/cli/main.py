"""``ngb``: all commands, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import typer
from rich.markup import escape

from neural_gpu_bus.cli import (
    bench,
    datasets,
    demo,
    doctor,
    host,
    live,
    load,
    memory,
    servers,
    store_later,
    watch,
    work,
)
from neural_gpu_bus.cli.console import err
from neural_gpu_bus.cli.entry import INTERRUPTED_EXIT_CODE
from neural_gpu_bus.errors import NeuralGpuBusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

app = typer.Typer(
    name="ngb",
    help="PostgreSQL tables and Redis values as columns in shared memory, with compute attached.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "up": servers.up,
    "down": servers.down,
    "status": servers.status,
    "config": host.config,
    "load": load.load,
    "query": datasets.query,
    "tables": datasets.tables,
    "memory": memory.memory,
    "metrics": memory.metrics,
    "submit": work.submit,
    "worker": work.worker,
    "workloads": work.workloads,
    "watch": watch.watch,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(doctor.app, name="doctor")
app.add_typer(bench.app, name="bench")
app.add_typer(store_later.app, name="store-later")
app.add_typer(live.app, name="live")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_commands() -> None:
    """No traceback for what a person can mend; a defect of ours keeps its traceback.

    Raises KeyboardInterrupt for Ctrl-C and SIGTERM, after everything is closed.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # Results go to standard output, and `--json` there has to be JSON.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # It warns of connections that broke; the error that we raise for them says more.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    try:
        app()
    except NeuralGpuBusError as error:
        err.print(f"[bold red]ngb:[/] {escape(error.what)}", soft_wrap=True)
        if error.hint:
            err.print(f"[bold]hint:[/] {escape(error.hint)}", soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED_EXIT_CODE:
            raise KeyboardInterrupt from None
        raise
