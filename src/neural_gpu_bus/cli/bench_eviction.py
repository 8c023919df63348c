"""``ngb bench eviction``: which policy saves the most reload time, against what is possible."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from neural_gpu_bus.cli.console import err, out
from neural_gpu_bus.cli.output_files import require_writable, write_whole

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.eviction.contest import Contest, Figures, Match

#: Shares of the trace's bytes that the memory holds.
CAPACITIES = (0.1, 0.3)
REQUESTS = 4000
SEED = 7

#: Beside the name of who saved the most.
WON = " *"
EXPLANATIONS = (
    "* saved the most reload time: what its hits would have cost to load again",
    "of possible: saved over `at most`, which no policy can exceed whatever it knows (PFOO-U); "
    "its mean over all matches decides",
    "belady: knows when each dataset is asked for again, and not what it costs",
)


def bench_eviction(
    capacity: Annotated[
        list[float] | None,
        typer.Option(
            min=0.001, max=1, help="Share of a trace's bytes that memory holds; may be repeated."
        ),
    ] = None,
    requests: Annotated[
        int, typer.Option(min=10, max=1_000_000, help="Requests of each made-up trace.")
    ] = REQUESTS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the made-up traces.")] = SEED,
    json: Annotated[Path | None, typer.Option(help="File for the figures.")] = None,
) -> None:
    """Replay traces against each eviction policy; the most reload time saved wins."""
    if json is not None:
        require_writable("--json FILE", json)
    found = _play(capacity or CAPACITIES, requests, seed)
    for _, matches in groupby(found.matches, key=lambda match: match.trace):
        _print_trace(list(matches))
    _print_overall(found)
    if json is not None:
        write_whole("--json FILE", json, found.to_json())


def _play(capacities: Sequence[float], requests: int, seed: int) -> Contest:
    from neural_gpu_bus.benchmarks.eviction.contest import contest, matches_of

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("replaying traces", total=matches_of(capacities))
        return contest(capacities, requests, seed, told=lambda: progress.advance(task))


def _print_trace(matches: Sequence[Match]) -> None:
    """One table a trace: its capacities one below the other, each with its bounds."""
    table = _table(f"{matches[0].trace}: {matches[0].meaning}")
    for head in ("memory", "policy", "hits", "bytes hit", "saved", "of possible", "choices/s"):
        table.add_column(head, justify="left" if head == "policy" else "right", no_wrap=True)
    for match in matches:
        rows = [_row(figures, wins=figures in match.winners) for figures in match.figures]
        memory = f"{100 * match.capacity:.3g} %", f"{match.bytes_max / 2**20:,.0f} MiB"
        for cell, row in zip_longest(memory, rows, fillvalue=""):
            table.add_row(cell, *row)
        table.add_row("", *_row(match.belady, wins=False), style="dim")
        table.add_row("", *_possible(match), style="dim", end_section=True)
    out.print(table)


def _row(figures: Figures, *, wins: bool) -> list[str]:
    cells = [
        figures.policy + (WON if wins else ""),
        _percent(figures.hit_ratio),
        _percent(figures.byte_hit_ratio),
        _time(figures.saved_ns),
        _percent(figures.share_of_possible),
        _rate([figures]),
    ]
    return [f"[bold green]{cell}[/]" for cell in cells] if wins else cells


def _possible(match: Match) -> list[str]:
    ratios = _percent(match.possible_hit_ratio), _percent(match.possible_byte_hit_ratio)
    return ["at most", *ratios, _time(match.possible_saved_ns), _percent(1.0), ""]


def _print_overall(found: Contest) -> None:
    from neural_gpu_bus.memory.catalog.eviction import DEFAULT_POLICY, POLICIES

    table = _table(f"all {len(found.matches)} matches")
    for head in ("policy", "of possible", "hits", "won", "choices/s", "goes first"):
        left = head in {"policy", "goes first"}
        table.add_column(head, justify="left" if left else "right", no_wrap=head != "goes first")
    for name, policy in POLICIES.items():
        figures = list(found.of(name))
        wins = name == found.winner
        cells = [
            name + (WON if wins else ""),
            _percent(found.mean_share(name)),
            _percent(fmean(one.hit_ratio for one in figures)),
            str(
                sum(one in match.winners for one, match in zip(figures, found.matches, strict=True))
            ),
            _rate(figures),
            policy.meaning,
        ]
        table.add_row(*cells, style="bold green" if wins else None)
    out.print(table)
    how = f"{found.requests:,} requests a made-up trace, seed {found.seed}"
    for line in (*EXPLANATIONS, f"{how}; the default policy is {DEFAULT_POLICY}"):
        out.print(escape(line), style="dim")


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), show_edge=False
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _time(saved_ns: int) -> str:
    from neural_gpu_bus.benchmarks.wording import duration

    return duration(saved_ns / 1e9) if saved_ns else "0"


def _rate(figures: Sequence[Figures]) -> str:
    """Choices a second; nothing where nothing had to go."""
    spent_ns = sum(one.deciding_ns for one in figures)
    return f"{sum(one.decisions for one in figures) / spent_ns * 1e9:,.0f}" if spent_ns else ""
