"""``LiveTable``: what ``plane.live`` returns, a table of PostgreSQL as columns that stay right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from neural_gpu_bus.arguments import check_seconds
from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    StaleError,
)
from neural_gpu_bus.live.definitions import not_live
from neural_gpu_bus.live.refusals import (
    not_reached,
    nothing_to_see,
    passed,
    too_old,
    without_positions,
)
from neural_gpu_bus.live.shared.manifest import SHOWN_STATES
from neural_gpu_bus.live.shared.words import APPLIED_LSN, CLOCK, CONFIRMED_NS, EPOCH
from neural_gpu_bus.live.subscription import Subscription
from neural_gpu_bus.live.versions import (
    Mark,
    ShownVersion,
    same_version,
    shown_version,
    snapshot_of,
)
from neural_gpu_bus.live.waiting import position_of, wait_until
from neural_gpu_bus.memory.series.series import Series, SeriesSnapshot, snapshots

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.live.shared import LiveAsOf, LiveView, TableState
    from neural_gpu_bus.live.subscription import Change
    from neural_gpu_bus.memory.frames.frame import Frame

Found = TypeVar("Found")

#: Looks at a table that is given another version at each: a copy takes longer than a look.
_LOOKS_MAX = 1000
#: How long ``wait_for`` and the others wait where nothing is said.
TIMEOUT_S = 10.0


class LiveTable:
    """One live table, read as of now: each call sees the transactions published then, whole.

    Frames stay as they are, whatever is written later and whatever becomes of the table. While its
    process is gone its data stay readable, and ``as_of`` shows them grow old; the next process is
    followed without a word. ``max_lag_s``: raise StaleError where that is not known: *all that was
    committed so many seconds ago is in it*.
    """

    def __init__(self, name: str, view: LiveView, open_series: Callable[[str], Series]) -> None:
        """``open_series``: finds the series of a version by its name, in the group of all."""
        self.name = name
        self._view = view
        self._open_series = open_series
        self._current: ShownVersion | None = None

    def __repr__(self) -> str:
        state = self._view.table(self.name)
        return f"<LiveTable {self.name!r}, {'dropped' if state is None else state.state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise BadParameterError(
            f"live table {self.name!r} cannot be pickled",
            hint="open it in the other process, or pickle frames of it",
            parameter="table",
        )

    # ---- facts

    @property
    def state(self) -> TableState:
        """What its process tells of it now, with the progress of a copy.

        Raises DatasetNotFoundError where it is not live any more.
        """
        found = self._view.counted(self.name)
        if found is None:
            raise not_live(self.name, list(self._view.tables()))
        return found

    @property
    def as_of(self) -> LiveAsOf:
        """Which moment of PostgreSQL it shows now, and why that may be stale."""
        found = self._moment()
        return self._moment() if found.stale and self._view.look_again() else found

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that split it into partitions."""
        return self._told(lambda look: look.key)

    @property
    def order_by(self) -> str | None:
        """Column that never falls within a partition."""
        return self._told(lambda look: look.order_by)

    @property
    def schema(self) -> pa.Schema:
        """Columns in order, those of the key included."""
        return self._told(lambda look: look.schema)

    # ---- rows; positional only, because a column of the key may have any of these names

    def last(self, rows: int, /, max_lag_s: float | None = None, **key: Any) -> Frame:
        """The newest rows of a partition, all of them where it has fewer; see ``Series.last``.

        Raises StaleError while there is nothing to see, or for ``max_lag_s``; DatasetNotFoundError
        for a key that has no partition.
        """
        current = self._current
        if current is None or (max_lag_s is not None and not self._is_within(current, max_lag_s)):
            return self._told(lambda look: look.last(rows, **key), max_lag_s)
        try:
            frame = current.last_of(rows, key)
        except (DatasetEvictedError, DatasetNotFoundError):
            if current.words[EPOCH] == current.epoch:
                raise
        else:
            # Behind it: had another version been given meanwhile, this one may have been emptied.
            if current.words[EPOCH] == current.epoch:
                return frame
        return self._told(lambda look: look.last(rows, **key), max_lag_s)

    def between(
        self, start: Any, stop: Any, /, max_lag_s: float | None = None, **key: Any
    ) -> Frame:
        """Rows of a partition whose ``order_by`` is at least ``start`` and less than ``stop``."""
        return self._told(lambda look: look.between(start, stop, **key), max_lag_s)

    def frame(self, /, max_lag_s: float | None = None, **key: Any) -> Frame:
        """All rows of a partition; a copy where they lie in several chunks."""
        return self._told(lambda look: look.frame(**key), max_lag_s)

    def arrow(self, /, max_lag_s: float | None = None, **key: Any) -> pa.Table:
        """All rows of a partition, or without a key of all, chunked, without a copy."""
        return self._told(lambda look: look.arrow(**key), max_lag_s)

    def rows(self, /, max_lag_s: float | None = None, **key: Any) -> int:
        """How many rows a partition has, or without a key all."""
        return self._told(lambda look: look.rows(**key), max_lag_s)

    def partitions(self, max_lag_s: float | None = None) -> list[dict[str, Any]]:
        """Keys of the partitions that have rows, in order of their first appearance."""
        return self._told(lambda look: look.partitions(), max_lag_s)

    # ---- one moment

    def snapshot(self, max_lag_s: float | None = None) -> SeriesSnapshot:
        """All partitions as of one position, for as long as it is held."""
        return self._told(snapshot_of, max_lag_s)

    def at(self, lsn: Any, timeout_s: float = TIMEOUT_S) -> SeriesSnapshot:
        """All partitions as of exactly that WAL position, waited for where it is yet to come.

        Positions that were passed are not kept: hold the ``snapshot()`` you need. Raises
        DatasetEvictedError for such a one, StaleError where it did not come in time.
        """
        wanted = position_of(lsn)
        self.wait_for(wanted, timeout_s)
        # It was reached before this is taken: so all up to there is in it, and where the newest
        # transaction in it does not lie behind, nothing else is.
        found, state = self._look(lambda current: (snapshot_of(current.looked_at), current.state))
        shown = found._stamp.lsn  # noqa: SLF001  as a number
        if shown > wanted or (state.state != "live" and state.lsn != wanted):
            raise passed(self.name, wanted, shown)
        return found

    # ---- waiting

    def wait_live(self, timeout_s: float = TIMEOUT_S) -> LiveAsOf:
        """Wait until its first copy, or the one that runs, is done. Raises StaleError."""
        view, name = self._view, self.name  # it may be that its process does not know it yet
        return self._wait(
            lambda: (found := view.table(name)) is not None and found.state in SHOWN_STATES,
            timeout_s,
            0,
        )

    def wait_for(self, lsn: Any, timeout_s: float = TIMEOUT_S) -> LiveAsOf:
        """Wait until all that was committed up to that position is visible: what ``plane.store``
        returned, ``'0/1A2B3C8'``, or a number. What it shows then.

        Raises StaleError where that did not come in time, or cannot because the table failed;
        BadParameterError for a polled table, which knows no positions.
        """
        wanted = position_of(lsn)
        if self._known().how == "poll":
            raise without_positions(self.name)
        return self._wait(lambda: self._shows(wanted), timeout_s, wanted)

    def wait_for_change(
        self, since: Mark | int | None = None, timeout_s: float = TIMEOUT_S
    ) -> Mark:
        """Wait until the table is another than at ``since`` (by default now); what it is then, or
        ``since`` itself where nothing came in time. A frame's ``as_of.generation`` will do as well.
        """
        check_seconds("timeout_s", timeout_s)
        before = self._marked(since)
        wait_until(lambda: self._changed(before), timeout_s, self._view.look_again)
        return self.mark if self._changed(before) else before

    @property
    def mark(self) -> Mark:
        """What it is now, for ``wait_for_change``."""
        return self._look(lambda current: Mark(current.state.version, current.series.generation))

    def changed_since(self, since: Mark | int) -> Change:
        """What changed after ``since``: keys of partitions, or all of them."""
        from neural_gpu_bus.live.subscription import change_of

        before = self._marked(since)
        return self._look(lambda current: change_of(before, current.state, current.series))

    def subscribe(
        self, callback: Callable[[Change], object] | None = None, *, since: Mark | int | None = None
    ) -> Subscription:
        """Changes as they come, bursts taken together: iterate it, or have ``callback`` called.

        Iterating blocks the thread that does it; ``subscription.run(callback)`` calls it there.
        With ``callback`` here a thread of its own does, until ``close()``, which raises what the
        callback raised: that ends it, and is logged.
        """
        subscription = Subscription(self, self._marked(since))
        if callback is not None:
            subscription.start(callback)
        return subscription

    # ---- inside

    def _known(self) -> TableState:
        found = self._view.table(self.name)
        if found is None:
            raise not_live(self.name, list(self._view.tables()))
        return found

    def _told(
        self, ask: Callable[[Series | SeriesSnapshot], Found], max_lag_s: float | None = None
    ) -> Found:
        if max_lag_s is not None:
            check_seconds("max_lag_s", max_lag_s)
            self._check_lag(max_lag_s)
        return self._look(lambda current: ask(current.looked_at))

    def _look(self, ask: Callable[[ShownVersion], Found]) -> Found:
        """What is found in the version that readers saw before and after."""
        for _ in range(_LOOKS_MAX):
            current = self._resolved()
            try:
                found = ask(current)
            except (DatasetEvictedError, DatasetNotFoundError):
                if current.words[EPOCH] == current.epoch:
                    raise
                continue
            if current.words[EPOCH] == current.epoch:
                return found
        raise StaleError(
            f"live table {self.name!r} is given another version at every look",
            hint="`ngb live show` tells why it is copied anew all the time",
            table=self.name,
            why="it is copied anew all the time",
        )

    def _resolved(self) -> ShownVersion:
        current, view = self._current, self._view
        if current is not None and current.words is view.words:
            if current.words[EPOCH] == current.epoch:
                return current
        else:
            current = None
        view.look_again()
        for _ in range(_LOOKS_MAX):
            epoch, words = view.epoch, view.words
            state = self._known()
            if not state.series:
                raise nothing_to_see(self.state, view.as_of(state))
            before = None if current is None else current.state
            try:
                if before is not None and same_version(before, state):
                    made = current._replace(epoch=epoch, words=words, state=state)  # type: ignore[union-attr]
                else:
                    series = self._open_series(state.series)
                    made = shown_version(series, epoch, words, state)
            except (DatasetEvictedError, DatasetNotFoundError):
                if words[EPOCH] == epoch:
                    raise
                continue
            if words[EPOCH] == epoch and words is view.words:
                self._current = made
                return made
        raise nothing_to_see(self.state, self.as_of)

    def _is_within(self, current: ShownVersion, max_lag_s: float) -> bool:
        """Whether its lag is surely within a bound; where not, ``_check_lag`` says why."""
        words, view = current.words, self._view
        if type(max_lag_s) not in {int, float} or words[CLOCK] != view.clock:
            return False
        confirmed_ns = words[CONFIRMED_NS]
        lag_ns = view.clock_ns() - confirmed_ns
        is_live = current.state.state == "live" and confirmed_ns > 0
        return is_live and 0 <= lag_ns <= max_lag_s * 1e9

    def _check_lag(self, max_lag_s: float) -> None:
        found = self._moment()
        if found.lag_s > max_lag_s and self._view.look_again():
            found = self._moment()
        if found.lag_s > max_lag_s:
            raise too_old(found, max_lag_s)

    def _shows(self, wanted: int) -> bool:
        words, state = self._view.words, self._known()
        if state.state == "failed" and state.lsn < wanted:
            raise nothing_to_see(self.state, self._view.as_of(state))
        shown = words[APPLIED_LSN] if state.state == "live" else self._view.as_of(state).lsn
        return bool(shown >= wanted) and self._is_still(state)

    def _wait(self, look: Callable[[], bool], timeout_s: float, wanted: int) -> LiveAsOf:
        check_seconds("timeout_s", timeout_s)
        if not wait_until(look, timeout_s, self._view.look_again):
            raise not_reached(self.state, self.as_of, wanted, timeout_s)
        return self._moment()

    def _moment(self) -> LiveAsOf:
        """What it shows: the stream's words count while its state is one and the same."""
        while True:
            state = self._known()
            found = self._view.as_of(state)
            if self._is_still(state):
                return found

    def _is_still(self, state: TableState) -> bool:
        now = self._view.table(self.name)
        return now is not None and same_version(state, now)

    def _changed(self, before: Mark) -> bool:
        current = self._resolved()
        return current.state.version != before.version or current.series.has_changed(
            before.generation
        )

    def _marked(self, since: Mark | int | None) -> Mark:
        if since is None:
            return self.mark
        if isinstance(since, Mark):
            return since
        if isinstance(since, int) and not isinstance(since, bool):
            return self.mark._replace(generation=since)
        raise BadParameterError(
            f"since is {since!r}: expected a mark of this table",
            hint="give table.mark, what wait_for_change returned, or frame.as_of.generation",
            parameter="since",
        )


def live_snapshot(tables: Sequence[LiveTable]) -> dict[str, SeriesSnapshot]:
    """Several live tables as of one position, by name, for as long as they are held.

    Raises StaleError where one of them is not live: then it is as of another.
    """
    for _ in range(_LOOKS_MAX):
        several = [table._resolved() for table in tables]  # noqa: SLF001  the same module's
        if not several:
            return {}
        for table, current in zip(tables, several, strict=True):
            if current.state.state != "live":
                raise nothing_to_see(table.state, table.as_of)
        try:
            found = snapshots([current.series for current in several])
        except DatasetEvictedError:
            if all(current.words[EPOCH] == current.epoch for current in several):
                raise
            continue
        if all(current.words[EPOCH] == current.epoch for current in several):
            return {table.name: one for table, one in zip(tables, found, strict=True)}
    raise nothing_to_see(tables[0].state, tables[0].as_of)
