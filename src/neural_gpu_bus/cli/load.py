"""``ngb load``: files into a table, with a bar that says how fast and how long still."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

import neural_gpu_bus as ngb
from neural_gpu_bus.cli.console import err, out

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.loading.loads import LoadReport

MIB = 1 << 20


def load(
    files: Annotated[
        list[Path], typer.Argument(help="Parquet, Arrow, Feather or CSV (also .csv.gz) files.")
    ],
    table: Annotated[
        str, typer.Option(help="Table to load into: name or schema.name; made when missing.")
    ],
    key: Annotated[
        str | None,
        typer.Option(help="Columns that tell rows apart: a,b. Known market data has its own."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="CSV columns that are text whatever they look like: a,b."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Without a key: append files also when they were loaded before."
        ),
    ] = False,
) -> None:
    """Bring files into a PostgreSQL table. The same file again adds nothing, and with a key brings
    back rows that were deleted or changed.
    """
    reports: list[LoadReport] = []
    try:
        with ngb.open() as plane, _bar() as bar:
            for file in files:
                task = bar.add_task(escape(file.name), total=None)

                def tell(done: int, total: int | None, task: int = task) -> None:
                    bar.update(task, completed=done, total=total)  # type: ignore[arg-type]

                reports += plane.load(
                    [file],
                    table,
                    key=_names(key),
                    text=_names(text) or (),
                    again=again,
                    progress=tell,
                )
                bar.remove_task(task)
    finally:
        if reports:
            out.print(_summary(reports))
            for note in _notes(reports):
                err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} rows/s" if speed else "", style="cyan")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        _Rate(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


def _summary(reports: list[LoadReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("table")
    for title in ("rows", "MiB", "s", "rows/s"):
        table.add_column(title, justify="right")
    table.add_column("")
    for report in reports:
        rate = "" if report.repeated else f"{report.rows_per_second:,.0f}"
        table.add_row(
            escape(Path(report.file).name),
            escape(report.table),
            f"{report.rows:,}",
            f"{report.nbytes / MIB:.1f}",
            f"{report.seconds:.2f}",
            rate,
            _remark(report),
        )
    return table


def _remark(report: LoadReport) -> str:
    if report.repeated:
        return "loaded before" if report.missing_rows else "loaded before, nothing changed"
    return "new table" if report.created else ""


def _notes(reports: list[LoadReport]) -> list[str]:
    """What deserves a sentence of its own, each once."""
    notes = [note for report in reports for note in report.notes]
    notes += [
        f"table {report.table} lacks {report.missing_rows:,} of the rows that were loaded into it; "
        "--again loads a file once more"
        for report in reports
        if report.missing_rows
    ]
    return list(dict.fromkeys(notes))
