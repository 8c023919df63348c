"""What statements depend on, asked once and looked after: the catalog changes seldom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies

#: For so long an answer is taken as it is; then one look at the catalog tells whether it holds.
TRUSTED_NS: Final = 10_000_000_000
#: After that it is asked anew: a new table of the same name may stand before the one that was read.
ASKED_ANEW_NS: Final = 600_000_000_000
#: Statements whose answers are remembered; beyond it all are forgotten.
STATEMENTS_MAX: Final = 2_000


class Asks(Protocol):
    """What is needed of a database; ``PostgresStore`` has it."""

    def dependencies(
        self, sql: str, params: Any = None, *, timeout_s: float | None = None
    ) -> Dependencies:
        """What a statement's result depends on."""

    def still_holds(self, known: Dependencies) -> bool:
        """Whether that is as it was."""


@dataclass(slots=True)
class _Answer:
    dependencies: Dependencies
    asked_ns: int
    checked_ns: int


class KnownDependencies:
    """Answers by statement and types of values. Safe for threads."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._answers: dict[tuple[str, str], _Answer] = {}
        self._lock = threading.Lock()

    def of(
        self, database: Asks, key: tuple[str, str], sql: str, params: Any, timeout_s: float | None
    ) -> Dependencies:
        """Of a statement; ``key``: normalised, and the types of its values."""
        now_ns = self._clock_ns()
        known = self._answers.get(key)
        if known is not None and self._holds(database, known, now_ns):
            return known.dependencies
        found = database.dependencies(sql, params, timeout_s=timeout_s)
        with self._lock:
            if len(self._answers) >= STATEMENTS_MAX:
                self._answers.clear()
            self._answers[key] = _Answer(found, now_ns, now_ns)
        return found

    def trusted(self, key: tuple[str, str]) -> Dependencies | None:
        """The answer, where the server need not be asked."""
        known = self._answers.get(key)
        if known is None or self._clock_ns() - known.checked_ns >= TRUSTED_NS:
            return None
        return known.dependencies

    def _holds(self, database: Asks, known: _Answer, now_ns: int) -> bool:
        if now_ns - known.checked_ns < TRUSTED_NS:
            return True
        if now_ns - known.asked_ns >= ASKED_ANEW_NS or not known.dependencies.fingerprint:
            return False
        if not database.still_holds(known.dependencies):
            return False
        known.checked_ns = now_ns
        return True
