"""What a statement's result depends on, as records, and how they are gathered. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from neural_gpu_bus.stores.postgres.dependencies.parse_tree import TreeFacts

Volatility = Literal["immutable", "stable", "volatile"]


@dataclass(frozen=True, slots=True)
class RelationDependency:
    """A table, view or sequence that a result depends on."""

    #: 0 where only its name is known.
    oid: int
    #: Quoted where need be, with its schema.
    name: str
    #: ``table``, ``view``, ``partitioned table`` ...
    kind: str


@dataclass(frozen=True, slots=True)
class FunctionDependency:
    """A function that a result depends on; PostgreSQL's own immutable ones are not told."""

    oid: int
    #: With its argument types, as the server spells it.
    name: str
    #: As it was declared.
    volatility: Volatility


@dataclass(frozen=True, slots=True)
class Dependencies:
    """All that a statement's result depends on, at one moment of the catalog."""

    relations: tuple[RelationDependency, ...] = ()
    functions: tuple[FunctionDependency, ...] = ()
    #: Why a result must not be kept at all, in words; empty where it may.
    not_kept: tuple[str, ...] = ()
    #: Why the commits to its tables do not tell when it is stale; empty where they do.
    not_live: tuple[str, ...] = ()
    #: Of the catalog's rows behind it.
    fingerprint: str = ""


@dataclass(slots=True)
class Gathered:
    """What has been found so far, and what is still to be looked at."""

    relations: dict[int, RelationDependency] = field(default_factory=dict)
    functions: dict[int, FunctionDependency] = field(default_factory=dict)
    not_kept: list[str] = field(default_factory=list)
    not_live: list[str] = field(default_factory=list)
    new_relations: set[int] = field(default_factory=set)
    new_functions: set[int] = field(default_factory=set)
    operators: set[int] = field(default_factory=set)
    read_types: set[int] = field(default_factory=set)
    domains: set[int] = field(default_factory=set)
    seen: set[tuple[str, int]] = field(default_factory=set)

    def add(self, facts: TreeFacts) -> None:
        """What one tree refers to."""
        self.want_relations(facts.relations)
        self.want_functions(facts.functions)
        self.operators |= facts.operators
        self.read_types |= facts.read_types
        # What reads a text into a domain looks at its CHECK too.
        self.domains |= self._unseen("domain", facts.domains | facts.read_types)
        if facts.locks_rows:
            self.not_kept.append("it locks rows (FOR UPDATE, FOR SHARE)")
        if facts.draws_sample:
            self.not_kept.append("it draws a sample anew each time (TABLESAMPLE); add REPEATABLE")
        if facts.counts_up:
            self.not_kept.append("it takes the next value of a sequence")
        if facts.tells_time:
            self.not_live.append("it tells the time (CURRENT_DATE, LOCALTIMESTAMP ...)")

    def want_relations(self, oids: Iterable[int]) -> None:
        """Those not seen yet are to be looked at."""
        self.new_relations |= self._unseen("relation", oids)

    def want_functions(self, oids: Iterable[int]) -> None:
        """Those not seen yet are to be looked at."""
        self.new_functions |= self._unseen("function", oids)

    def _unseen(self, kind: str, oids: Iterable[int]) -> set[int]:
        fresh = {oid for oid in oids if oid and (kind, oid) not in self.seen}
        self.seen |= {(kind, oid) for oid in fresh}
        return fresh

    def told(self, fingerprint: str) -> Dependencies:
        """All of it, each reason once."""
        return Dependencies(
            tuple(self.relations.values()),
            tuple(self.functions.values()),
            tuple(dict.fromkeys(self.not_kept)),
            tuple(dict.fromkeys(self.not_live)),
            fingerprint,
        )
