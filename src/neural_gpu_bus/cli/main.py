"""``ngb``: all commands, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import logging
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog
import typer
from rich.markup import escape

from neural_gpu_bus.cli.console import err
from neural_gpu_bus.cli.entry import INTERRUPTED_EXIT_CODE
from neural_gpu_bus.errors import NeuralGpuBusError

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType

#: Command -> its module here and its function there.
COMMANDS = {
    "demo": "demo.demo",
    "up": "servers.up",
    "down": "servers.down",
    "status": "servers.status",
    "config": "host.config",
    "load": "load.load",
    "query": "datasets.query",
    "tables": "datasets.tables",
    "memory": "memory.memory",
    "metrics": "memory.metrics",
    "submit": "work.submit",
    "worker": "work.worker",
    "workloads": "work.workloads",
    "watch": "watch.watch",
}
#: Command with commands of its own -> its module here.
GROUPS = {"doctor": "doctor", "bench": "bench", "store-later": "store_later", "live": "live"}
NAMES = (*COMMANDS, *GROUPS)


def commands(names: Collection[str] = NAMES) -> typer.Typer:
    """``ngb`` with these commands; only their modules are imported."""
    app = typer.Typer(
        name="ngb",
        help="PostgreSQL tables and Redis values as columns in shared memory, with compute"
        " attached.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing)
    for name, home in COMMANDS.items():
        if name in names:
            module, function = home.split(".")
            app.command(name)(getattr(_imported(module), function))
    for name, module in GROUPS.items():
        if name in names:
            app.add_typer(_imported(module).app, name=name)
    return app


def _imported(module: str) -> Any:
    return import_module(f"neural_gpu_bus.cli.{module}")


def _nothing() -> None:
    # With it a single command keeps its name.
    return None


def _wanted(arguments: list[str]) -> Collection[str]:
    """The command that is named; all where help or a suggestion is wanted."""
    return arguments[:1] if arguments and arguments[0] in NAMES else NAMES


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
        commands(_wanted(sys.argv[1:]))()
    except NeuralGpuBusError as error:
        err.print(f"[bold red]ngb:[/] {escape(error.what)}", soft_wrap=True)
        if error.hint:
            err.print(f"[bold]hint:[/] {escape(error.hint)}", soft_wrap=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED_EXIT_CODE:
            raise KeyboardInterrupt from None
        raise
