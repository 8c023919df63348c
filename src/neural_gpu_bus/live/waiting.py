"""Waiting for a position or a change: looks at shared words, with a limit and without a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, SupportsIndex

from neural_gpu_bus.descriptors import StoreReceipt
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.live.shared.freshness import end_of_record
from neural_gpu_bus.memory.series.series import PAUSE_MAX_S, PAUSE_MIN_S, SHORT_PAUSES

#: Looks between two of what costs more than a word: whether the file is another, which is a stat.
LOOKS_BETWEEN = 256


def wait_until(look: Callable[[], bool], timeout_s: float, now_and_then: Callable[[], Any]) -> bool:
    """Whether it came true in time: looked at once at least, then every 75 us (Linux's timers are
    50 us lazy), after 0.1 s ever less often, up to every ms.
    """
    if look():
        return True
    rounds, pause_s = 0, PAUSE_MIN_S
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        rounds += 1
        if rounds > SHORT_PAUSES:
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        time.sleep(pause_s)
        if look():
            return True
        if rounds % LOOKS_BETWEEN == 0:
            now_and_then()
    return False


def position_of(lsn: Any) -> int:
    """A WAL position as a number: given as one, as PostgreSQL spells it, or by what a store
    answered. Raises BadParameterError.
    """
    found: Any = lsn.lsn if isinstance(lsn, StoreReceipt) else lsn
    if isinstance(found, str):
        high, _, low = found.partition("/")
        try:
            found = int(high, 16) << 32 | int(low, 16)
        except ValueError:
            found = -1
    whole = isinstance(found, SupportsIndex) and not isinstance(found, bool)
    if not whole or not 0 < int(found) < 1 << 63:
        raise BadParameterError(
            f"{lsn!r} has no WAL position",
            hint="give what plane.store(...) returned, a text as '0/1A2B3C8', or a number",
            parameter="lsn",
        )
    return end_of_record(int(found))


def spelled(position: int) -> str:
    """As PostgreSQL spells it; empty for none."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}" if position else ""
