"""Named moments of a table's handover at which a test ends the process, as kill -9 would.

``NGB_TEST_LIVE_FAILPOINT=after copy`` names one; ``after copy:2`` the second time a process reaches
it. With ``NGB_TEST_LIVE_FAILPOINT_ONCE=FILE`` that happens to one process alone, which makes the
file; the next ones pass. Unset, a failpoint costs one look at an empty text.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

#: In the order in which a table's life passes them.
NAMES: Final = (
    "before slot",
    "after slot",
    "before copy",
    "in mid-copy",
    "after copy",
    "before streaming",
    "in mid-apply",
    "before publish",
    "before acknowledgement",
)

_wanted, _, _number = os.environ.get("NGB_TEST_LIVE_FAILPOINT", "").partition(":")
_once = os.environ.get("NGB_TEST_LIVE_FAILPOINT_ONCE", "")
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """End this process here, if a test said so."""
    if _wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(_number or 1) and _is_first():
        os.kill(os.getpid(), signal.SIGKILL)


def _is_first() -> bool:
    """Whether no process of the test died here before."""
    if not _once:
        return True
    try:
        os.close(os.open(_once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
