"""``ngb live``: tables that follow PostgreSQL."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import typer
from rich.live import Live
from rich.markup import escape

import neural_gpu_bus as ngb
from neural_gpu_bus import embedded
from neural_gpu_bus.cli.console import err, out, printable
from neural_gpu_bus.cli.live_copying import Copying
from neural_gpu_bus.cli.live_lines import live_lines
from neural_gpu_bus.cli.live_view import live_list, live_show, live_watch
from neural_gpu_bus.quantities import plural
from neural_gpu_bus.settings import Settings, load_settings

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import How, LiveDefinition, Slot
    from neural_gpu_bus.live.live_table import LiveTable
    from neural_gpu_bus.live.looking import LiveNow
    from neural_gpu_bus.live.shared import TableState

app = typer.Typer(no_args_is_help=True, help="Tables of PostgreSQL as columns that stay right.")

#: Time between two looks of ``watch``.
WATCH_S = 0.5

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Names = Annotated[list[str] | None, typer.Argument(help="Of live tables; left out: all.")]
HowHeard = Annotated[
    str, typer.Option(help="stream; or, promising less where that is refused: trigger, poll.")
]
RisingColumn = Annotated[
    str | None, typer.Option(help="Of poll: a column that each change raises.")
]
PollS = Annotated[
    float, typer.Option(min=0.05, max=86_400, help="Seconds between two looks (no stream).")
]
RecopyS = Annotated[
    float, typer.Option(min=1, max=86_400, help="Of poll: seconds between two whole reads.")
]
OverlapS = Annotated[
    float, typer.Option(min=0, max=86_400, help="Of poll: how late a watermark may come.")
]
Every = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")]


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
def add(
    table: Annotated[str, typer.Argument(help="In PostgreSQL: bars or market.bars.")],
    key: Annotated[str, typer.Option(help="Columns that split it into partitions: a,b.")] = "",
    order_by: Annotated[
        str | None, typer.Option(help="Column that orders the rows of a partition.")
    ] = None,
    *,
    columns: Annotated[str | None, typer.Option(help="Only these columns: a,b,c.")] = None,
    where: Annotated[str | None, typer.Option(help="Only these rows: an SQL condition.")] = None,
    append_only: Annotated[
        bool, typer.Option("--append-only", help="Follow inserts alone: it may have no key.")
    ] = False,
    how: HowHeard = "stream",
    watermark: RisingColumn = None,
    poll: PollS = 1.0,
    recopy: RecopyS = 3600.0,
    overlap: OverlapS = 5.0,
    name: Annotated[str | None, typer.Option(help="How it is asked for; as the table.")] = None,
    slot: Annotated[
        str, typer.Option(help="temporary, or persistent: go on after a restart, without a copy.")
    ] = "temporary",
    timeout: Annotated[
        float, typer.Option(min=1, max=604_800, help="Seconds that the first copy may take.")
    ] = 86_400.0,
) -> None:
    """Copy a table into shared memory and follow every commit from then on."""
    from neural_gpu_bus.live.definitions import live_definition

    wanted = live_definition(
        table,
        name=name,
        key=_names(key),
        order_by=order_by,
        columns=None if columns is None else _names(columns),
        where=where,
        append_only=append_only,
        slot=cast("Slot", slot),
        how=cast("How", how),
        watermark=watermark,
        poll_s=poll,
        recopy_s=recopy,
        overlap_s=overlap,
    )
    with ngb.open() as plane:
        for notice in _notices(plane, wanted):
            err.print(f"[yellow]note:[/] {escape(printable(notice))}", soft_wrap=True)
        with _interrupted(plane, wanted), Copying(wanted.name, err) as shown:
            found = _made_live(plane, wanted, timeout, shown.tell)
        rows, partitions = plural(found.rows(), "row"), plural(len(found.partitions()), "partition")
        out.print(f"{escape(printable(wanted.name))} is live: {rows} in {partitions}")
        if not plane.attachment.status().stay:
            err.print("[dim]it is followed while something of this home runs; `ngb up` stays[/]")


@app.command("list")
def list_(json: Json = False) -> None:
    """Show all live tables: state, rows, how far behind; and why one is not live."""
    with _looks() as look:
        found = look()
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        out.print(live_list(found, wall_ns=time.time_ns(), width=out.width))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of the live table.")], json: Json = False
) -> None:
    """Show one live table with all that is known of it."""
    with _looks() as look:
        found = look()
    _check_names(found, [name])
    if json:
        one = next(one for one in found.tables if one.name == name)
        print(msgspec.json.encode(one).decode())
    else:
        out.print(live_show(found, name, wall_ns=time.time_ns()))


@app.command()
def drop(name: Annotated[str, typer.Argument(help="Of the live table.")]) -> None:
    """Follow a table no more; what was read of it stays with its readers."""
    with ngb.open() as plane:
        plane.drop_live(name)
    out.print(f"{escape(printable(name))} is followed no more")


@app.command()
def watch(names: Names = None, every: Every = WATCH_S) -> None:
    """Look again until Ctrl-C: rows a second, lag, state. Plain lines where no terminal is."""
    chosen = names or []
    with suppress(KeyboardInterrupt), _looks() as look:
        _check_names(look(), chosen)
        pairs = _pairs(look, chosen, every)
        if not out.is_terminal:
            for before, now in pairs:
                _check_names(now, chosen)  # it may have been dropped meanwhile
                for line in live_lines(before, now, wall_ns=time.time_ns()):
                    print(line, flush=True)
            return
        with Live(console=out, auto_refresh=False) as display:
            for before, now in pairs:
                _check_names(now, chosen)
                display.update(live_watch(before, now), refresh=True)


def _made_live(
    plane: ngb.DataPlane,
    wanted: LiveDefinition,
    timeout_s: float,
    progress: Callable[[TableState], None],
) -> LiveTable:
    return plane.live(
        wanted.table,
        key=wanted.key,
        order_by=wanted.order_by,
        columns=wanted.columns,
        where=wanted.where,
        name=wanted.name,
        append_only=wanted.append_only,
        slot=wanted.slot,
        how=wanted.how,
        watermark=wanted.watermark,
        poll_s=wanted.poll_s,
        recopy_s=wanted.recopy_s,
        overlap_s=wanted.overlap_s,
        timeout_s=timeout_s,
        progress=progress,
    )


def _notices(plane: ngb.DataPlane, wanted: LiveDefinition) -> tuple[str, ...]:
    """What is worth knowing of a table before it is live.

    Raises ReplicationRefusedError with all the SQL to run, before anything is changed.
    """
    from neural_gpu_bus.live.shared.promises import PROMISES
    from neural_gpu_bus.stores.postgres.connections.connection import connect
    from neural_gpu_bus.stores.postgres.replication.preflight import TableWanted, preflight
    from neural_gpu_bus.stores.postgres.replication.publications import publication_names

    if wanted.how != "stream":
        return (f"{wanted.name} is followed {PROMISES[wanted.how]}",)
    asked = TableWanted(wanted.table, wanted.columns, wanted.where, wanted.append_only)
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with closing(connect(dsn, timeout_s=plane.settings.connect_timeout_s)) as connection:
        names = publication_names(str(_home(plane.settings)))
        wal_bytes_max = plane.settings.live_slot_wal_bytes_max
        found = preflight(
            connection,
            (asked,),
            names,
            slot_wal_bytes_max=wal_bytes_max if wanted.slot == "persistent" else None,
        )
    found.check()
    return found.notices


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@contextmanager
def _interrupted(plane: ngb.DataPlane, wanted: LiveDefinition) -> Iterator[None]:
    """Say what becomes of the table where somebody does not want to wait."""
    try:
        yield
    except KeyboardInterrupt:
        stays = wanted.name in plane.live_definitions.all()
        said = "goes on being copied" if stays else "was taken back: nothing follows it"
        err.print(f"{escape(printable(wanted.name))} {said}")
        raise


@contextmanager
def _looks() -> Iterator[Callable[[], LiveNow]]:
    """A function that looks; no server is started for it."""
    from neural_gpu_bus.datasets import open_memory
    from neural_gpu_bus.live.definitions import LiveDefinitions
    from neural_gpu_bus.live.looking import LiveNow, LiveTableNow, look_at_live
    from neural_gpu_bus.live.mirror.group import ASKED_GROUP, GROUP, group_of
    from neural_gpu_bus.live.shared import LiveView

    settings = load_settings()
    definitions = LiveDefinitions(_home(settings))
    folder = embedded.memory_folder(settings)
    if not folder.exists():
        declared = tuple(LiveTableNow(*one, None, None) for one in definitions.all().items())
        yield lambda: LiveNow(0, declared, "", 0, float("inf"), 0, 0)
        return
    with closing(open_memory(settings, folder)) as memory:
        view, growing = LiveView(folder), memory.growing

        def look() -> LiveNow:
            found = look_at_live(
                view,
                definitions.all(),
                lambda series: growing.series(series, None, (), None, group_of(series)),
            )
            taken = sum(one.nbytes for one in growing.facts() if one.group in (GROUP, ASKED_GROUP))
            return msgspec.structs.replace(found, nbytes=taken)

        yield look


def _pairs(
    look: Callable[[], LiveNow], names: list[str], every_s: float
) -> Iterator[tuple[LiveNow, LiveNow]]:
    """Each look beside the one before, for rates; of these tables, or of all."""
    before = now = _only(look(), names)
    while True:
        yield before, now
        time.sleep(every_s)
        before, now = now, _only(look(), names)


def _only(found: LiveNow, names: list[str]) -> LiveNow:
    if not names:
        return found
    chosen = tuple(one for one in found.tables if one.name in names)
    return msgspec.structs.replace(found, tables=chosen)


def _home(settings: Settings) -> Path:
    return settings.home.expanduser().resolve()


def _check_names(found: LiveNow, names: list[str]) -> None:
    from neural_gpu_bus.live.definitions import not_live

    known = [one.name for one in found.tables]
    for name in names:
        if name not in known:
            raise not_live(name, known)
