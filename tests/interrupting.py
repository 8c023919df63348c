"""Ctrl-C at a chosen moment: after some time, or at the n-th moment that Python looks for it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

#: A signal that was sent arrives within this time.
_ARRIVES_S = 5.0


def interrupted_after(delay_s: float, work: Callable[[], Any]) -> Any:
    """What ``work`` returns, or None where SIGINT came before its end. Main thread only."""
    found: list[Any] = []
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(delay_s, signal.pthread_kill, (main, signal.SIGINT))
    try:
        timer.start()
        found.append(work())
        time.sleep(_ARRIVES_S)  # the signal comes late, and must not come later than here
    except KeyboardInterrupt:
        pass
    timer.join()
    return found[0] if found else None


def interrupted_at_call(number: int, work: Callable[[], Any]) -> bool:
    """Do ``work`` with KeyboardInterrupt at the ``number``-th moment (1 = first) at which Python
    looks for signals; False where it has fewer and came to its end.

    Those moments are the beginning of each Python function and the return of each compiled one,
    which are those that a profiler is told; the others are rounds of loops.
    """
    left = number

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code is not own:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    own = interrupted_at_call.__code__
    found = None
    sys.setprofile(look)
    try:
        found = work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    # Let go of only now: in a finalizer Python swallows an interrupt, and the finalizer's rest.
    del found
    return False
