"""``ngb up``, ``ngb down``, ``ngb status``: the private servers by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import err, out
from neural_gpu_bus.errors import AlreadyRunningError, NotRunningError
from neural_gpu_bus.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    import redis

    from neural_gpu_bus.embedded import KeeperStatus, ServerStatus

#: As systemctl says it of a service that does not run.
NOT_RUNNING_EXIT_CODE = 3
#: More than any address; a table takes what it needs of it.
PIPED_COLUMNS_MAX = 1000


def up() -> None:
    """Start the private servers and keep them running until `ngb down`."""
    from neural_gpu_bus import embedded

    settings = load_settings()
    _refuse_second(settings)
    _meet_existing(settings)
    with (
        err.status("starting the private servers") as shown,
        embedded.attach(settings, report=shown.update) as attachment,
    ):
        attachment.stay()
        status = attachment.status()
    _print_status(status)
    out.print("running until `ngb down`")


def down() -> None:
    """Stop the private servers; their data stays."""
    from neural_gpu_bus import embedded

    settings = load_settings()
    try:
        with err.status("stopping the private servers"):
            embedded.stop(settings)
    except NotRunningError as error:
        out.print(escape(error.what), soft_wrap=True)
    else:
        out.print("stopped; the data stays")


def status(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the private servers: state, address, port, process, size; exit code 3 if none run."""
    from neural_gpu_bus import embedded

    settings = load_settings()
    try:
        found = embedded.status(settings)
    except NotRunningError as error:
        if json:
            _print_json({"running": False, "home": error.home})
        else:
            out.print(f"not running: {escape(error.what)}", soft_wrap=True)
        raise typer.Exit(NOT_RUNNING_EXIT_CODE) from None
    if json:
        _print_json({"running": True, **msgspec.to_builtins(found)})
    else:
        _print_status(found)


def _refuse_second(settings: Settings) -> None:
    from neural_gpu_bus import embedded

    try:
        found = embedded.status(settings)
    except NotRunningError:
        return
    if found.stay:
        raise AlreadyRunningError(
            f"the private servers of {found.home!r} run already, kept by pid {found.pid}",
            hint="see them with `ngb status`, stop them with `ngb down`",
            home=found.home,
            pid=found.pid,
        )


def _meet_existing(settings: Settings) -> None:
    """One connection to each server that the settings name: `up` shall not call it running while
    nothing can be done with it. Raises ServerError, and BadSettingError for an address.
    """
    from neural_gpu_bus.embedded.handover import existing_address
    from neural_gpu_bus.embedded.records import SERVER_NAMES
    from neural_gpu_bus.plane import let_kernels_be_cached

    let_kernels_be_cached(settings)
    for name in SERVER_NAMES:
        address = existing_address(settings, name)
        if address is not None:
            connect = _postgres() if name == "postgres" else _redis()
            connect(address.get_secret_value(), timeout_s=settings.connect_timeout_s).close()


def _postgres() -> Callable[..., psycopg.Connection]:
    from neural_gpu_bus.stores.postgres.connections.connection import connect

    return connect


def _redis() -> Callable[..., redis.Redis]:
    from neural_gpu_bus.stores.redis import connect

    return connect


def _print_json(value: object) -> None:
    out.print(msgspec.json.encode(value).decode(), markup=False, soft_wrap=True)


def _print_status(status: KeeperStatus) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("server", "state", "address", "version", "pid", "data", "restarts"):
        numeric = name in {"pid", "data", "restarts"}
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for server in status.servers:
        table.add_row(*_row(server))
    for number, worker in enumerate(status.workers, start=1):
        state = "running" if worker.pid else "restarting"
        table.add_row(
            f"worker {number}", state, "", "", _number(worker.pid), "", str(worker.restarts)
        )
    # A file or a pipe has no width; rich would take 80 columns and cut the addresses.
    wide = out if out.is_terminal else Console(highlight=False, width=PIPED_COLUMNS_MAX)
    wide.print(table)
    for server in status.servers:
        if server.port_holder:
            out.print(
                f"{server.name}: port {server.port_asked} is held by "
                f"{escape(server.port_holder)}, {server.port} is used",
                soft_wrap=True,
            )
    life = "until `ngb down`" if status.stay else f"while {status.leases} client(s) need them"
    out.print(
        f"home {escape(status.home)}, memory {escape(status.memory_folder)}, "
        f"keeper pid {status.pid}, running {life}",
        soft_wrap=True,
    )


def _row(server: ServerStatus) -> tuple[str, ...]:
    size = "" if server.state == "existing" else f"{server.data_bytes / (1 << 20):.1f} MiB"
    restarts = "" if server.state == "existing" else str(server.restarts)
    return (
        server.name,
        server.state,
        escape(server.address),
        server.version,
        _number(server.pid),
        size,
        restarts,
    )


def _number(pid: int) -> str:
    return str(pid) if pid else ""
