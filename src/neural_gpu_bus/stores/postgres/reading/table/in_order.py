"""Batches that several connections receive at once, handed on in the order of the table's pages.

Whoever completes what comes next hands on all that waited for it. A connection that is far ahead
waits, so that few batches are in memory however large the table is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from neural_gpu_bus.ports import Columns
from neural_gpu_bus.stores.postgres.decoding.copy_decode import CopyScan, ReceivedPart

#: One batch of a connection is at most that long; a statement's last one is what is left.
BATCH_BYTES_MAX: Final = 16 << 20
#: Batches that wait for one before them: more are not received.
WAITING_MAX: Final = 4
#: How often who waits looks whether the read was given up.
_LOOK_S: Final = 0.05


class TakesBatches(Protocol):
    """Who gets the rows."""

    def prepare(self, batch: Columns, rows_expected: int | None) -> Any:
        """What ``take`` is to get; called by several threads at once, in any order."""

    def take(self, prepared: Any) -> None:
        """Called for one batch after another, in the order of the table's pages."""


class InOrder:
    """Of one read. ``decode``: a received batch as columns."""

    def __init__(self, taker: TakesBatches, decode: Callable[[ReceivedPart], Columns]) -> None:
        self._taker = taker
        self._decode = decode
        self._changed = threading.Condition()
        #: Whether any was handed on: what was read cannot be read anew then.
        self.begun = False
        self.rows = 0
        self.restart()

    def restart(self) -> None:
        """Another attempt, while none was handed on."""
        self._waiting: dict[int, deque[Any]] = {}
        self._ended: set[int] = set()
        self._current = self._count = self.rows = 0
        self._handing_on = False

    def put(
        self,
        index: int,
        part: ReceivedPart,
        rows_expected: int | None,
        stopped: Callable[[], bool],
    ) -> CopyScan:
        """The next rows of statement ``index``; their bytes may be used again afterwards. Raises
        what decoding and the taker raise.
        """
        prepared = self._taker.prepare(self._decode(part), rows_expected)
        with self._changed:
            while index != self._current and self._count >= WAITING_MAX and not stopped():
                self._changed.wait(_LOOK_S)
            self._waiting.setdefault(index, deque()).append(prepared)
            self._count += 1
            self.rows += part.scan.rows
        self._hand_on()
        return part.scan

    def end(self, index: int) -> None:
        """All rows of statement ``index`` were put."""
        with self._changed:
            self._ended.add(index)
        self._hand_on()

    def _hand_on(self) -> None:
        while (prepared := self._next()) is not None:
            try:
                self._taker.take(prepared)
            finally:
                with self._changed:
                    self._handing_on = False
                    self._changed.notify_all()

    def _next(self) -> Any:
        """The next one, for this thread to hand on; None where there is none, or another does."""
        with self._changed:
            if self._handing_on:
                return None
            while not self._waiting.get(self._current) and self._current in self._ended:
                self._waiting.pop(self._current, None)
                self._ended.remove(self._current)
                self._current += 1
                self._changed.notify_all()
            waiting = self._waiting.get(self._current)
            if not waiting:
                return None
            self._handing_on = self.begun = True
            self._count -= 1
            return waiting.popleft()
