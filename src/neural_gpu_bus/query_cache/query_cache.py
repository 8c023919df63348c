"""QueryCache: results of queries that stay, for every process of the host, until they are too old.

A result is a dataset like any other, found by its query and evicted when memory is short. Several
that miss it at once read it once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from neural_gpu_bus.errors import QueryTimeoutError
from neural_gpu_bus.host_clock import clock_identity, host_clock_ns
from neural_gpu_bus.query_cache.explanation import QueryExplanation
from neural_gpu_bus.query_cache.forgotten import Forgotten
from neural_gpu_bus.query_cache.freshness import LAG_S_MAX, oldest_ns
from neural_gpu_bus.query_cache.kept_results import (
    NEVER_NS,
    KeptResults,
    KnownQuery,
    LiveMark,
)
from neural_gpu_bus.query_cache.key import options_text, query_key, quick_key
from neural_gpu_bus.query_cache.known_dependencies import Asks, KnownDependencies
from neural_gpu_bus.query_cache.load_turns import LoadTurns
from neural_gpu_bus.query_cache.uncacheable import Uncacheable
from neural_gpu_bus.query_cache.values import signature

if TYPE_CHECKING:
    from datetime import timedelta

    from neural_gpu_bus.memory import Frame, UnifiedMemory
    from neural_gpu_bus.ports import Reserve
    from neural_gpu_bus.query_cache.live_answers import LiveAnswers
    from neural_gpu_bus.stores.postgres.dependencies.dependency_records import Dependencies
    from neural_gpu_bus.stores.postgres.dependencies.identity import Identity

    #: Reads the statement into that memory, or any where None, within that time.
    Read = Callable[["Reserve | None", float | None], Frame]

#: Queries that a process knows without making their key; beyond it all are forgotten.
KNOWN_MAX: Final = 4096
#: For so long the server's identity is taken as it is.
IDENTITY_NS: Final = 60_000_000_000
#: For so long a result that was too large is read without waiting for others who read it.
TOO_LARGE_NS: Final = 60_000_000_000


class Database(Asks, Protocol):
    """What is needed of a database; ``PostgresStore`` has it."""

    def identity(self) -> Identity:
        """Whose answers its answers are."""

    def asked(self, question: bytes, values: Any = None) -> list[tuple[Any, ...]]:
        """Rows of a small question to the catalog."""


@dataclass(frozen=True, slots=True)
class QueryCacheStatistics:
    """What one process's queries with a freshness came to, since it opened its plane."""

    #: Found in memory at once.
    hits: int
    #: Found when another thread or process had read it meanwhile.
    waits: int
    #: Read and kept.
    loads: int
    #: Read and not kept: results that must not be, or are too large.
    not_kept: int


