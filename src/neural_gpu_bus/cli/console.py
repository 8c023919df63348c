"""Where commands print: results to ``out``, progress and errors to ``err``."""

from __future__ import annotations

from rich.console import Console

#: Results; safe to pipe.
out = Console(highlight=False)
#: Progress bars, warnings, errors.
err = Console(stderr=True, highlight=False)
