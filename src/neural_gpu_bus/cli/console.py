"""Where commands print: results to ``out``, progress and errors to ``err``."""

from __future__ import annotations

from rich.console import Console

#: Results; safe to pipe.
out = Console(highlight=False)
#: Progress bars, warnings, errors.
err = Console(stderr=True, highlight=False)

#: Characters of one value that are shown.
SHOWN_CHARACTERS_MAX = 200


def printable(text: str) -> str:
    """Text as a terminal may be given it: no control characters, not endless."""
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
