"""How many CPU cores this process may use: every default number of threads or connections is made
of it.
"""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those that the process is bound to; all of the machine where it is bound to none (macOS)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
