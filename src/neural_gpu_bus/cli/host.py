"""``ngb config``: what is set."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import out
from neural_gpu_bus.settings import Settings, load_settings


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
