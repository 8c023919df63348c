"""Bytes, times and counts for people: in the few characters that a table has, or in a sentence.
Pure.
"""

from __future__ import annotations

SIZES = ("B", "KiB", "MiB", "GiB", "TiB")
#: Seconds of each unit, the largest first.
SPANS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


def size(nbytes: float) -> str:
    """``512 B``, ``1.5 MiB``, ``16 GiB``: at most 8 characters."""
    for unit in SIZES:
        if nbytes < 1000 or unit == SIZES[-1]:
            break
        nbytes /= 1024
    digits = 1 if nbytes < 10 and unit != "B" else 0
    return f"{nbytes:.{digits}f} {unit}"


def size_in_words(nbytes: float) -> str:
    """``800 bytes``, ``64 KiB``, ``31.4 MiB``: one digit behind the point where it is not zero."""
    for unit in ("bytes", *SIZES[1:]):
        if nbytes < 1024 or unit == SIZES[-1]:
            break
        nbytes /= 1024
    text = f"{nbytes:,.1f}".removesuffix(".0")
    return f"{text} {unit}"


def span(nanoseconds: float) -> str:
    """``350 us``, ``1.5 s``, ``12 min``, ``3.0 d``: at most 7 characters below ten years."""
    seconds = nanoseconds / 1e9
    if seconds < 1e-6:
        return "0 s"
    unit, length = next(found for found in SPANS if seconds >= found[1])
    value = seconds / length
    return f"{value:.{1 if value < 10 else 0}f} {unit}"


def span_in_words(nanoseconds: float) -> str:
    """``45 s``, ``12 min``, ``3 days``: whole ones, of the largest unit that there are two of."""
    seconds = max(nanoseconds, 0) / 1e9
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def ratio(part: int, whole: int) -> str:
    """``98.2 %``, ``100 %``; ``-`` of nothing. Only all of it is 100."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if part in {0, whole} else f"{min(max(percent, 0.1), 99.9):.1f} %"


def count(number: int) -> str:
    """``12,345``, ``1.23 M``, ``100 M``: at most 7 characters below a thousand billions."""
    for unit, worth in (("G", 1e9), ("M", 1e6)):
        if number >= worth:
            value = number / worth
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return f"{number:,}"


def plural(number: int, word: str) -> str:
    """``1 row``, ``2 rows``, ``12,345 rows``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def shorter(text: str, width: int, mark: str = "…") -> str:
    """Cut out of the middle: names differ at their ends as often as at their beginnings."""
    if len(text) <= width:
        return text
    kept = max(width - 1, 0)
    return f"{text[: kept - kept // 2]}{mark}{text[len(text) - kept // 2 :]}"
