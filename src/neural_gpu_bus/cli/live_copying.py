"""What is shown while a table becomes live: a bar of its copy, or what it waits for, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.quantities import shorter, size

if TYPE_CHECKING:
    from rich.console import Console

    from neural_gpu_bus.live.shared import TableState

#: Cells of a line that are not for words: the bar, its numbers and their gaps.
_OTHER_CELLS = 8
#: How long something lasts already moves with each look; that is no news.
_AGE = re.compile(r", \d+ s old")


class Copying:
    """Shows states of one table; ``tell`` is given each. Where no terminal is, a line for each
    that says something else.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name = printable(name)
        self._console = console
        self._said = ""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[rows]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(escape(self._name), total=None, rows="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, state: TableState) -> None:
        """The newest state."""
        words = in_words(state)
        if self._bar is None:
            if _AGE.sub("", words) != _AGE.sub("", self._said):
                self._console.print(escape(f"{self._name}: {words}"), soft_wrap=True)
        else:
            rows = rows_in_words(state) if state.state == "copying" else ""
            room = max(20, self._console.width - len(rows) - 20 - _OTHER_CELLS)
            self._bar.update(
                self._task,
                description=escape(shorter(f"{self._name}: {words}", room)),
                completed=state.rows_copied,
                total=state.rows_expected if _is_estimated(state) else None,
                rows=rows,
            )
        self._said = words


def in_words(state: TableState) -> str:
    """``waiting for transaction of pid 4242 ...``, ``copying``: no numbers that move."""
    if state.state == "waiting":
        detail = state.detail.removeprefix("waiting ")
        return f"waiting {printable(detail)}" if detail else "waiting for PostgreSQL"
    return f"{state.state}: {printable(state.detail)}" if state.detail else state.state


def rows_in_words(state: TableState) -> str:
    """``3,000 of about 12,000 rows, 1.2 MiB``."""
    of = f" of about {state.rows_expected:,}" if _is_estimated(state) else ""
    nbytes = f", {size(state.bytes_copied)}" if state.bytes_copied else ""
    return f"{state.rows_copied:,}{of} rows{nbytes}"


def _is_estimated(state: TableState) -> bool:
    return state.rows_expected > state.rows_copied
