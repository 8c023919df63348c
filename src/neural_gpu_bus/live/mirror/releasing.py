"""Tables that are live no more are taken out of the publications: now, or when they can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import structlog

from neural_gpu_bus.errors import NeuralGpuBusError, QueryTimeoutError

if TYPE_CHECKING:
    from neural_gpu_bus.live.mirror.source import Source

#: Before it is tried again with a table that somebody has locked: the stream stands meanwhile.
RELEASE_S = 2.0

_log = structlog.get_logger(__name__)


class Releasing:
    """``release`` when one was dropped, ``look`` now and then; both with those that are live."""

    def __init__(self, source: Source, clock_s: Callable[[], float]) -> None:
        self._source = source
        self._clock_s = clock_s
        self._next_s = math.inf

    def release(self, live: Collection[str]) -> None:
        """Publish these tables alone. What fails otherwise is made good by the next stream."""
        self._next_s = math.inf
        try:
            self._source.publish_only(live)
        except QueryTimeoutError:
            self._next_s = self._clock_s() + RELEASE_S
        except NeuralGpuBusError as error:
            _log.warning("a table is still published", reason=str(error))

    def look(self, live: Collection[str]) -> None:
        """Again, where one was locked."""
        if self._clock_s() >= self._next_s:
            self.release(live)
