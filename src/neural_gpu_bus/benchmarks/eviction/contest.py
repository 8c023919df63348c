"""Every policy on every trace at every capacity, beside the bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import msgspec
import numpy as np

from neural_gpu_bus.benchmarks.eviction.bounds import belady, possible
from neural_gpu_bus.benchmarks.eviction.replay import Outcome, replay
from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.benchmarks.eviction.traces import KINDS, made_up, recorded_demo
from neural_gpu_bus.memory.catalog.eviction import POLICIES

#: Belady's row, which no policy can be.
BELADY = "belady"


class Figures(msgspec.Struct, frozen=True):
    """One policy on one trace at one capacity."""

    policy: str
    hit_ratio: float
    byte_hit_ratio: float
    saved_ns: int
    #: Of ``Match.possible_saved_ns``.
    share_of_possible: float
    #: Times that something had to go, and the time of choosing.
    decisions: int
    deciding_ns: int


class Match(msgspec.Struct, frozen=True):
    """All policies on one trace at one capacity."""

    trace: str
    meaning: str
    requests: int
    #: Of all datasets that the trace asks for, and the part of it that the memory holds.
    total_bytes: int
    bytes_max: int
    capacity: float
    #: Upper bounds, see ``bounds.possible``.
    possible_hit_ratio: float
    possible_byte_hit_ratio: float
    possible_saved_ns: int
    belady: Figures
    figures: tuple[Figures, ...]

    @property
    def winners(self) -> tuple[Figures, ...]:
        """Who saved the most reload time; more than one where they saved the same."""
        most_ns = max(figures.saved_ns for figures in self.figures)
        return tuple(figures for figures in self.figures if figures.saved_ns == most_ns)


class Contest(msgspec.Struct, frozen=True):
    """All matches."""

    seed: int
    #: Of each made-up trace.
    requests: int
    matches: tuple[Match, ...]

    def mean_share(self, policy: str) -> float:
        """Reload time saved as a share of what is possible, mean over all matches.

        Not the sum of times: the traces differ tenfold in what there is to save.
        """
        return fmean(figures.share_of_possible for figures in self.of(policy))

    def of(self, policy: str) -> Iterator[Figures]:
        """A policy's figures, match by match."""
        for match in self.matches:
            yield next(figures for figures in match.figures if figures.policy == policy)

    @property
    def winner(self) -> str:
        """The policy of the greatest mean share."""
        return max(POLICIES, key=self.mean_share)

    def to_json(self) -> bytes:
        """For ``--json``: the fields, the mean shares and the winner."""
        shares = {policy: self.mean_share(policy) for policy in POLICIES}
        whole = {**msgspec.to_builtins(self), "mean_share": shares, "winner": self.winner}
        return msgspec.json.format(msgspec.json.encode(whole), indent=1)


def matches_of(capacities: Sequence[float]) -> int:
    """How many matches a contest has."""
    return (len(KINDS) + 1) * len(capacities)


def contest(
    capacities: Sequence[float], requests: int, seed: int, told: Callable[[], None]
) -> Contest:
    """Run it; ``capacities`` are shares of each trace's bytes, ``told`` hears of each match."""
    matches = []
    for trace in (*made_up(requests, seed), recorded_demo()):
        for capacity in capacities:
            matches.append(play(trace, capacity))
            told()
    return Contest(seed, requests, tuple(matches))


def play(trace: Trace, capacity: float) -> Match:
    """One trace, all policies."""
    bytes_max = int(trace.total_bytes * capacity)
    bound_ns = possible(trace, bytes_max, trace.reload_ns)
    best_hits = possible(trace, bytes_max, np.ones_like(trace.nbytes))
    best_bytes = possible(trace, bytes_max, trace.nbytes)
    return Match(
        trace=trace.name,
        meaning=trace.meaning,
        requests=len(trace.requests),
        total_bytes=trace.total_bytes,
        bytes_max=bytes_max,
        capacity=capacity,
        possible_hit_ratio=best_hits / len(trace.requests),
        possible_byte_hit_ratio=best_bytes / int(trace.nbytes[trace.requests].sum()),
        possible_saved_ns=int(bound_ns),
        belady=_figures(BELADY, belady(trace, bytes_max), bound_ns),
        figures=tuple(
            _figures(policy, replay(policy, trace, bytes_max), bound_ns) for policy in POLICIES
        ),
    )


def _figures(policy: str, outcome: Outcome, bound_ns: float) -> Figures:
    return Figures(
        policy=policy,
        hit_ratio=outcome.hit_ratio,
        byte_hit_ratio=outcome.byte_hit_ratio,
        saved_ns=outcome.saved_ns,
        share_of_possible=outcome.saved_ns / bound_ns if bound_ns else 1.0,
        decisions=outcome.decisions,
        deciding_ns=outcome.deciding_ns,
    )
