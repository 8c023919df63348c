"""The first rows of a result as a terminal can show them: whole columns, never torn names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from neural_gpu_bus.cli.console import printable
from neural_gpu_bus.quantities import plural

if TYPE_CHECKING:
    import pyarrow as pa

#: A column that is wider is broken into lines where not all columns fit.
_SHARE = 3
_WIDTH_MIN = 24
#: Blanks between columns.
_GAP = 1
#: Names of left out columns that are told.
_NAMES_MAX = 12

#: Zeros behind a time's seconds, before its zone.
_EMPTY_FRACTION = re.compile(r"(\.|(?<=\.\d{3})|(?<=\.\d{6}))0+(?=Z?$|[+-]\d\d:?\d\d$)")
NULL = "NULL"


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """One column's name and the texts of its first values; None for NULL."""

    name: str
    texts: tuple[str | None, ...]
    is_number: bool = False

    @property
    def width(self) -> int:
        """Characters of its longest text."""
        return max(len(self.name), *(len(text or NULL) for text in self.texts), 1)


def shown_columns(rows: pa.Table) -> list[ShownColumn]:
    """All columns of these rows as texts. Times by Arrow: Python's end at the year 9999."""
    return [
        ShownColumn(printable(name), tuple(_texts(column)), _is_number(column.type))
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    ]


def _texts(column: pa.ChunkedArray[Any]) -> Iterator[str | None]:
    import pyarrow as pa

    is_time = pa.types.is_temporal(column.type)
    plain: Any = column.cast(pa.string()) if is_time else column
    for value in plain.to_pylist():
        if value is None:
            yield None
        else:
            text = printable(str(value))
            yield _EMPTY_FRACTION.sub("", text) if is_time else text


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def first_rows(columns: Sequence[ShownColumn], width: int) -> Iterator[Table | str]:
    """What to print into that many characters: all columns where they fit; one a line for a single
    row; else those that fit, and a line that names the others.
    """
    fits = sum(column.width for column in columns) + _GAP * (len(columns) - 1) <= width
    if not fits and len(columns) > 1 and len(columns[0].texts) == 1:
        yield _one_a_line(columns)
        return
    widest = width if fits or len(columns) == 1 else max(_WIDTH_MIN, width // _SHARE)
    count = _fitting([min(column.width, widest) for column in columns], width)
    yield _side_by_side(columns[:count], widest)
    if count < len(columns):
        left = [column.name for column in columns[count:]]
        names = ", ".join(left[:_NAMES_MAX]) + (", ..." if len(left) > _NAMES_MAX else "")
        yield f"{plural(len(left), 'more column')}: {escape(names)}; --rows 1 shows one a line"


def _fitting(widths: Sequence[int], width: int) -> int:
    """How many fit side by side, at least one."""
    taken = -_GAP
    for place, one in enumerate(widths):
        taken += one + _GAP
        if taken > width:
            return max(place, 1)
    return len(widths)


def _side_by_side(columns: Sequence[ShownColumn], widest: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for column in columns:
        table.add_column(
            escape(column.name),
            overflow="fold",
            justify="right" if column.is_number else "left",
            max_width=widest,
        )
    for row in zip(*(column.texts for column in columns), strict=True):
        table.add_row(*map(_cell, row))
    return table


def _one_a_line(columns: Sequence[ShownColumn]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for column in columns:
        table.add_row(escape(column.name), _cell(column.texts[0]))
    return table


def _cell(text: str | None) -> str:
    return f"[dim]{NULL}[/]" if text is None else escape(text)
