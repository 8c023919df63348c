"""``ngb doctor`` and ``ngb config``: what is here, what is missing, what is set."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import out
from neural_gpu_bus.settings import Settings, load_settings
from neural_gpu_bus.status.checks import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neural_gpu_bus.status.checks import Check

MARKS = {
    Verdict.GOOD: "[green]yes[/]",
    Verdict.LIMITED: "[yellow]no[/]",
    Verdict.BAD: "[bold red]problem[/]",
}


def doctor() -> None:
    """Say what is here, what is missing, and how to get it."""
    from neural_gpu_bus.status.doctor import examine

    problems = 0
    for title, checks in examine(load_settings()):
        out.print(f"[bold]{title}[/]", _table(checks), "")
        problems += sum(check.verdict is Verdict.BAD for check in checks)
    if problems:
        out.print(f"[bold red]{problems} problem(s)[/]: each line with -> says what to do")
        sys.exit(1)
    out.print("[green]no problem found[/]; a 'no' is an optional part that is not there")


def _table(checks: Iterable[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, min_width=19)
    table.add_column(overflow="fold")
    for check in checks:
        advice = f"\n[cyan]-> {escape(check.advice)}[/]" if check.advice else ""
        table.add_row(MARKS[check.verdict], check.name, escape(check.detail) + advice)
    return table


def config() -> None:
    """Print every setting, its value now, and what it means. Secrets show as stars."""
    settings = load_settings()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = "[dim]not set[/]" if value is None else f"[cyan]{escape(str(value))}[/]"
        table.add_row(f"NGB_{name.upper()}", f"{shown}\n{escape(field.description or '')}")
    out.print(table)
