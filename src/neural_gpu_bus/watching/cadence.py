"""When the next run may begin. Pure: moments are passed in, as seconds of any clock.

    changed           begun              succeeded
    -------> waiting -------> running ------------> idle (or waiting: changed meanwhile)
                ^                |  failed
                +----------------+  (waits longer each time)

One run at a time; whatever changes while one waits or runs is taken by the next together. The last
change is always followed by a run that began after it.
"""

from __future__ import annotations

#: Waits after failures in a row: doubling from the first to the last.
RETRY_S, RETRY_S_MAX = 0.1, 5.0


class Cadence:
    """Of one watch. Not for several threads."""

    def __init__(self, at_most_every_s: float = 0.0) -> None:
        """``at_most_every_s``: from the beginning of a run to that of the next, at least. The
        first run waits for no change: what there is counts as one.
        """
        self._every_s = at_most_every_s
        self._waiting = True
        self._not_before_s = float("-inf")
        #: In a row, up to now.
        self.failures = 0

    @property
    def waiting(self) -> bool:
        """Whether something changed that no run has begun after."""
        return self._waiting

    def changed(self) -> None:
        """Something changed: a run has to begin after this."""
        self._waiting = True

    def wait_s(self, now_s: float) -> float | None:
        """How long until a run may begin, 0 for now; None where nothing waits for one."""
        return max(0.0, self._not_before_s - now_s) if self._waiting else None

    def begun(self, now_s: float) -> None:
        """A run begins, and looks at what there is from here on."""
        self._waiting = False
        self._not_before_s = now_s + self._every_s

    def succeeded(self) -> None:
        """It is done."""
        self.failures = 0

    def failed(self, now_s: float, retry_s_max: float = RETRY_S_MAX) -> None:
        """It came to nothing, and is tried again: what it was for still waits."""
        self._waiting = True
        # No power beyond what the limit can need: 2.0 ** 1024 is an error.
        retry_s = min(RETRY_S * 2.0 ** min(self.failures, 32), retry_s_max)
        self.failures += 1
        self._not_before_s = max(self._not_before_s, now_s + retry_s)
