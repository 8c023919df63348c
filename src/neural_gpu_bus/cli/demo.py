"""``ngb demo`` and ``ngb bench``: run them, show how they come along, print one table."""

from __future__ import annotations

import importlib.util
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from neural_gpu_bus.cli.console import out
from neural_gpu_bus.cli.demo_tables import Display, print_case, print_demo
from neural_gpu_bus.cli.output_files import require_writable, write_whole
from neural_gpu_bus.errors import MissingDependencyError

#: Modules of the rivals, without which there is nothing to compare with.
RIVALS = ("adbc_driver_postgresql", "pandas", "polars", "psycopg2", "scipy", "sqlalchemy", "talib")


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with bars, trades, daily_prices, factors instead of the samples."
        ),
    ] = None,
    report: Annotated[Path, typer.Option(help="Where the page goes; results.json beside it.")] = (
        Path("report.html")
    ),
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each way.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the made-up positions.")] = 7,
    quick: Annotated[
        bool, typer.Option(help="Less data and one timed run: a check, no figures.")
    ] = (False),
) -> None:
    """Take real data from PostgreSQL to stored results, the traditional and the direct way."""
    _require((*RIVALS, "skfolio"), extra="demo")
    figures = report.with_name("results.json")
    require_writable("--report PATH", report, figures)
    import neural_gpu_bus as ngb

    display = Display()
    with display:
        display.say("starting the servers")
        from neural_gpu_bus.benchmarks.demo import DemoOptions, run_demo
        from neural_gpu_bus.benchmarks.tasks import FULL, QUICK

        options = DemoOptions(data, 1 if quick else repeats, seed, QUICK if quick else FULL)
        with ngb.open() as plane:
            results = run_demo(plane, options, clock=time.perf_counter, watcher=display)
    print_demo(results)
    from neural_gpu_bus.benchmarks.report.page import render

    write_whole("--report PATH", figures, results.to_json())
    write_whole("--report PATH", report, render(results).encode())
    out.print(escape(f"report: {report.resolve()}"), soft_wrap=True)


def bench(
    only: Annotated[list[str] | None, typer.Option(help="Case to run; may be repeated.")] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each entrant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="File for the figures.")] = None,
    quick: Annotated[bool, typer.Option(help="A hundredth of the rows: a check, no figures.")] = (
        False
    ),
) -> None:
    """Time single steps, the direct way beside what a user has today; equality first."""
    _require(RIVALS, extra="bench")
    if json is not None:
        require_writable("--json FILE", json)
    import neural_gpu_bus as ngb
    from neural_gpu_bus.benchmarks.cases import chosen

    cases = chosen(only or [])
    display = Display()
    with display, ngb.open() as plane, ExitStack() as at_end:
        from neural_gpu_bus.benchmarks.case import Ground, run_cases

        ground = Ground.of(plane, 10_000 if quick else 1_000_000, at_end)
        found = run_cases(cases, ground, repeats=repeats, clock=time.perf_counter, watcher=display)
    for result in found.cases:
        print_case(result)
    if json is not None:
        write_whole("--json FILE", json, found.to_json())


def _require(modules: tuple[str, ...], *, extra: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f"{module}, one of the rivals to compare with, is not installed",
                hint=f"pip install 'neural-gpu-bus[{extra}]'",
                library=module,
                extra=extra,
            )
