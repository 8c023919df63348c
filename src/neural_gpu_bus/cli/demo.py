"""``ngb demo``: run it, show how it comes along, print one table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from neural_gpu_bus.cli.console import out
from neural_gpu_bus.cli.demo_tables import Display, print_demo
from neural_gpu_bus.cli.output_files import require_writable, write_whole
from neural_gpu_bus.cli.rivals import RIVALS, require_rivals


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
    require_rivals((*RIVALS, "skfolio"), extra="demo")
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
