"""``freshness="live"``: whether a kept result is what its tables are now, as the process of live
tables tells.

Every change of a followed table is counted before live tables show it. A result is kept with the
counts from before it was read, and is served while they are the same. A commit is told as soon as
it is in the WAL, and PostgreSQL shows it a moment later; so a statement is only sent once
everything that was told is shown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from neural_gpu_bus.errors import BadParameterError, QueryTimeoutError
from neural_gpu_bus.live.changes import words as layout
from neural_gpu_bus.live.changes.changes_view import ChangesView
from neural_gpu_bus.live.shared.freshness import age_s
from neural_gpu_bus.live.shared.words import CLOCK, CONFIRMED_NS
from neural_gpu_bus.live.waiting import spelled
from neural_gpu_bus.query_cache.followed_for_changes import FollowedForChanges, Keeper
from neural_gpu_bus.query_cache.freshness import LAG_S_MAX
from neural_gpu_bus.query_cache.kept_results import LiveMark
from neural_gpu_bus.stores.postgres.replication.visible_transactions import VisibleTransactions

if TYPE_CHECKING:
    from pathlib import Path

    from neural_gpu_bus.live.changes.changes_view import ChangesNow
    from neural_gpu_bus.live.definitions import LiveDefinitions
    from neural_gpu_bus.live.shared import LiveView
    from neural_gpu_bus.memory import Frame
    from neural_gpu_bus.query_cache.kept_results import KnownQuery
    from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies

#: For so long views, functions and policies are taken to be what they were; then one look at the
#: catalog (0.4 ms) tells.
DEFINED_NS: Final = 1_000_000_000
#: After that it is asked anew what a name means: nobody tells of a table that comes to stand
#: earlier in the search path where no event trigger may be.
NAMED_NS: Final = 60_000_000_000
_SNAPSHOT = b"SELECT pg_current_snapshot()::text"
_PAUSE_S, _PAUSE_S_MAX = 0.000_1, 0.01


class Database(Protocol):
    """What is needed of a database; ``PostgresStore`` has it."""

    def dependencies(  # noqa: D102
        self, sql: str, params: Any = None, *, timeout_s: float | None = None
    ) -> Dependencies: ...
    def still_holds(self, known: Dependencies) -> bool: ...  # noqa: D102
    def asked(self, question: bytes, values: Any = None) -> list[tuple[Any, ...]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Defined:
    """What a statement depends on, as of a moment."""

    dependencies: Dependencies
    #: Words of the same names as they were before that was asked.
    arranged: int
    definitions: int
    asked_ns: int
    checked_ns: int


class LiveAnswers:
    """Of one home. Safe for threads."""

    def __init__(
        self,
        memory: Path,
        view: LiveView,
        definitions: LiveDefinitions,
        keeper: Callable[[], Keeper],
    ) -> None:
        """``memory``: its folder; ``keeper``: of the home, asked for when it is needed."""
        self._changes = changes = ChangesView(memory)
        self._view = view
        #: The state that belongs to the file of changes.
        self._state = view.words
        self._clock_ns = view.clock_ns
        self._followed = FollowedForChanges(changes, view, definitions, keeper)

    # ---- whether a result is served

    def why_not(
        self, defined: Defined | None, mark: LiveMark | None, taken_ns: int, max_lag_s: float
    ) -> str:
        """Why the result with that mark is not what there is now; empty where it is. ``defined``:
        what it depends on, as the last look found; ``taken_ns``: when it was read.
        """
        (words, file_id), live = self._changes.file, self._view.words
        now_ns = self._clock_ns()
        confirmed_ns = live[CONFIRMED_NS]
        # First: what was committed before that moment is counted below.
        if not confirmed_ns <= now_ns <= confirmed_ns + int(max_lag_s * 1e9):
            return "the stream of changes is late, or nothing is followed"
        self._changes.fence()
        if mark is None:
            return "it was read when not all its tables were followed"
        if defined is None or not taken_ns <= defined.checked_ns >= now_ns - DEFINED_NS:
            return "its definitions have not been looked at for a second, or since it was read"
        if (
            words[layout.ARRANGED] != defined.arranged
            or words[layout.DEFINITIONS] != defined.definitions
            or defined.dependencies.fingerprint != mark.fingerprint
            or mark.file_id != file_id
            or live is not self._state
            or live[CLOCK] != self._view.clock
        ):
            return "what it depends on may be defined otherwise now"
        for word, count in mark.counts:
            if words[word] != count:
                return "its tables were changed since it was read"
        return ""

    def told(self, found: Dependencies, kept: tuple[Frame, LiveMark | None, int] | None) -> str:
        """How ``live`` would be answered now, in words; ``found``: asked just now."""
        progress, now_ns = self._view.progress(), self._clock_ns()
        at = f"the stream is at {spelled(progress.applied_lsn)}"
        lag_s = age_s(progress.confirmed_ns, progress, now_ns)
        at += (
            ", and nobody knows how late" if math.isinf(lag_s) else f", at most {lag_s:.2f} s late"
        )
        if kept is None:
            return f"read anew: nothing is in memory; {at}"
        words = self._changes.words
        arranged, definitions = words[layout.ARRANGED], words[layout.DEFINITIONS]
        # What a call would find after one look at the catalog.
        defined = Defined(found, arranged, definitions, now_ns, now_ns)
        why = self.why_not(defined, kept[1], kept[2], LAG_S_MAX)
        return f"read anew: {why}; {at}" if why else f"from memory: nothing it reads changed; {at}"

    # ---- reading one

    def wait_shown(self, database: Database, timeout_s: float) -> ChangesNow:
        """What is told now; PostgreSQL shows it to every statement that is sent from now on.

        Raises QueryTimeoutError where it does not within the time: a commit waits for a standby.
        """
        pause_s, end_s = _PAUSE_S, time.monotonic() + timeout_s
        self._view.look_again()
        state = self._view.words
        if state is not self._state:  # the folder was made anew, and this file with it
            self._changes.open()
            self._state = state
        now = self._changes.look()
        while now.unseen is None or (now.unseen and not self._shows(database, now.unseen)):
            if time.monotonic() > end_s:
                raise QueryTimeoutError(
                    "PostgreSQL has committed what live tables show already, and did not show it "
                    f"in {timeout_s:g} s",
                    hint="a commit waits for a standby (synchronous_standby_names), or give a "
                    "longer timeout_s",
                    timeout_s=timeout_s,
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            if now.unseen is None:
                now = self._changes.look()
        return now

    def prepared(
        self, database: Database, known: KnownQuery, sql: str, params: Any, timeout_s: float
    ) -> LiveMark | None:
        """With what the result of a statement that is sent now may be kept; None where not all its
        tables are followed yet, or not any more.

        Raises BadParameterError where commits do not tell when a result is stale, or a table cannot
        be followed; what following it failed with; QueryTimeoutError.
        """
        now = self.wait_shown(database, timeout_s)
        found = self._defined(database, now, known, sql, params, timeout_s)
        reasons = found.not_kept or found.not_live
        if reasons:
            raise BadParameterError(
                f"freshness is 'live', and commits do not tell when this result is stale: "
                f"{'; '.join(reasons)}",
                hint="give a number of seconds instead; plane.explain_cache(sql) tells more",
                parameter="freshness",
            )
        places = self._followed.places(database, known.name, found)
        if places is None:
            return None
        at_ns = self._clock_ns()
        counts = []
        for place in places:
            self._changes.use(place, at_ns)
            counts.append((layout.table_word(place, layout.COUNT), now.counts[place]))
        return LiveMark(now.file_id, found.fingerprint, tuple(counts))

    def holds(self, database: Database, known: KnownQuery) -> bool:
        """Whether definitions are still those with which a result was prepared; asked once it was
        read, because a view may have been another by then.
        """
        before, at_ns = known.defined, self._clock_ns()
        if before is None or not database.still_holds(before.dependencies):
            return False
        known.defined = replace(before, checked_ns=at_ns)
        return True

    def _shows(self, database: Database, told: list[int]) -> bool:
        ((text,),) = database.asked(_SNAPSHOT)
        visible = VisibleTransactions.parse(text)
        return all(visible.sees(xid) for xid in told)

    def _defined(  # noqa: PLR0917  the parts of one question
        self,
        database: Database,
        now: ChangesNow,
        known: KnownQuery,
        sql: str,
        params: Any,
        timeout_s: float,
    ) -> Dependencies:
        at_ns, before = self._clock_ns(), known.defined
        found, asked_ns = None, at_ns
        if (
            before is not None
            and before.definitions == now.definitions
            and at_ns - before.asked_ns < NAMED_NS
            and before.dependencies.fingerprint
            and database.still_holds(before.dependencies)
        ):
            found, asked_ns = before.dependencies, before.asked_ns
        if found is None:
            found = database.dependencies(sql, params, timeout_s=timeout_s)
        known.defined = Defined(found, now.arranged, now.definitions, asked_ns, at_ns)
        return found
