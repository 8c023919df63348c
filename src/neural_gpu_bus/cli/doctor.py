"""``ngb doctor`` and ``ngb doctor postgres``: what is here, what is missing, how to get it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import out
from neural_gpu_bus.quantities import plural
from neural_gpu_bus.settings import load_settings
from neural_gpu_bus.status.checks import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neural_gpu_bus.status.checks import Check
    from neural_gpu_bus.status.postgres_doctor import PostgresReport
    from neural_gpu_bus.stores.postgres.advice.advice import Advice

app = typer.Typer(invoke_without_command=True)

MARKS = {
    Verdict.GOOD: "[green]yes[/]",
    Verdict.LIMITED: "[yellow]no[/]",
    Verdict.BAD: "[bold red]problem[/]",
}
STANDINGS = {"good": "[green]good[/]", "advice": "[yellow]advice[/]", "problem": MARKS[Verdict.BAD]}


@app.callback()
def doctor(context: typer.Context) -> None:
    """Say what is here, what is missing, and how to get it."""
    if context.invoked_subcommand is not None:
        return
    from neural_gpu_bus.status.doctor import examine

    problems = 0
    for title, checks in examine(load_settings()):
        out.print(f"[bold]{title}[/]", _table(checks), "")
        problems += sum(check.verdict is Verdict.BAD for check in checks)
    if problems:
        told = plural(problems, "problem")
        out.print(f"[bold red]{told}[/]: each line with -> says what to do")
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


@app.command()
def postgres(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read PostgreSQL's catalog: what tables, settings and rights lack, and the SQL that helps."""
    from neural_gpu_bus.status.postgres_doctor import examine_postgres

    found = examine_postgres(load_settings())
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        _print_report(found)
    if found.problems:
        sys.exit(1)


def _print_report(report: PostgresReport) -> None:
    out.print(f"[bold]PostgreSQL at {escape(report.address)}[/]", soft_wrap=True)
    from neural_gpu_bus.stores.postgres.advice.advice import told_once

    for title, advice in report.groups.items():
        group = told_once(advice) if title == "Tables" else advice
        if group:
            out.print(f"[bold]{title}[/]", _advice_table(group))
            _print_statements(group)
            out.print()
    if report.tables_unseen:
        out.print(f"{plural(report.tables_unseen, 'smaller table')} not looked at")
    if report.problems:
        out.print(f"[bold red]{plural(report.problems, 'problem')}[/]")
    else:
        out.print("[green]no problem found[/]; what is advice works, and could be better")


def _advice_table(group: Iterable[Advice]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=7)
    table.add_column(min_width=19, max_width=32, overflow="fold")
    table.add_column(overflow="fold")
    for one in group:
        why = f"\n{escape(one.why)}" if one.why else ""
        table.add_row(STANDINGS[one.standing], escape(one.subject), escape(one.what) + why)
    return table


def _print_statements(group: Iterable[Advice]) -> None:
    """Below the table and never broken into lines, so that they can be copied."""
    for one in group:
        if one.sql:
            out.print(f"  -- {one.subject}", style="dim", markup=False, soft_wrap=True)
        for statement in one.sql:
            out.print(f"  {statement};", style="cyan", markup=False, soft_wrap=True)
