"""How a frame looks to a person: what it is, its columns, and its first values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_gpu_bus.memory.frame import Frame

COLUMNS_SHOWN_MAX = 30
VALUES_SHOWN = 3
_VALUE_CHARACTERS_MAX = 24


def describe(frame: Frame) -> str:
    """One line for the frame, then one a column: name, type, NULLs, first values."""
    block = frame.descriptor
    title = f"{block.name!r} version {block.version}" if block.name else "without a name"
    first = frame.arrow().slice(0, VALUES_SHOWN)
    lines = [
        [
            column.name,
            column.type,
            f"{column.nulls:,} NULL" if column.nulls else "",
            ", ".join(_short(value) for value in first[column.name].to_pylist()),
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


def _short(value: Any) -> str:
    text = "NULL" if value is None else str(value)
    if len(text) > _VALUE_CHARACTERS_MAX:
        return text[: _VALUE_CHARACTERS_MAX - 3] + "..."
    return text


def _size(nbytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"
