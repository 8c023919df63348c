"""The order in which other processes see our loads and stores."""

from __future__ import annotations

import platform
from collections.abc import Callable

#: x86 keeps loads in order among themselves, and stores too (Intel SDM 3A, 9.2.2): Python's own
#: accesses, each through calls that no compiler looks through, are enough.
KEEPS_ORDER = platform.machine() in {"x86_64", "AMD64", "i686"}


def _no_fence() -> None:
    """x86 needs none."""


def reader_fence() -> Callable[[], None]:
    """What a reader calls between looking at the clock and looking at what it tells of.

    On ARM a compiled fence (``dmb ish``), of about 0.1 us a call; loading the compiler's library
    takes a second, so readers on x86 go without.
    """
    if KEEPS_ORDER:
        return _no_fence
    from neural_gpu_bus.memory.series.kernels import full_fence

    found: Callable[[], None] = full_fence
    return found
