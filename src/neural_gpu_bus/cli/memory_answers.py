"""What ``ngb bench memory`` and ``ngb bench postgres`` show: a table a question, then its figures,
met or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.benchmarks.wording import TIMES, duration, times
from neural_gpu_bus.cli.console import out

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.answers import Answer, Line, Part, QuestionResults, Share

#: From here on the slowest of a hundred is not just the slowest.
_SAMPLES_MANY = 100
_STYLES = {"ours": "bold", "limit": "cyan", "rival": ""}


def print_answers(results: QuestionResults) -> None:
    """All questions, then the machine and the versions."""
    for answer in results.answers:
        _print_answer(answer, judged=not results.quick)
    out.print("p50: median; times ours: its median beside the first line's", style="dim")
    machine = results.machine
    out.print(
        escape(
            f"measured {results.measured_at} on {machine.processor}, {machine.cores} cores, "
            f"{machine.memory_bytes / 2**30:.0f} GiB, {machine.system}, {machine.python}"
        ),
        style="dim",
        soft_wrap=True,
    )
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    out.print(escape(versions), style="dim", soft_wrap=True)
    if results.quick:
        out.print(
            "--quick: a check that everything runs; these are no figures, and judged by none",
            style="yellow",
        )


def _print_answer(answer: Answer, *, judged: bool) -> None:
    out.print(f"[bold]{escape(answer.name)}[/]: {escape(answer.question)}", soft_wrap=True)
    for part in answer.parts:
        out.print(_shares(part) if part.shares else _lines(part))
    for goal in answer.goals if judged else []:
        mark = "[green]met    [/]" if goal.met else "[yellow]not met[/]"
        out.print(f"  {mark} {escape(goal.wanted)}: {escape(goal.found)}", soft_wrap=True)
    for note in answer.notes:
        out.print(escape(f"  {note}"), style="dim", soft_wrap=True)
    for name, why in answer.skipped.items():
        out.print(escape(f"  {name} skipped: {why}"), style="dim", soft_wrap=True)
    out.print()


def _table(part: Part, *heads: str) -> Table:
    """Fits into 80 columns: one blank between columns, none at the edges."""
    table = Table(
        title=part.title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("", no_wrap=True, min_width=32)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True, min_width=8)
    return table


def _lines(part: Part) -> Table:
    """Median, slow end, and the median beside our first line's. Few samples have no percentile."""
    is_many = all(line.spread.samples >= _SAMPLES_MANY for line in part.lines)
    table = _table(part, "p50", "p99" if is_many else "slowest", "times ours", "samples")
    first_s = part.lines[0].spread.p50_s
    for line in part.lines:
        table.add_row(*_row(line, first_s), style=_STYLES[line.kind])
    return table


def _row(line: Line, first_s: float) -> list[str]:
    spread = line.spread
    beside = _beside(spread.p50_s / first_s) if first_s else ""
    return [
        _title(line),
        duration(spread.p50_s),
        duration(spread.p99_s),
        beside,
        f"{spread.samples:,}",
    ]


def _beside(ratio: float) -> str:
    return f"{ratio:.2f}{TIMES}" if ratio < 1 else times(ratio)


def _shares(part: Part) -> Table:
    table = _table(part, "mapped", "own", "together")
    for share in part.shares:
        together = share.mapped + share.private
        figures = [f"{figure:.3f}" for figure in (share.mapped, share.private, together)]
        table.add_row(_title(share), *figures, style=_STYLES[share.kind])
    return table


def _title(line: Line | Share) -> str:
    return escape(f"limit: {line.title}" if line.kind == "limit" else line.title)
