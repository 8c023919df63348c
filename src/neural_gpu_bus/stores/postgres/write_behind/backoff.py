"""When to try again: soon at first, then ever more rarely."""

from __future__ import annotations

import random
from collections.abc import Callable

#: A private PostgreSQL that was killed is back after 0.2 s.
FIRST_S = 0.1
LONGEST_S = 15.0
#: A table that is locked; each try is a wait for its lock.
LONGEST_TABLE_S = 5.0
#: So that many processes do not come back in the same moment.
_SPREAD = 0.25


class Backoff:
    """Waits after failures in a row, of ``longest_s`` at most. ``clock``: seconds, never going
    back.
    """

    def __init__(self, clock: Callable[[], float], chance: random.Random, longest_s: float) -> None:
        self._longest_s = longest_s
        self._clock = clock
        self._chance = chance
        self.failures = 0
        self._ready_at_s = 0.0

    def failed(self) -> None:
        """The next try comes after twice the wait."""
        wait_s = min(self._longest_s, FIRST_S * 2.0 ** min(self.failures, 20))
        self.failures += 1
        spread = 1 + self._chance.uniform(-_SPREAD, _SPREAD)
        self._ready_at_s = self._clock() + wait_s * spread

    def succeeded(self) -> None:
        """No failure counts any more."""
        self.failures, self._ready_at_s = 0, 0.0

    def hurry(self) -> None:
        """The next try may come at once."""
        self._ready_at_s = 0.0

    def left_s(self) -> float:
        """Until the next try; 0 when it may come now."""
        return max(0.0, self._ready_at_s - self._clock())