class QueryCache:
    """Results of one database's queries in one memory. Safe for threads.

    ``database`` gives it when first needed. ``wait_timeout_s``: longest wait for another's read
    where the caller sets no limit. ``bytes_max``: of the largest result that is kept.
    """

    def __init__(
        self,
        memory: UnifiedMemory,
        folder: Path,
        database: Callable[[], Database],
        *,
        bytes_max: int,
        wait_timeout_s: float,
        live: Callable[[], LiveAnswers] | None = None,
        clock_ns: Callable[[], int] = host_clock_ns,
    ) -> None:
        self._database = database
        self._clock_ns = clock_ns
        self._wait_timeout_s = wait_timeout_s
        self._forgotten = Forgotten(folder)
        self._turns = LoadTurns(folder)
        self._kept = KeptResults(memory, self._forgotten, bytes_max)
        #: The same queries by what was given, and by what that comes to.
        self._known: dict[tuple[Any, ...], KnownQuery] = {}
        self._by_text: dict[str, KnownQuery] = {}
        self._dependencies = KnownDependencies(clock_ns)
        #: Where tables are followed; made when first asked for.
        self._make_live = live
        self._live: LiveAnswers | None = None
        self._identity: Identity | None = None
        self._identity_ns = NEVER_NS
        self._reading = threading.local()
        self._retired_hits = 0
        self._waits = self._loads = self._not_kept = 0

    # ---- answers

    def find(
        self,
        sql: str,
        params: Any = None,
        *,
        freshness: float | timedelta | str,
        max_lag_s: float | None = None,
        numeric: str | Mapping[str, str] = "exact",
        texts: str = "auto",
    ) -> Frame | None:
        """The result, if one is in memory that is fresh enough; nothing is asked of the server for
        a query that this process asked before. ``max_lag_s``: of ``"live"``, see ``plane.query``.
        Raises BadParameterError for a bad freshness.
        """
        is_live = type(freshness) is str and self._is_live(freshness)
        oldest = NEVER_NS if is_live else oldest_ns(freshness, self._clock_ns())
        try:
            known = self._known.get(quick_key(sql, params, numeric, texts))
            if known is None:
                known = self._learn(sql, params, numeric, texts)
        except (Uncacheable, TypeError):
            return None  # TypeError: an option that cannot be a key, which reading refuses
        frame = self._current(known, max_lag_s) if is_live else self._kept.find(known, oldest)
        if frame is not None:
            known.hits += 1
        return frame

    def load(
        self,
        read: Read,
        sql: str,
        params: Any = None,
        *,
        freshness: float | timedelta | str,
        max_lag_s: float | None = None,
        timeout_s: float | None = None,
        wait_s: float | None = None,
        numeric: str | Mapping[str, str] = "exact",
        texts: str = "auto",
    ) -> Frame:
        """Read what ``find`` did not find, and keep it; or wait for whoever reads it already, if
        that will be fresh enough. ``timeout_s``: of all of it; ``wait_s``: of waiting, where the
        read has a limit of its own.

        Raises QueryTimeoutError where that takes too long, and what ``read`` raises: an error is
        kept for nobody.
        """
        is_live = self._is_live(freshness)
        oldest = NEVER_NS if is_live else oldest_ns(freshness, self._clock_ns())
        started_s = time.monotonic()
        self._look_after_identity()
        limit_s = timeout_s if timeout_s is not None else wait_s
        limit_s = self._wait_timeout_s if limit_s is None else limit_s
        if is_live:  # a reader of live tables may have seen what a statement does not show yet
            self.live.wait_shown(self._database(), limit_s)
        try:
            known = self._learn(sql, params, numeric, texts)
        except Uncacheable:
            return self._read_for_itself(read, timeout_s)
        if known.key.digest in self._own_turns() or self._is_known_as_not_kept(known, params):
            return self._read_for_itself(read, timeout_s)

        def look() -> Frame | None:
            return self._current(known, max_lag_s) if is_live else self._kept.find(known, oldest)

        with self._turns.taken(known.key.digest, limit_s, look) as found:
            if found is not None:
                self._waits += 1
                return found
            left_s = _left_s(limit_s, started_s)
            mark = None
            if is_live:
                mark = self.live.prepared(self._database(), known, sql, params, left_s or limit_s)
                if (found := look()) is not None:  # its definitions are as they were
                    known.hits += 1
                    return found
            if mark or (not is_live and self._may_keep(known, sql, params, left_s)):
                with self._own_turn(known.key.digest):
                    return self._read_for_all(read, known, _left_s(timeout_s, started_s), mark)
        return self._read_for_itself(read, _left_s(timeout_s, started_s))

    def forget(self, sql: str, params: Any = None) -> int:
        """Give nobody what was read of this query until now, however its columns are read; how
        many results were dropped.
        """
        try:
            known = self._learn(sql, params, "exact", "auto")
        except Uncacheable:
            return 0  # nothing was ever kept
        self._forgotten.forget(known.key.family, self._clock_ns())
        return self._kept.drop(known.key.family_names)

    def explain(
        self,
        sql: str,
        params: Any = None,
        *,
        numeric: str | Mapping[str, str] = "exact",
        texts: str = "auto",
    ) -> QueryExplanation:
        """Why this query is answered from memory, or not. Asks the server, and runs nothing."""
        try:
            known = self._learn(sql, params, numeric, texts)
        except Uncacheable as error:
            return QueryExplanation(
                sql, "", (error.why,), (error.why,), not_resident="it is never kept"
            )
        found = self._database().dependencies(sql, params)
        now_ns = self._clock_ns()
        frame = self._kept.look(known, NEVER_NS)
        facts = self._kept.facts(known) if frame is not None else None
        return QueryExplanation(
            known.key.statement,
            known.name,
            found.not_kept,
            found.not_live,
            tuple(f"{one.kind} {one.name}" for one in found.relations),
            tuple(f"{one.name}, {one.volatility}" for one in found.functions),
            age_s=None if frame is None else (now_ns - known.seen[1]) / 1e9,
            not_resident="" if frame is not None else self._why_not_resident(known, found),
            rows=0 if frame is None else frame.rows,
            nbytes=0 if frame is None else frame.nbytes,
            live=self._how_live(known, found),
            hits=facts.hits if facts is not None else 0,
            load_s=facts.reload_ns / 1e9 if facts is not None else 0.0,
        )

    def statistics(self) -> QueryCacheStatistics:
        """Of this process."""
        hits = self._retired_hits + sum(one.hits for one in list(self._by_text.values()))
        return QueryCacheStatistics(hits, self._waits, self._loads, self._not_kept)

    def close(self) -> None:
        """Nothing is open; what is known goes."""
        self._forget_known()

    # ---- as of now

    @property
    def live(self) -> LiveAnswers:
        """What is told of changes."""
        if self._live is None:
            assert self._make_live is not None  # noqa: S101  asked before: _is_live
            self._live = self._make_live()
        return self._live

    def _is_live(self, freshness: Any) -> bool:
        return type(freshness) is str and freshness == "live" and self._make_live is not None

    def _current(self, known: KnownQuery, max_lag_s: float | None) -> Frame | None:
        found = self._kept.find_marked(known)
        if found is None:
            return None
        limit_s = LAG_S_MAX if max_lag_s is None else max_lag_s
        frame, mark, taken_ns = found
        return None if self.live.why_not(known.defined, mark, taken_ns, limit_s) else frame

    # ---- reading

    def _own_turns(self) -> set[str]:
        """Queries that this thread is reading: one that asks for itself, in its progress, would
        wait for its own turn.
        """
        found: set[str] | None = getattr(self._reading, "digests", None)
        if found is None:
            found = self._reading.digests = set()
        return found

    @contextmanager
    def _own_turn(self, digest: str) -> Iterator[None]:
        self._own_turns().add(digest)
        try:
            yield
        finally:
            self._own_turns().discard(digest)

    def _read_for_all(
        self, read: Read, known: KnownQuery, left_s: float | None, mark: LiveMark | None = None
    ) -> Frame:
        taken_ns = self._clock_ns()  # before the statement is sent
        known.too_large_ns = NEVER_NS

        def too_large() -> None:
            known.too_large_ns = taken_ns

        frame = read(self._kept.reserve(known, taken_ns, too_large, mark), left_s)
        if mark is not None and not self.live.holds(self._database(), known):
            self._forgotten.forget(known.key.family, self._clock_ns())
        if known.too_large_ns == NEVER_NS:
            self._loads += 1
        else:
            self._not_kept += 1
        return frame

    def _read_for_itself(self, read: Read, left_s: float | None) -> Frame:
        self._not_kept += 1
        return read(None, left_s)

    def _may_keep(self, known: KnownQuery, sql: str, params: Any, left_s: float | None) -> bool:
        key = (known.key.statement, signature(params))
        try:
            found = self._dependencies.of(self._database(), key, sql, params, left_s)
        except QueryTimeoutError:
            return False  # a table is being altered: reading it waits as long as the caller may
        return not found.not_kept

    def _is_known_as_not_kept(self, known: KnownQuery, params: Any) -> bool:
        """Then nobody has to wait for his turn."""
        if self._clock_ns() - known.too_large_ns < TOO_LARGE_NS:
            return True
        found = self._dependencies.trusted((known.key.statement, signature(params)))
        return found is not None and bool(found.not_kept)

    def _how_live(self, known: KnownQuery, found: Dependencies) -> str:
        if self._make_live is None or found.not_kept or found.not_live:
            return ""
        kept = self._kept.find_marked(known)
        return self.live.told(found, kept)

    def _why_not_resident(self, known: KnownQuery, found: Dependencies) -> str:
        if found.not_kept:
            return "it is never kept"
        if known.too_large_ns != NEVER_NS:
            most = self._kept.bytes_max
            return f"the last result was larger than the {most:,} bytes that are kept of one query"
        return "not read with a freshness yet, forgotten, or evicted"

    # ---- keys

    def _learn(
        self, sql: str, params: Any, numeric: str | Mapping[str, str], texts: str
    ) -> KnownQuery:
        quick = quick_key(sql, params, numeric, texts)
        known = self._known.get(quick)
        if known is None:
            identity = self._whose()
            key = query_key(
                sql,
                params,
                options=options_text(numeric, texts),
                whose=f"{clock_identity()} {identity.text}",
                plain_texts=identity.plain_texts,
            )
            if len(self._known) >= KNOWN_MAX:
                self._forget_known()
            known = self._by_text.get(key.text)
            if known is None:
                known = KnownQuery(key, self._forgotten.place(key.family))
                self._by_text[key.text] = known
            self._known[quick] = known
        return known

    def _forget_known(self) -> None:
        self._retired_hits = self.statistics().hits
        self._known, self._by_text = {}, {}

    def _whose(self) -> Identity:
        if self._identity is None:
            self._identity = self._database().identity()
            self._identity_ns = self._clock_ns()
        return self._identity

    def _look_after_identity(self) -> None:
        """The server behind an address may have become another, or its settings."""
        if self._identity is None or self._clock_ns() - self._identity_ns < IDENTITY_NS:
            return
        before, self._identity = self._identity, None
        if self._whose() != before:
            self._forget_known()


def _left_s(timeout_s: float | None, started_s: float) -> float | None:
    """Of the caller's own limit; a little, where waiting took all of it."""
    if timeout_s is None:
        return None
    return max(timeout_s - (time.monotonic() - started_s), 0.001)
