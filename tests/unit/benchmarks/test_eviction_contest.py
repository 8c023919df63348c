"""``ngb bench eviction``: its traces, what a replay counts, and that its winner is the default."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from neural_gpu_bus.benchmarks.eviction.contest import Contest, contest, matches_of, play
from neural_gpu_bus.benchmarks.eviction.replay import SimulatedMemory, replay
from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.benchmarks.eviction.traces import KINDS, made_up, recorded_demo
from neural_gpu_bus.memory.catalog.eviction import (
    DEFAULT_POLICY,
    POLICIES,
    UNKNOWN_RELOAD_NS_A_BYTE,
)

SEED = 7


@pytest.fixture(scope="module")
def reduced() -> Contest:
    """A quarter of the requests and one capacity."""
    return contest([0.1], 1000, SEED, told=lambda: None)


@pytest.mark.slow
def test_the_default_policy_is_the_winner(reduced: Contest) -> None:
    """By a margin that another seed does not turn."""
    shares = sorted(reduced.mean_share(policy) for policy in POLICIES)
    print("seed", SEED, {policy: reduced.mean_share(policy) for policy in POLICIES})

    assert reduced.winner == DEFAULT_POLICY
    assert shares[-1] - shares[-2] > 0.1


@pytest.mark.slow
def test_no_policy_exceeds_what_is_possible(reduced: Contest) -> None:
    for match in reduced.matches:
        for figures in (match.belady, *match.figures):
            assert figures.share_of_possible <= 1
            assert figures.hit_ratio <= match.possible_hit_ratio + 1e-9
            assert figures.byte_hit_ratio <= match.possible_byte_hit_ratio + 1e-9


@pytest.mark.slow
def test_the_file_has_every_figure_and_the_winner(reduced: Contest) -> None:
    found = msgspec.json.decode(reduced.to_json())

    assert len(found["matches"]) == matches_of([0.1]) == len(KINDS) + 1
    assert found["winner"] == DEFAULT_POLICY
    assert found["mean_share"].keys() == POLICIES.keys()


def test_a_seed_makes_the_same_traces_and_another_makes_others() -> None:
    one, again, other = (list(made_up(200, seed)) for seed in (3, 3, 4))

    for trace, same in zip(one, again, strict=True):
        assert trace.requests.tolist() == same.requests.tolist()
        assert trace.nbytes.tolist() == same.nbytes.tolist()
        assert trace.reload_ns.tolist() == same.reload_ns.tolist()
    assert [trace.nbytes.tolist() for trace in one] != [trace.nbytes.tolist() for trace in other]


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.name for kind in KINDS])
def test_made_up_datasets_are_as_ours(number: int) -> None:
    """16 KiB to 100 MiB, each with a cost; those alone that a trace asks for count."""
    trace = list(made_up(500, SEED))[number]

    assert len(trace.requests) == 500
    assert trace.requests.max() < len(trace.nbytes)
    assert trace.nbytes.min() >= 16 << 10
    assert trace.nbytes.max() <= 100 << 20
    assert trace.reload_ns.min() > 0
    assert trace.total_bytes == sum(
        int(trace.nbytes[dataset]) for dataset in set(trace.requests.tolist())
    )


def test_the_recorded_demo_reads_its_inputs_again_and_again() -> None:
    trace = recorded_demo()

    assert len(trace.requests) > 100
    assert len(np.unique(trace.requests)) == len(trace.nbytes) < len(trace.requests)
    assert trace.nbytes.min() > 0
    assert trace.reload_ns.min() > 0


def test_a_recorded_dataset_has_its_median_size_and_measured_cost() -> None:
    raw = b'[["a",100,0],["b",50,0],["a",300,7],["a",200,9]]'

    trace = recorded_demo(raw)

    assert trace.requests.tolist() == [0, 1, 0, 0]
    assert trace.nbytes.tolist() == [200, 50]
    assert trace.reload_ns.tolist() == [8, 50 * UNKNOWN_RELOAD_NS_A_BYTE]


def test_next_use_is_when_the_same_dataset_is_asked_for_again() -> None:
    trace = Trace("", "", np.array([0, 1, 0, 0, 2]), np.ones(3, int), np.ones(3, int))

    assert trace.next_use().tolist() == [2, 5, 3, 5, 5]


def test_a_replay_counts_hits_bytes_and_time() -> None:
    """Room for 0 and 1; 2 fits into no memory of this size and never stays."""
    asked = np.array([0, 1, 2, 0, 2, 1, 0])
    trace = Trace("", "", asked, np.array([10, 20, 100]), np.array([3, 5, 7]))

    found = replay("lru", trace, 30)

    assert (found.requests, found.hits, found.decisions) == (7, 3, 0)
    assert (found.hit_bytes, found.requested_bytes) == (40, 270)
    assert found.saved_ns == 3 + 5 + 3


@pytest.mark.parametrize("policy", POLICIES)
def test_a_simulated_memory_never_holds_more_than_its_bytes(policy: str) -> None:
    trace = next(made_up(300, SEED))
    bytes_max = trace.total_bytes // 20
    memory = SimulatedMemory(policy, trace, bytes_max)

    for at, dataset in enumerate(trace.requests.tolist()):
        memory.request(dataset, at)
        resident = memory.records["uuid"] != 0
        assert memory.records["nbytes"][resident].sum() <= bytes_max
    assert memory.decisions > 10


def test_nothing_to_save_is_all_of_what_is_possible() -> None:
    trace = Trace("", "", np.arange(5), np.full(5, 10), np.full(5, 10))

    match = play(trace, 0.5)

    assert {figures.share_of_possible for figures in match.figures} == {1.0}
    assert match.winners == match.figures
