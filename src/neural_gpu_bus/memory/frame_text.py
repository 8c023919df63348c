"""How a frame looks to a person: what it is, its columns, and its first values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.frame import Frame

COLUMNS_SHOWN_MAX = 30
VALUES_SHOWN = 3
_VALUE_CHARACTERS_MAX = 24
_NAME_CHARACTERS_MAX = 64

#: Zeros behind a time's seconds.
_EMPTY_FRACTION = re.compile(r"(\.|(?<=\.\d{3})|(?<=\.\d{6}))0+$")


def describe(frame: Frame) -> str:
    """One line for the frame, then one a column: name, type, NULLs, first values."""
    block = frame.descriptor
    title = f"{block.name!r} version {block.version}" if block.name else "without a name"
    first = frame.arrow().slice(0, VALUES_SHOWN)
    lines = [
        [
            _short(column.name, _NAME_CHARACTERS_MAX),
            column.type,
            f"{column.nulls:,} NULL" if column.nulls else "",
            ", ".join(_texts(first[column.name])),
        ]
        for column in block.columns[:COLUMNS_SHOWN_MAX]
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    more = ", ..." if frame.rows > VALUES_SHOWN else ""
    table = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False))
        + f"  {line[3]}{more}"
        for line in lines
    ]
    if len(block.columns) > COLUMNS_SHOWN_MAX:
        table.append(f"... and {len(block.columns) - COLUMNS_SHOWN_MAX} more columns")
    head = f"Frame {title}: {frame.rows:,} rows x {len(frame)} columns, {_size(frame.nbytes)}"
    return "\n  ".join([head, *(line.rstrip() for line in table)])


def _texts(column: pa.ChunkedArray[Any]) -> list[str]:
    import pyarrow as pa

    kind: Any = column.type
    temporal: bool = pa.types.is_temporal(kind)
    if not temporal:
        return [_short(value, _VALUE_CHARACTERS_MAX) for value in column.to_pylist()]
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


def _size(nbytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"
