"""The kernel's lock on a file, with an end to the wait for it.

flock waits for ever behind a process that was stopped while it had the lock, so here it is a poll.
"""

from __future__ import annotations

import fcntl
import time

#: First and longest pause between two looks.
_PAUSE_S, _PAUSE_S_MAX = 20e-6, 2e-3


def locked_until(file: int, end_s: float) -> bool:
    """Have the lock of an open file; False where others still had it at ``end_s`` (monotonic)."""
    pause_s = _PAUSE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        else:
            return True
