"""Why a query is answered from memory or not, as a record that a person can read."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
_KEPT = "yes, where a freshness is given"


@dataclass(frozen=True, slots=True)
class QueryExplanation:
    """What is known of one query's result at one moment; ``str`` gives it as text."""

    #: Normalised.
    statement: str
    #: Dataset of the result; empty where it can have none.
    dataset: str
    #: Why a result is never kept; empty where it is.
    not_kept: tuple[str, ...] = ()
    #: Why commits do not tell when it is stale; empty where they do.
    not_live: tuple[str, ...] = ()
    #: ``table public.bars``, ``view ...``: all that it reads, through views and policies too.
    tables: tuple[str, ...] = ()
    #: ``f(integer), stable``: functions, but for PostgreSQL's own immutable ones.
    functions: tuple[str, ...] = ()
    #: How long ago the result in memory was read, counted from before the statement was sent; None
    #: where there is none that may be served.
    age_s: float | None = None
    #: Why there is none.
    not_resident: str = ""
    rows: int = 0
    nbytes: int = 0
    #: Finds by all processes, since the query was first kept.
    hits: int = 0
    #: What reading it took.
    load_s: float = 0.0
    #: How ``freshness="live"`` would be answered now; empty where it cannot be.
    live: str = ""

    @property
    def kept(self) -> bool:
        """Whether results are kept where a freshness is given."""
        return not self.not_kept

    @property
    def resident(self) -> bool:
        """Whether a result is in memory that may be served."""
        return self.age_s is not None

    def __str__(self) -> str:
        lines = [
            ("statement", [self.statement]),
            ("kept", [f"no: {why}" for why in self.not_kept] or [_KEPT]),
            ("live", self._live()),
            ("depends on", [*self.tables, *self.functions] or ["no table and no function"]),
            ("in memory", [self._memory()]),
            ("served", [self._served()]),
        ]
        return "\n".join(
            f"{title if not at else '':<11} {text}"
            for title, texts in lines
            for at, text in enumerate(texts)
        )

    def _live(self) -> list[str]:
        if self.not_live:
            return [f"no: {why}" for why in self.not_live]
        if self.not_kept:
            return ["no: it is never kept"]
        return [self.live or "possible where a home follows its tables: their commits tell all"]

    def _memory(self) -> str:
        if self.age_s is None:
            return f"nothing: {self.not_resident}"
        return (
            f"{self.rows:,} rows, {self.nbytes / MIB:.1f} MiB, read {self.age_s:.1f} s ago in "
            f"{self.load_s * 1e3:.1f} ms, found {self.hits:,} times, as {self.dataset!r}"
        )

    def _served(self) -> str:
        if self.not_kept:
            return "read anew at each call, whatever the freshness"
        if self.age_s is None:
            return "read anew with any freshness, then kept; without one read anew always"
        return (
            f"from memory with freshness={self.age_s:.1f} or more, or 'manual'; read anew with "
            "less, or without one"
        )
