"""When nothing is live any more, everything of the home is taken off the server: now, or when it
can be reached again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from neural_gpu_bus.errors import NeuralGpuBusError, UsageError

#: After an attempt that failed; doubles.
RETRY_S, RETRY_S_MAX = 1.0, 30.0

_log = structlog.get_logger(__name__)


class Left(Protocol):
    """What is needed of ``Source``."""

    def leave(self) -> bool: ...  # noqa: D102


class Leaving:
    """``begin`` when the last table is gone, then ``look`` again and again."""

    def __init__(self, source: Left, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock_s = source, clock_s
        self._next_s, self._wait_s = 0.0, RETRY_S
        #: Whether nothing of this home is there any more.
        self.has_left = False
        #: Whether there is nothing left to try: it has, or may not.
        self.is_over = False

    def begin(self) -> None:
        """There was a stream, or may have been one that another process left."""
        self._next_s, self._wait_s = 0.0, RETRY_S
        self.has_left = self.is_over = False

    def look(self) -> None:
        """Try where an attempt is due."""
        if not self.is_over and self._clock_s() >= self._next_s:
            self._leave()

    def _leave(self) -> None:
        try:
            self.has_left = self.is_over = self._source.leave()
        except UsageError as error:  # the next process tries again
            self.is_over = True
            _log.warning("not everything can be taken off the server", reason=str(error))
        except NeuralGpuBusError as error:
            _log.warning("publications are still there", reason=str(error), next_s=self._wait_s)
        self._next_s = self._clock_s() + self._wait_s
        self._wait_s = min(2 * self._wait_s, RETRY_S_MAX)
