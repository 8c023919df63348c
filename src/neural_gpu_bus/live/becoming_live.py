"""A table is declared and waited for, until it is live or whoever asked gives up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from neural_gpu_bus.error_records import from_record
from neural_gpu_bus.errors import DatasetNotFoundError, NeuralGpuBusError, StaleError
from neural_gpu_bus.live.shared.freshness import is_told_by_one_alive
from neural_gpu_bus.live.shared.manifest import SHOWN_STATES

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition, LiveDefinitions
    from neural_gpu_bus.live.shared import LiveView, TableState

#: How often counters are looked at while nothing else is told, and how often whether it is.
_LOOK_S, _PAUSE_S = 0.02, 0.001
#: How often the keeper is asked for a process that follows, while there is none.
_FOLLOW_S = 1.0


class BecomingLive:
    """One asker's wait. ``follow``: has the keeper run the process that follows; raises
    NotRunningError where the keeper is gone.
    """

    def __init__(
        self,
        view: LiveView,
        definitions: LiveDefinitions,
        follow: Callable[[], object],
        definition: LiveDefinition,
    ) -> None:
        self._view, self._definitions, self._follow = view, definitions, follow
        self._definition = definition
        #: What was told of it before it was asked for.
        self._before: TableState | None = None
        self._token: object = None
        self._next_follow_s = 0.0

    def wait(self, timeout_s: float, progress: Callable[[TableState], object] | None) -> None:
        """Declare it, and return once it is live. What is raised meanwhile, by Ctrl-C too, takes
        the declaration back, unless somebody else asked for it.

        Raises what it failed with, StaleError, DatasetNotFoundError where somebody drops it,
        NotRunningError, BadParameterError where it is live otherwise.
        """
        self._view.look_again()
        self._before = before = self._view.table(self._definition.name)
        waits = before is None or before.state not in SHOWN_STATES
        self._definition, is_new = self._definitions.add(self._definition, waits=waits)
        try:
            self._follow()
            self._next_follow_s = time.monotonic() + _FOLLOW_S
            self._wait(timeout_s, progress)
        except BaseException as error:
            if waits or is_new:
                self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        try:
            self._definitions.give_up(self._definition)
        except NeuralGpuBusError as also:  # what failed first counts more
            error.add_note(f"and {self._definition.name!r} is still declared live: {also}")

    def _wait(self, timeout_s: float, progress: Callable[[TableState], object] | None) -> None:
        view, end_s = self._view, time.monotonic() + timeout_s
        while True:
            view.look_again()
            epoch, state = view.epoch, self._told()
            if state is not None:
                if state.state in SHOWN_STATES:
                    return
                if self._has_failed(state):
                    assert state.error is not None  # noqa: S101  asked just before
                    raise from_record(state.error)
                if progress is not None:
                    progress(state)
            if time.monotonic() > end_s:
                raise self._not_in_time(timeout_s, state)
            self._check_declared()
            self._check_followed()
            self._pause(epoch)

    def _told(self) -> TableState | None:
        """What is told of it; not of one that had the name before, and is about to go."""
        state = self._view.counted(self._definition.name)
        return state if state and state.added_ns == self._definition.added_ns else None

    def _has_failed(self, state: TableState) -> bool:
        """Since it was asked for: what failed before may have been mended. By no clock, because
        somebody may set it.
        """
        before = self._before
        if state.state != "failed" or state.error is None:
            return False
        return before is None or (before.state, before.since_ns) != ("failed", state.since_ns)

    def _not_in_time(self, timeout_s: float, state: TableState | None) -> StaleError:
        name = self._definition.name
        why = self._view.why_not_live(name if state is not None else "")
        return StaleError(
            f"live table {name!r} is not live after {timeout_s:g} s: {why}",
            hint="wait longer (timeout_s=), or see `ngb live list` and the log of the home",
            table=name,
            why=why,
            timeout_s=timeout_s,
        )

    def _check_declared(self) -> None:
        token = self._definitions.token()
        if token != self._token and not self._definitions.has(self._definition):
            name = self._definition.name
            raise DatasetNotFoundError(
                f"live table {name!r} was dropped while it was waited for",
                hint="ask for it again, if it is still wanted",
                name=name,
            )
        self._token = token

    def _check_followed(self) -> None:
        if time.monotonic() >= self._next_follow_s:
            self._next_follow_s = time.monotonic() + _FOLLOW_S
            if not is_told_by_one_alive(self._view.progress()):
                self._follow()

    def _pause(self, epoch: int) -> None:
        """Until another thing is told, and not for long."""
        end_s = time.monotonic() + _LOOK_S
        while self._view.epoch == epoch and time.monotonic() < end_s:
            time.sleep(_PAUSE_S)
