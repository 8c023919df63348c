"""Changes of a live table as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import msgspec
import structlog

from neural_gpu_bus.errors import ClosedError, DatasetNotFoundError

if TYPE_CHECKING:
    from neural_gpu_bus.live.live_table import LiveTable
    from neural_gpu_bus.live.shared import TableState
    from neural_gpu_bus.live.versions import Mark
    from neural_gpu_bus.memory.series.series import Series

_log = structlog.get_logger(__name__)
#: How long a subscription that is being closed may go on waiting.
_LOOK_S = 0.2
#: How long ``close`` waits for its thread, whose callback may be at work.
_CLOSE_S_MAX = 10.0


class Change(msgspec.Struct, frozen=True):
    """What changed between two looks; all of it is visible."""

    #: To go on from.
    mark: Any
    #: Keys of the partitions that changed, those that were emptied too; now and then one in which
    #: rows only moved.
    partitions: list[dict[str, Any]]
    #: The table was copied anew, or the like: anything may have changed. ``partitions`` are all.
    whole: bool = False


def change_of(before: Mark, state: TableState, series: Series) -> Change:
    """What changed in the version that readers see now."""
    whole = state.version != before.version
    generation, keys = series.changed_since(0 if whole else before.generation)
    return Change(type(before)(state.version, generation), keys, whole)


class Subscription:
    """An iterator of changes. Bursts are taken together: who is slow gets fewer, larger ones.

    It ends with ``close()``, from any thread, and where the table is dropped. What a callback
    raises ends it, too: that is logged, kept in ``error``, and raised by the first ``close()`` or
    the end of ``with``.
    """

    def __init__(self, table: LiveTable, since: Mark) -> None:
        self._table = table
        self._mark = since
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        #: What ended the thread of ``start``, if anything did.
        self.error: BaseException | None = None
        self._is_told = False

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        while not self._closed.is_set():
            found = self.next(_LOOK_S)
            if found is not None:
                return found
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_told |= kind is not None  # what the body raised is not hidden
        self.close()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed.is_set()

    def next(self, timeout_s: float) -> Change | None:
        """The next change; None where none came in time, or it is closed."""
        if self._closed.is_set():
            return None
        try:
            if self._table.wait_for_change(self._mark, timeout_s) == self._mark:
                return None
            found = self._table.changed_since(self._mark)
        except DatasetNotFoundError:  # dropped
            self._closed.set()
            return None
        self._mark = found.mark
        return found if found.partitions or found.whole else None

    def run(self, callback: Callable[[Change], object]) -> None:
        """Call it with each change, in this thread, until it is closed."""
        for change in self:
            callback(change)

    def start(self, callback: Callable[[Change], object]) -> None:
        """The same in a thread of its own. What the callback raises ends it: see ``close``."""
        if self._thread is not None:
            raise ClosedError("this subscription has a thread", hint="make another one")
        name = f"ngb live {self._table.name}"
        self._thread = threading.Thread(target=self._run, args=(callback,), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; its thread has ended then, unless the callback takes over 10 s.

        Raises what the callback raised, once.
        """
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S_MAX)
        if self.error is not None and not self._is_told:
            self._is_told = True
            raise self.error

    def _run(self, callback: Callable[[Change], object]) -> None:
        try:
            self.run(callback)
        except BaseException as error:  # noqa: BLE001  told to whoever asks, the thread ends
            self.error = error
            self._closed.set()
            _log.error("live_callback_failed", table=self._table.name, exc_info=error)
