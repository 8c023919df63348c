"""``ngb memory`` and ``ngb metrics``: look at the unified memory, for a person and for Prometheus.

Both look without starting a server: where nothing runs, the memory is empty.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.live import Live

from neural_gpu_bus import embedded
from neural_gpu_bus.cli.console import err, out
from neural_gpu_bus.cli.memory_view import memory_view
from neural_gpu_bus.datasets import open_memory
from neural_gpu_bus.descriptors import DatasetFacts, MemoryStatistics, RegionStatistics, SeriesFacts
from neural_gpu_bus.errors import BadParameterError, HostError
from neural_gpu_bus.memory.accounting.regions import region_budgets
from neural_gpu_bus.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from neural_gpu_bus.status.metrics import Look

#: Time between two looks of ``--watch``.
WATCH_S = 2.0


class MemoryNow(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    memory: MemoryStatistics
    datasets: tuple[DatasetFacts, ...]
    series: tuple[SeriesFacts, ...] = ()


def memory(
    seconds: Annotated[
        float | None,
        typer.Argument(min=0.1, max=86_400, help="Time between looks of --watch; 2 by default."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until Ctrl-C.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="All statistics and datasets as one line of JSON.")
    ] = False,
    datasets: Annotated[
        int, typer.Option(min=0, max=10_000, help="Datasets to show, biggest and oldest.")
    ] = 5,
) -> None:
    """Show what is in shared memory: regions, datasets, and who maps what."""
    if seconds is not None and not watch:
        raise BadParameterError(
            f"{seconds:g} says how often to look, and nothing asks to look again",
            hint="`ngb memory --watch 5`",
            parameter="seconds",
        )
    looks = _looks(seconds or WATCH_S if watch else None)
    with suppress(*[KeyboardInterrupt] if watch else []):
        if json:
            for found in looks:
                print(msgspec.json.encode(found).decode(), flush=True)
        elif watch and out.is_terminal:
            with Live(console=out, auto_refresh=False) as display:
                for found in looks:
                    display.update(_view(found, datasets), refresh=True)
        else:
            for found in looks:
                out.print(_view(found, datasets))


def metrics(
    listen: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Serve them on this port of 127.0.0.1; 0 takes a free one."
        ),
    ] = None,
) -> None:
    """Print the memory's statistics as Prometheus reads them, or serve them until Ctrl-C."""
    from neural_gpu_bus.status.metrics import metrics_text

    settings = load_settings()

    def look() -> tuple[MemoryStatistics, tuple[DatasetFacts, ...]]:
        found = look_at_memory(settings)
        return found.memory, found.datasets

    if listen is None:
        found = look()  # an error here is a sentence, to a server a 0
        sys.stdout.write(metrics_text(lambda: found))
    else:
        _serve(look, listen)


def look_at_memory(settings: Settings) -> MemoryNow:
    """The memory of these settings at this moment, without this process.

    Raises HostError where somebody who publishes was stopped, and so keeps everybody out.
    """
    folder = embedded.memory_folder(settings)
    if not folder.exists():
        return _nothing(folder, settings)
    with closing(open_memory(settings, folder)) as opened:
        statistics, datasets = opened.statistics(), opened.facts(mapped=True)
        series = tuple(opened.growing.facts())
    others = tuple(one for one in statistics.processes if one.pid != os.getpid())
    return MemoryNow(msgspec.structs.replace(statistics, processes=others), tuple(datasets), series)


def _nothing(folder: Path, settings: Settings) -> MemoryNow:
    existing = next(path for path in folder.parents if path.exists())
    host = os.statvfs(existing)
    most = min(settings.memory_limit_bytes, host.f_blocks * host.f_frsize)
    free = host.f_bavail * host.f_frsize
    regions = tuple(
        RegionStatistics(region, bytes_max=budget, bytes_used=0, datasets=0)
        for region, budget in region_budgets(most, settings.memory_shares).items()
    )
    statistics = MemoryStatistics(
        str(folder), most, 0, free, 0, 0, policy=settings.memory_policy, regions=regions
    )
    return MemoryNow(statistics, ())


def _looks(every_s: float | None) -> Iterator[MemoryNow]:
    """One, or one each so many seconds."""
    settings = load_settings()
    yield look_at_memory(settings)
    while every_s is not None:
        time.sleep(every_s)
        yield look_at_memory(settings)


def _view(found: MemoryNow, datasets_max: int) -> RenderableType:
    return memory_view(
        found.memory,
        found.datasets,
        found.series,
        now_ns=time.time_ns(),
        datasets_max=datasets_max,
        width=out.width,
    )


def _serve(look: Look, port: int) -> None:
    from prometheus_client import start_http_server

    from neural_gpu_bus.status.metrics import metrics_registry

    try:
        server, thread = start_http_server(port, "127.0.0.1", metrics_registry(look))
    except OSError as error:
        raise HostError(
            f"port {port} of 127.0.0.1 cannot be listened on: {error.strerror}",
            hint="name another with --listen",
            port=port,
        ) from None
    err.print(f"metrics are at http://127.0.0.1:{server.server_port}/metrics; Ctrl-C stops")
    with suppress(KeyboardInterrupt):
        thread.join()
    server.shutdown()
    server.server_close()
