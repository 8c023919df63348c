"""``Watch``: a workload that runs whenever live tables change, in the thread that asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import structlog

from neural_gpu_bus.arguments import check_seconds
from neural_gpu_bus.errors import ClosedError, NeuralGpuBusError, StaleError
from neural_gpu_bus.live.definitions import not_live
from neural_gpu_bus.live.live_table import LiveTable, live_snapshot
from neural_gpu_bus.live.refusals import too_old
from neural_gpu_bus.live.waiting import wait_until
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.series.gathered import GatheredSource
from neural_gpu_bus.watching.cadence import RETRY_S_MAX, Cadence
from neural_gpu_bus.watching.inputs import Given, Moment, taken
from neural_gpu_bus.watching.outlets import Outlets, behind_s, facts_of, with_position
from neural_gpu_bus.watching.records import WatchRun, WatchStatistics, counted

if TYPE_CHECKING:
    from neural_gpu_bus.live.shared import LiveView
    from neural_gpu_bus.live.versions import Mark
    from neural_gpu_bus.ports import Planner, Workload

#: Between two attempts while inputs are stale: as soon as they are fresh it runs.
STALE_RETRY_S_MAX = 0.5
#: One wait for a change; where a lag is bounded it is looked at after each.
WAIT_S, WAIT_S_MIN = 5.0, 0.05
#: How long ``close`` waits for its thread, which may be at work.
CLOSE_S_MAX = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """All that a watch is made of."""

    name: str
    workload: Workload
    params: Any
    engine: str | None
    inputs: Mapping[str, Given]
    #: By name: those whose changes make it run, and all that it reads at one position.
    watched: Mapping[str, LiveTable]
    tables: Mapping[str, LiveTable]
    view: LiveView
    #: Names of the live tables that are declared.
    declared: Callable[[], list[str]]
    planner: Planner
    outlets: Outlets
    #: Tells this watch from any other that stores to that table.
    digest: str
    #: Its one table follows no positions, see ``LiveDefinition.how``.
    is_without_positions: bool = False
    at_most_every_s: float = 0.0
    max_lag_s: float | None = None
    clock_s: Callable[[], float] = field(default=time.monotonic)


class Watch:
    """Iterate it, ask for the ``next`` run, or ``start`` a thread; ``close`` ends all of these.

    The first run comes at once, over what there is. Then one comes after every change; changes that
    come while one is at work are taken by the next together. A run that fails is told as a run with
    an ``error``, and tried again, ever less often up to every 5 s. Inputs that are stale are told
    once, as a StaleError, and it runs as soon as they are fresh. A live table that is dropped ends
    it with DatasetNotFoundError.
    """

    def __init__(self, plan: WatchPlan) -> None:
        self._plan = plan
        self._cadence = Cadence(plan.at_most_every_s)
        self._closed = threading.Event()
        self._working = threading.Lock()
        self._thread: threading.Thread | None = None
        self._marks: dict[str, Mark] = {}
        self._counts: dict[str, int] = {}
        self._is_stale = False
        self._epoch = -1
        self._statistics = WatchStatistics()
        #: What ended the thread of ``start``, if anything did.
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        tables = ", ".join(self._plan.watched)
        return f"<Watch {self.name!r}: {self._plan.workload.name} on every change of {tables}>"

    @property
    def name(self) -> str:
        """Of the watch."""
        return self._plan.name

    @property
    def is_closed(self) -> bool:
        """Whether it runs no more."""
        return self._closed.is_set()

    def statistics(self) -> WatchStatistics:
        """Of all runs up to now."""
        return self._statistics

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[WatchRun]:
        return self

    def __next__(self) -> WatchRun:
        self._check_no_thread()
        while not self._closed.is_set():
            found = self._next(WAIT_S)
            if found is not None:
                return found
        raise StopIteration

    def next(self, timeout_s: float) -> WatchRun | None:
        """The next run, made here; None where none was due in time, or it is closed.

        A run that has begun is finished, whatever time it takes. Raises DatasetNotFoundError once
        a live table of it was dropped, ClosedError where it has a thread.
        """
        check_seconds("timeout_s", timeout_s)
        self._check_no_thread()
        return self._next(timeout_s)

    def run(self, callback: Callable[[WatchRun], object] | None = None) -> None:
        """Run in this thread until it is closed; ``callback`` is told each run."""
        for found in self:
            _tell(callback, found)

    def start(self, callback: Callable[[WatchRun], object] | None = None) -> Self:
        """Run in a thread of its own until it is closed; ``callback`` is told each run there. What
        ends it early, a callback's error too, is in ``error``. Without a callback failures are
        logged. Returns itself.
        """
        self._check_no_thread()
        name = f"ngb watch {self.name}"
        self._thread = threading.Thread(target=self._work, args=(callback,), name=name, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """End it. Its thread has ended then, unless a run takes over 10 s."""
        self._closed.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S_MAX)

    # ---- inside

    def _check_no_thread(self) -> None:
        if self._thread is not None:
            raise ClosedError(
                f"watch {self.name!r} runs in a thread of its own",
                hint="give start() a callback, or iterate a watch that was not started",
            )

    def _work(self, callback: Callable[[WatchRun], object] | None) -> None:
        try:
            while not self._closed.is_set():
                found = self._next(WAIT_S)
                if found is not None:
                    _tell(callback, found)
        except BaseException as error:  # noqa: BLE001  told to whoever asks, the thread ends
            self.error = error
            _log.warning("a watch has ended", watch=self.name, error=str(error))
        finally:
            self._closed.set()

    def _next(self, timeout_s: float) -> WatchRun | None:
        with self._working:  # never two at once, whoever asks
            deadline_s = self._plan.clock_s() + timeout_s
            while not self._closed.is_set():
                found = self._run() if self._wait(deadline_s) else None
                if found is not None:
                    self._statistics = counted(self._statistics, found)
                    return found
                if self._plan.clock_s() >= deadline_s:
                    return None
        return None

    def _wait(self, deadline_s: float) -> bool:
        """Whether a run may begin; looks once at least."""
        self._check_followed()
        now_s = self._plan.clock_s()
        due_s = self._cadence.wait_s(now_s)
        if due_s is None:
            if wait_until(self._has_changed, self._slice_s(deadline_s - now_s), self._look_again):
                self._cadence.changed()
            elif self._plan.max_lag_s is not None and self._oldest() is not None:
                self._cadence.changed()  # the run says what is stale
        elif due_s > 0:
            self._closed.wait(max(0.0, min(due_s, deadline_s - now_s)))
        return not self._closed.is_set() and self._cadence.wait_s(self._plan.clock_s()) == 0

    def _slice_s(self, left_s: float) -> float:
        bound_s = self._plan.max_lag_s
        slice_s = WAIT_S if bound_s is None else min(WAIT_S, max(WAIT_S_MIN, bound_s / 4))
        return max(0.0, min(slice_s, left_s))

    def _look_again(self) -> bool:
        return self._plan.view.look_again()

    def _check_followed(self) -> None:
        """Raises DatasetNotFoundError, and is closed, where one was dropped."""
        missing = [name for name in self._plan.tables if self._plan.view.table(name) is None]
        if missing:
            # After a restart of the home it may be that its process does not tell of it yet.
            declared = self._plan.declared()
            for name in missing:
                if name not in declared:
                    self._closed.set()
                    raise not_live(name, declared)

    def _has_changed(self) -> bool:
        if self._closed.is_set() or self._is_one_missing():
            return True
        for name, mark in self._marks.items():
            try:
                if self._plan.watched[name]._changed(mark):  # noqa: SLF001  75 us apart
                    return True
            except StaleError:
                continue
            except NeuralGpuBusError:
                return True  # dropped, or another memory: the next look says which
        return False

    def _is_one_missing(self) -> bool:
        """Looked up only where something else is told of some table."""
        view = self._plan.view
        epoch = view.epoch
        if epoch == self._epoch:
            return False
        self._epoch = epoch
        return any(view.table(name) is None for name in self._plan.tables)

    def _oldest(self) -> StaleError | None:
        """Why the inputs are older than they may be; None where they are not."""
        bound_s = self._plan.max_lag_s
        if bound_s is not None:
            for table in self._plan.tables.values():
                found = table.as_of
                if found.lag_s > bound_s:
                    return too_old(found, bound_s)
        return None

    def _run(self) -> WatchRun | None:
        """One run, also one that failed; None where there is nothing new to tell."""
        self._cadence.begun(self._plan.clock_s())
        number = self._statistics.runs + self._statistics.failed + 1
        try:
            found = self._made(number)
        except Exception as error:
            self._check_followed()
            if isinstance(error, ClosedError):
                self._closed.set()
                raise
            is_stale, was_stale = isinstance(error, StaleError), self._is_stale
            self._is_stale = is_stale
            retry_s_max = STALE_RETRY_S_MAX if is_stale else RETRY_S_MAX
            self._cadence.failed(self._plan.clock_s(), retry_s_max)
            told = WatchRun(number, self.name, error=error)
            return None if is_stale and was_stale else told
        self._cadence.succeeded()
        self._is_stale = False
        return found

    def _made(self, number: int) -> WatchRun:
        plan, clock_s = self._plan, self._plan.clock_s
        # Marks first: what changes behind them is in the snapshot, and makes one run more.
        marks = {name: table.mark for name, table in plan.watched.items()}
        counts = {name: table.state.changes for name, table in plan.watched.items()}
        stale = self._oldest()
        if stale is not None:
            raise stale
        begun_s = clock_s()
        moment = self._moment()
        told = next(iter(moment.values())).as_of
        rows, choice = self._computed(moment)
        computed_s = clock_s()
        stamped = with_position(rows, told)
        is_told_apart = bool(told.lsn) and not plan.is_without_positions
        job_id = f"watch {plan.name} {plan.digest} {told.lsn}" if is_told_apart else None
        receipt = plan.outlets.stored(stamped, job_id)
        stored_s = clock_s()
        plan.outlets.published(stamped, facts_of(plan.name, plan.workload.name, told, choice))
        published_s = clock_s()
        changes = _grown(self._counts, counts)
        self._marks, self._counts = marks, counts
        return WatchRun(
            number=number,
            watch=plan.name,
            frame=Frame(GatheredSource(f"result of {plan.name!r}", rows, told, ())),
            changes=changes,
            choice=choice,
            receipt=receipt,
            compute_s=computed_s - begun_s,
            store_s=stored_s - computed_s,
            publish_s=published_s - stored_s,
            behind_s=behind_s(told),
        )

    def _moment(self) -> Moment:
        if self._plan.is_without_positions:
            return {name: table.snapshot() for name, table in self._plan.tables.items()}
        return live_snapshot(list(self._plan.tables.values()))

    def _computed(self, moment: Moment) -> tuple[Any, Any]:
        plan = self._plan
        columns = taken(plan.workload, plan.inputs, moment)
        arrays = plan.workload.prepare(columns, plan.params)
        engine, choice = plan.planner.choose(plan.workload, arrays, plan.params, plan.engine)
        outputs = engine.run(plan.workload, arrays, plan.params)
        return plan.workload.table(outputs, plan.params), choice


def _grown(before: Mapping[str, int], now: Mapping[str, int]) -> int:
    """Counters of a process that is a new one begin anew, and tell nothing."""
    return sum(max(0, count - before.get(name, count)) for name, count in now.items())


def _tell(callback: Callable[[WatchRun], object] | None, found: WatchRun) -> None:
    if callback is not None:
        callback(found)
    elif found.error is not None:
        _log.warning("a watched workload failed", watch=found.watch, error=str(found.error))
