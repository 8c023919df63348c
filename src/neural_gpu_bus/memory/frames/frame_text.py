"""How a frame looks to a person: what it is, its columns, and its first values."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.quantities import size_in_words

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.frames.frame import Frame

COLUMNS_SHOWN_MAX = 30
VALUES_SHOWN = 3
ROWS_SHOWN_HTML = 5
_VALUE_CHARACTERS_MAX = 24
_NAME_CHARACTERS_MAX = 64

_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=\w+, ordered=(\d)>")

#: Zeros behind a time's seconds.
_EMPTY_FRACTION = re.compile(r"(\.|(?<=\.\d{3})|(?<=\.\d{6}))0+$")


def describe(frame: Frame) -> str:
    """One line for the frame, then one a column: name, type, NULLs, first values."""
    lines = _lines(frame, VALUES_SHOWN)
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    more = ", ..." if frame.rows > VALUES_SHOWN else ""
    table = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False))
        + f"  {', '.join(line[3:])}{more}"
        for line in lines
    ]
    if len(frame) > COLUMNS_SHOWN_MAX:
        table.append(f"... and {len(frame) - COLUMNS_SHOWN_MAX} more columns")
    return "\n  ".join([f"Frame {_title(frame)}", *(line.rstrip() for line in table)])


def describe_html(frame: Frame) -> str:
    """The same for a notebook: a table of the first rows under the columns' names and types."""
    lines = _lines(frame, ROWS_SHOWN_HTML)
    rows = [
        "".join(f"<th>{escape(line[0])}</th>" for line in lines),
        "".join(
            f"<td><small>{escape(', '.join(filter(None, line[1:3])))}</small></td>"
            for line in lines
        ),
    ]
    shown = range(3, max(len(line) for line in lines))
    rows += ["".join(f"<td>{escape(line[place])}</td>" for line in lines) for place in shown]
    left_out = len(frame) - COLUMNS_SHOWN_MAX
    more = f", the first {COLUMNS_SHOWN_MAX} of them shown" if left_out > 0 else ""
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<p><b>Frame</b> {escape(_title(frame) + more)}</p>\n<table>\n{body}\n</table>"


def _title(frame: Frame) -> str:
    source = frame.source
    part = ""
    if frame.rows != source.rows:
        part = f", rows {frame.start:,}:{frame.stop:,} of {source.rows:,}"
    counts = f"{frame.rows:,} rows x {len(frame)} columns"
    return f"{source.title}{part}: {counts}, {size_in_words(frame.nbytes)}"


def _lines(frame: Frame, values: int) -> list[list[str]]:
    """For each column its name, type and NULLs, and the text of its first values."""
    names = list(frame)[:COLUMNS_SHOWN_MAX]
    first = frame.head(values).select(*names).arrow()
    lines = []
    for name, column in zip(names, first.columns, strict=True):
        window = frame.window(name)
        nulls = f"{window.nulls:,} NULL" if window.nulls else ""
        name_shown = _short(name, _NAME_CHARACTERS_MAX)
        kind_shown = _short(_kind(window.column.type), _NAME_CHARACTERS_MAX)
        lines.append([name_shown, kind_shown, nulls, *_texts(column)])
    return lines


def _kind(name: str) -> str:
    """As Arrow spells it; a dictionary by what it holds, for its spelling is 57 characters wide."""
    found = _DICTIONARY.fullmatch(name)
    if found is None:
        return name
    return f"{found[1]}, {'ordered ' if found[2] == '1' else ''}dictionary"


def _texts(column: pa.ChunkedArray[Any]) -> list[str]:
    import pyarrow as pa

    kind: Any = column.type
    temporal: bool = pa.types.is_temporal(kind) and not pa.types.is_interval(kind)
    if not temporal:
        try:
            values = column.to_pylist()
        except (ValueError, OverflowError, LookupError, NotImplementedError):
            # Times within, see frame_columns.objects; intervals that Python has no type for.
            return ["?"] * len(column)
        return [_short(value, _VALUE_CHARACTERS_MAX) for value in values]
    # By Arrow: Python's dates end at the years 1 and 9999. In UTC: no table of zones is needed.
    zone = "Z" if pa.types.is_timestamp(kind) and kind.tz else ""
    plain: Any = column.cast(pa.timestamp(kind.unit)) if zone else column
    shown = plain.cast(pa.string()).to_pylist()
    return ["NULL" if text is None else _EMPTY_FRACTION.sub("", text) + zone for text in shown]


def _short(value: Any, characters_max: int) -> str:
    """Cut, and without control characters: a terminal would obey them."""
    text = "NULL" if value is None else str(value)
    if len(text) > characters_max:
        text = text[: characters_max - 3] + "..."
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
