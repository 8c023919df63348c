"""A clock that all processes of a host share and that nobody can set: time since the host started.

The wall clock is no measure of age: it may be set back, and then old data would look new.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

#: Linux's CLOCK_BOOTTIME goes on while the host sleeps; macOS's monotonic clock does so as well.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


#: Nanoseconds since the host started. Bound, not wrapped: it is asked at every find.
host_clock_ns: Final[Callable[[], int]] = partial(time.clock_gettime_ns, _CLOCK)


def clock_identity() -> str:
    """Processes with equal ones see the same clock: a container may have a time of its own."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/time").readlink())
    return ""
