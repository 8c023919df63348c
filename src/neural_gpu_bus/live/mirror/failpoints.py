"""Named moments of a table's handover at which a test ends the process, as kill -9 would.

``NGB_LIVE_FAILPOINT=after copy`` names one; ``after copy:2`` the second time it is reached. Unset,
a failpoint costs one look at an empty text.
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

_wanted, _, _number = os.environ.get("NGB_LIVE_FAILPOINT", "").partition(":")
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """End this process here, if a test said so."""
    if _wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(_number or 1):
        os.kill(os.getpid(), signal.SIGKILL)
