"""Batches that several connections receive at once, handed on in the order of the table's pages.

Whoever completes what comes next hands on all that waited for it. A connection that is far ahead
waits, so that few batches are in memory however large the table is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from neural_gpu_bus.ports import Columns
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedPart, ReceivedRange

#: One batch of a connection is at most that long; a statement's last one is what is left.
BATCH_BYTES_MAX: Final = 16 << 20
#: Batches that wait for one before them: more are not received.
WAITING_MAX: Final = 4
#: What a connection has received and somebody may still look at, its last batch counted in.
HELD_BYTES_MAX: Final = 32 << 20
#: How often who waits looks whether the read was given up.
_LOOK_S: Final = 0.05


#: Rows so far, about how many there are (None: nobody knows), bytes as they were received; may
#: raise to end the read.
BatchProgress = Callable[[int, int | None, int], None]


class TakesBatches(Protocol):
    """Who gets the rows."""

    @property
    def takes_received(self) -> bool:
        """Whether rows are to be given as they were received, as long as it says so."""

    def prepare(self, batch: Columns, rows_expected: int | None) -> Any:
        """What ``take`` is to get; called by several threads at once, in any order."""

    def take(self, prepared: Any) -> Any:
        """Called for one batch after another, in the order of the table's pages."""

    def take_received(self, rows: ReceivedRange) -> int:
        """In that order, too: where the first row begins that was not taken. Those from there on
        are prepared and taken, then ``learn`` is told what ``take`` answered.
        """

    def learn(self, rows: ReceivedRange, taken: Any) -> None:
        """What became of these rows."""


class _Batch(NamedTuple):
    """One that waits. ``prepared``: unless it goes as it was ``received``."""

    prepared: Any
    received: ReceivedRange
    rows_expected: int | None
    held: Held


class Held:
    """Batches of one connection whose bytes somebody may still look at."""

    def __init__(self) -> None:
        self.count = 0


class InOrder:
    """Of one read. ``decode``: a received batch as columns."""

    def __init__(self, taker: TakesBatches, decode: Callable[[ReceivedPart], Columns]) -> None:
        self._taker = taker
        self._decode = decode
        self._changed = threading.Condition()
        #: Whether any was handed on: what was read cannot be read anew then.
        self.begun = False
        self.rows = self.nbytes = 0
        self.restart()

    def restart(self) -> None:
        """Another attempt, while none was handed on."""
        self._waiting: dict[int, deque[_Batch]] = {}
        self._ended: set[int] = set()
        self._current = self._count = self.rows = self.nbytes = 0
        self._handing_on = False

    def put(
        self,
        index: int,
        received: ReceivedRange,
        rows_expected: int | None,
        held: Held,
        stopped: Callable[[], bool],
    ) -> None:
        """The next rows of statement ``index``; their bytes may be used again when ``held`` has
        none any more. Raises what decoding and the taker raise.
        """
        prepared = None
        if not self._taker.takes_received:
            prepared = self._prepared(received, rows_expected)
        batch = _Batch(prepared, received, rows_expected, held)
        with self._changed:
            while index != self._current and self._count >= WAITING_MAX and not stopped():
                self._changed.wait(_LOOK_S)
            self._waiting.setdefault(index, deque()).append(batch)
            self._count += 1
            held.count += prepared is None
            self.rows += received.rows
            self.nbytes += received.stop - received.start
        self._hand_on()

    def wait(self, held: Held, stopped: Callable[[], bool]) -> None:
        """Return when nobody looks at these bytes any more. The batches before must be somebody
        else's.
        """
        with self._changed:
            while held.count and not stopped():
                self._changed.wait(_LOOK_S)

    def end(self, index: int) -> None:
        """All rows of statement ``index`` were put."""
        with self._changed:
            self._ended.add(index)
        self._hand_on()

    def _prepared(self, received: ReceivedRange, rows_expected: int | None) -> Any:
        return self._taker.prepare(self._decode(received.scanned()), rows_expected)

    def _hand_on(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._take(batch)
            finally:
                with self._changed:
                    self._handing_on = False
                    batch.held.count -= batch.prepared is None
                    self._changed.notify_all()

    def _take(self, batch: _Batch) -> None:
        if batch.prepared is not None:
            self._taker.take(batch.prepared)
            return
        received = batch.received
        position = self._taker.take_received(received)
        if position < received.stop:
            rest = received._replace(start=position)
            taken = self._taker.take(self._prepared(rest, batch.rows_expected))
            self._taker.learn(rest, taken)

    def _next(self) -> _Batch | None:
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
