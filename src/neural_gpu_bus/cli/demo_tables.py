"""What ``ngb demo`` and ``ngb bench`` show: progress as it goes, tables at the end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from neural_gpu_bus.cli.console import err, out

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.case import CaseResult
    from neural_gpu_bus.benchmarks.results import DemoResults, WorkloadResult


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
        """One of them is done.

        Ctrl-C is made ours again: a rival may have taken it. adbc_driver_manager 1.13 leaves its
        handler in place after a fetch, and then nothing hears the key any more.
        """
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
        self._progress.advance(self._task)

    def measured(self, result: WorkloadResult) -> None:
        """A line of the growing table."""
        from neural_gpu_bus.benchmarks.wording import duration

        medians = [duration(timing.median_s) for timing in result.timings.values()]
        self._table.add_row(result.title, *medians)
        self._live.update(Group(self._progress, self._table))


def print_demo(results: DemoResults) -> None:
    """One row a workload, then what was skipped, the machine, the versions and the data."""
    from neural_gpu_bus.benchmarks.results import COLD, LIBRARY, RESIDENT, TRADITIONAL, WAYS
    from neural_gpu_bus.benchmarks.wording import duration, times

    table = _table("From PostgreSQL to stored results: medians, and how many times faster")
    table.add_column("workload", no_wrap=True)
    heads = ("traditional", "best\nlibrary", "direct\ncold", "direct\nresident")
    for head in (*heads, "cold\nfaster*", "resident\nfaster*"):
        table.add_column(head, justify="right", no_wrap=True)
    for result in results.workloads:
        medians = [duration(result.timings[way].median_s) for way in WAYS]
        faster = [
            "/".join(times(result.times_faster(way, than)) for than in (TRADITIONAL, LIBRARY))
            for way in (COLD, RESIDENT)
        ]
        table.add_row(result.title, *medians, *faster)
    out.print(table)
    out.print("* times as fast as the traditional way / as the best library\n", style="dim")
    for workload, why in results.skipped.items():
        out.print(escape(f"skipped {workload}: {why}"), soft_wrap=True)
    for line in (*_facts(results), *results.data_notes):
        out.print(escape(line), soft_wrap=True, style="dim")


def _table(title: str) -> Table:
    """Fits into 80 columns: one blank between columns, none at the edges."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)


def _facts(results: DemoResults) -> list[str]:
    from neural_gpu_bus.benchmarks.report.page import machine_line

    versions = {**results.servers, **results.versions}
    return [
        f"measured {results.measured_at} on {machine_line(results)}; {results.repeats} timed runs "
        f"of each way in turns after a warm one; seed {results.seed}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def print_case(result: CaseResult) -> None:
    """One row an entrant, then notes and an empty line."""
    from neural_gpu_bus.benchmarks.wording import duration, times

    table = _table(f"{result.name}: {result.question}")
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
    out.print()
