"""How long one statement may still take."""

from __future__ import annotations

import time
from collections.abc import Callable

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.stores.postgres.connections.connection import SERVER


class Deadline:
    """Counts ``timeout_s`` down from its making. ``clock``: seconds, never going back."""

    def __init__(
        self, timeout_s: float, address: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout_s = timeout_s
        self._address = address
        self._clock = clock
        self._end_s = clock() + timeout_s

    def left_s(self) -> float:
        """Time left, more than none. Raises QueryTimeoutError."""
        left_s = self._end_s - self._clock()
        if left_s > 0:
            return left_s
        raise QueryTimeoutError(
            f"{SERVER} at {self._address} did not finish the statement in {self.timeout_s:g} s; "
            "it was cancelled",
            hint="narrow the statement, add an index, or give it a longer timeout_s",
            timeout_s=self.timeout_s,
            sqlstate=None,
        )
