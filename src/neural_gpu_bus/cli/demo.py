"""``ngb demo`` and ``ngb bench``: run them, show how they come along, print one table."""

from __future__ import annotations

import importlib.util
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from neural_gpu_bus.cli.console import err, out
from neural_gpu_bus.errors import HostError, MissingDependencyError

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseResult
    from neural_gpu_bus.benchmarks.results import DemoResults, WorkloadResult

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
    _require_writable(report)
    import neural_gpu_bus as ngb

    display = Display()
    with display:
        display.say("starting the servers")
        from neural_gpu_bus.benchmarks.demo import DemoOptions, run_demo
        from neural_gpu_bus.benchmarks.tasks import FULL, QUICK

        options = DemoOptions(data, 1 if quick else repeats, seed, QUICK if quick else FULL)
        with ngb.open() as plane:
            results = run_demo(plane, options, clock=time.perf_counter, watcher=display)
    _write(results, report)
    _print_demo(results, report)


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
    import neural_gpu_bus as ngb
    from neural_gpu_bus.benchmarks.cases import chosen

    cases = chosen(only or [])
    display = Display()
    with display, ngb.open() as plane, ExitStack() as at_end:
        from neural_gpu_bus.benchmarks.case import Ground, run_cases

        ground = Ground.of(plane, 10_000 if quick else 1_000_000, at_end)
        found = run_cases(cases, ground, repeats=repeats, clock=time.perf_counter, watcher=display)
    for result in found.cases:
        _print_case(result)
    if json is not None:
        _replace(json, found.to_json())


class Display:
    """Live progress on standard error; plain lines where that is no terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            expand=True,
        )
        self._task = self._progress.add_task("", total=None)
        self._table = Table(expand=True, box=None)
        for name in ("", "traditional", "best library", "direct, cold", "direct, resident"):
            self._table.add_column(name, justify="left" if not name else "right")
        self._live = Live(console=err, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.update(self._progress)
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if err.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """What happens now."""
        self._progress.update(self._task, description=escape(text))
        if not err.is_terminal:
            err.print(escape(text))

    def expect(self, steps: int) -> None:
        """How many steps there will be."""
        self._progress.update(self._task, total=steps, completed=0)

    def step(self) -> None:
        """One of them is done."""
        self._progress.advance(self._task)

    def measured(self, result: WorkloadResult) -> None:
        """A line of the growing table."""
        from neural_gpu_bus.benchmarks.wording import duration

        medians = [duration(timing.median_s) for timing in result.timings.values()]
        self._table.add_row(result.title, *medians)
        self._live.update(Group(self._progress, self._table))


def _require(modules: tuple[str, ...], *, extra: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f"{module}, one of the rivals to compare with, is not installed",
                hint=f"pip install 'neural-gpu-bus[{extra}]'",
                library=module,
                extra=extra,
            )


def _require_writable(report: Path) -> None:
    """Before anything is measured: a page that cannot be written is known at once."""
    probe = report.with_name(f".{report.name}.draft")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise HostError(
            f"the page cannot be written to {str(report)!r}: {error.strerror}",
            hint="name another place with --report PATH",
            file=str(report),
        ) from error


def _write(results: DemoResults, report: Path) -> None:
    from neural_gpu_bus.benchmarks.report.page import render

    _replace(report.with_name("results.json"), results.to_json())
    _replace(report, render(results).encode())


def _replace(path: Path, content: bytes) -> None:
    """The whole file or the old one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def _print_demo(results: DemoResults, report: Path) -> None:
    from neural_gpu_bus.benchmarks.results import COLD, LIBRARY, RESIDENT, TRADITIONAL, WAYS
    from neural_gpu_bus.benchmarks.wording import duration, times

    table = Table(
        title="From PostgreSQL to stored results: medians, and how many times faster",
        box=SIMPLE_HEAD,
        padding=0,
    )
    table.add_column("workload", no_wrap=True)
    heads = ("\ntradi-\ntional", "\nbest\nlibrary", "\ndirect\ncold", "direct\nresi-\ndent")
    ratios = ("cold\nvs\ntrad", "cold\nvs\nlib", "res.\nvs\ntrad", "res.\nvs\nlib")
    for head in (*heads, *ratios):
        table.add_column(head, justify="right", no_wrap=True)
    for result in results.workloads:
        faster = [
            times(result.times_faster(way, than))
            for way in (COLD, RESIDENT)
            for than in (TRADITIONAL, LIBRARY)
        ]
        medians = [duration(result.timings[way].median_s) for way in WAYS]
        table.add_row(result.title, *medians, *faster)
    out.print(table)
    for workload, why in results.skipped.items():
        out.print(escape(f"skipped {workload}: {why}"), soft_wrap=True)
    for line in (*_facts(results), *results.data_notes):
        out.print(escape(line), soft_wrap=True, style="dim")
    out.print(escape(f"report: {report.resolve()}"), soft_wrap=True)


def _facts(results: DemoResults) -> list[str]:
    from neural_gpu_bus.benchmarks.report.page import machine_line

    versions = {**results.servers, **results.versions}
    return [
        f"measured {results.measured_at} on {machine_line(results)}; {results.repeats} timed runs "
        f"of each way in turns after a warm one; seed {results.seed}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def _print_case(result: CaseResult) -> None:
    from neural_gpu_bus.benchmarks.wording import duration, times

    table = Table(
        title=f"{result.name}: {result.question}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for head in ("", "median", "minimum", "quartiles", "times as long"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    fastest_s = min((timing.median_s for timing in result.timings.values()), default=0.0)
    for name, timing in result.timings.items():
        quartiles = f"{duration(timing.lower_quartile_s)} - {duration(timing.upper_quartile_s)}"
        ratio = times(timing.median_s / fastest_s)
        table.add_row(name, duration(timing.median_s), duration(timing.min_s), quartiles, ratio)
    out.print(table)
    for name, note in result.notes.items():
        out.print(escape(f"  {name}: {note}"), style="dim", soft_wrap=True)
    for name, why in result.skipped.items():
        out.print(escape(f"  {name} skipped: {why}"), style="dim", soft_wrap=True)
