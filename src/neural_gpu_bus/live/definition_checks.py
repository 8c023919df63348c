"""Parts of a live table's definition that cannot be: each check raises BadParameterError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neural_gpu_bus.arguments import check_encodable, check_seconds, check_text
from neural_gpu_bus.errors import BadParameterError

#: PostgreSQL's own limit of columns of a table.
COLUMNS_MAX = 1_600
#: Seconds between two looks without a stream.
POLL_S_MIN, POLL_S_MAX = 0.05, 86_400.0


def column_names(parameter: str, given: Any) -> tuple[str, ...]:
    """Of columns. Raises BadParameterError."""
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in given):
        raise bad(parameter, f"{given!r} are no names of columns", 'e.g. ["instrument_id"]')
    found = tuple(given)
    for name in found:
        check_encodable(parameter, name)
    if len(set(found)) < len(found):
        raise bad(parameter, f"{list(found)} has a name twice", "name each column once")
    if len(found) > COLUMNS_MAX:
        raise bad(parameter, f"{len(found):,} columns", f"a table has {COLUMNS_MAX:,} at most")
    return found


def check_asking(
    how: str, watermark: str | None, append_only: bool, spans_s: tuple[float, float, float]
) -> None:
    """What belongs to tables that are asked for, and to no others."""
    if how == "poll" and watermark is None:
        raise bad(
            "watermark",
            "polling asks for rows whose watermark rose, and none is named",
            "name a column of timestamps or numbers that each change raises: "
            "watermark='updated_at'",
        )
    if watermark is not None:
        check_text("watermark", watermark, "'updated_at'")
        if how != "poll":
            raise bad("watermark", f"how={how!r} has none", "leave it out, or say how='poll'")
    if append_only and how != "stream":
        raise bad("append_only", f"how={how!r} goes by the primary key", "leave it out")
    limits = ("poll_s", POLL_S_MIN), ("recopy_s", 1.0), ("overlap_s", 0.0)
    for (name, least), span_s in zip(limits, spans_s, strict=True):
        check_seconds(name, span_s)
        if not least <= span_s <= POLL_S_MAX:
            raise bad(name, f"{span_s!r} s", f"give {least:g} to {POLL_S_MAX:,.0f} s")


def check_slot(slot: str, known: Sequence[str], how: str) -> None:
    """One of these; a stream alone has one."""
    check_choice("slot", slot, known)
    if slot == "persistent" and how != "stream":
        raise bad("slot", f"how={how!r} reads no slot", "leave it out, or follow by the stream")


def check_choice(parameter: str, value: Any, known: Sequence[str]) -> None:
    """One of these."""
    if value not in known:
        raise bad(parameter, f"there is no {value!r}", f"there are {', '.join(known)}")


def bad(parameter: str, what: str, hint: str) -> BadParameterError:
    """The error for a part of a definition."""
    return BadParameterError(f"{parameter}: {what}", hint=hint, parameter=parameter)
