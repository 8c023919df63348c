"""The bounds hold: against every possible way to keep and evict, on traces small enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neural_gpu_bus.benchmarks.eviction.bounds import belady, possible
from neural_gpu_bus.benchmarks.eviction.replay import replay
from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.memory.catalog.eviction import POLICIES

DATASETS = 5


@st.composite
def traces(draw: st.DrawFn, sizes: st.SearchStrategy[int]) -> Trace:
    asked = draw(st.lists(st.integers(0, DATASETS - 1), min_size=1, max_size=10))
    nbytes = draw(st.lists(sizes, min_size=DATASETS, max_size=DATASETS))
    cost = draw(st.lists(st.integers(1, 50), min_size=DATASETS, max_size=DATASETS))
    return Trace("random", "", np.array(asked), np.array(nbytes), np.array(cost))


def best_of_all(trace: Trace, bytes_max: int, worth: np.ndarray) -> int:
    """Every choice of what stays after each request is tried; the best worth of the hits."""
    best = {frozenset[int](): 0}
    for dataset in trace.requests.tolist():
        after: dict[frozenset[int], int] = {}
        for kept, so_far in best.items():
            gained = so_far + (int(worth[dataset]) if dataset in kept else 0)
            for stays in subsets(kept | {dataset}):
                if sum(int(trace.nbytes[one]) for one in stays) <= bytes_max:
                    after[stays] = max(after.get(stays, 0), gained)
        best = after
    return max(best.values())


def subsets(members: frozenset[int]) -> list[frozenset[int]]:
    found = [frozenset[int]()]
    for member in members:
        found += [subset | {member} for subset in found]
    return found


@given(trace=traces(st.integers(1, 6)), bytes_max=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_nothing_exceeds_what_is_possible(trace: Trace, bytes_max: int) -> None:
    for worth in (np.ones(DATASETS, np.int64), trace.nbytes, trace.reload_ns):
        bound = possible(trace, bytes_max, worth)

        assert best_of_all(trace, bytes_max, worth) <= bound + 1e-6


@given(trace=traces(st.just(1)), bytes_max=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_belady_is_the_best_where_sizes_are_equal(trace: Trace, bytes_max: int) -> None:
    best = best_of_all(trace, bytes_max, np.ones(DATASETS, np.int64))

    assert best == belady(trace, bytes_max).hits


@given(trace=traces(st.integers(1, 6)), bytes_max=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
@example(Trace("large first", "", np.array([0, 1, 1]), np.array([9, 1]), np.array([1, 1])), 2)
def test_belady_stays_within_its_memory(trace: Trace, bytes_max: int) -> None:
    best = best_of_all(trace, bytes_max, np.ones(len(trace.nbytes), np.int64))

    assert belady(trace, bytes_max).hits <= best


@pytest.mark.parametrize("policy", POLICIES)
@given(trace=traces(st.integers(1, 6)), bytes_max=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_no_policy_exceeds_the_best(policy: str, trace: Trace, bytes_max: int) -> None:
    outcome = replay(policy, trace, bytes_max)

    assert outcome.hits <= best_of_all(trace, bytes_max, np.ones(DATASETS, np.int64))
    assert outcome.saved_ns <= best_of_all(trace, bytes_max, trace.reload_ns)
    assert outcome.hit_bytes <= best_of_all(trace, bytes_max, trace.nbytes)


def test_the_bound_is_met_where_it_can_be() -> None:
    """Three in turn and room for one: a hit keeps it for three of the 29 steps, so 29 / 3 hits."""
    trace = Trace("loop", "", np.arange(30) % 3, np.full(3, 10), np.full(3, 7))

    assert possible(trace, 10, trace.reload_ns) == pytest.approx(29 / 3 * 7)
    assert possible(trace, 30, trace.reload_ns) == pytest.approx(27 * 7)
    assert possible(trace, 9, trace.reload_ns) == 0
