"""How long one statement may still take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.stores.postgres.connections.connection import SERVER


class Deadline:
    """Counts ``timeout_s`` down from its making; None: there is no end. ``clock``: seconds, never
    going back.
    """

    def __init__(
        self, timeout_s: float | None, address: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        self._address = address
        self._clock = clock
        self._end_s = math.inf if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float:
        """Time left, more than none; infinite where there is no end. Raises QueryTimeoutError."""
        left_s = self._end_s - self._clock()
        if left_s > 0:
            return left_s
        assert self.timeout_s is not None  # noqa: S101  (what never ends has time left)
        raise QueryTimeoutError(
            f"{SERVER} at {self._address} did not finish the statement in {self.timeout_s:g} s; "
            "it was cancelled",
            hint="narrow the statement, add an index, or give it a longer timeout_s",
            timeout_s=self.timeout_s,
            sqlstate=None,
        )

    def left_ms(self) -> int:
        """The same in whole milliseconds, 1 or more, as ``statement_timeout`` takes them; 0 where
        there is no end, which is its own word for none.
        """
        left_s = self.left_s()
        return 0 if math.isinf(left_s) else math.ceil(left_s * 1000)

    def poll_ms(self, limit_ms: float | None = None) -> float | None:
        """The same as ``select.poll`` takes it, and no more than ``limit_ms``; None for no end."""
        left_s = self.left_s()
        if math.isinf(left_s):
            return limit_ms
        return left_s * 1000 if limit_ms is None else min(left_s * 1000, limit_ms)
