"""Policies over the table of blocks decide as the textbooks do, request by request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.benchmarks.eviction.replay import SimulatedMemory
from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.memory.catalog.block_table import BLOCK_RECORD, POLICY_STATE, touch
from neural_gpu_bus.memory.catalog.eviction import POLICIES, UNKNOWN_RELOAD_NS_A_BYTE, choose
from plain_eviction import PLAIN_POLICIES

DATASETS = 12
#: Powers of two, so that single and double precision agree; the largest starts GDSF's inflation
#: anew. 0 is a cost that nobody measured.
COSTS_A_BYTE = st.sampled_from([0, 1, 2, 16, 1024])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 8]), min_size=DATASETS, max_size=DATASETS))
    costs = draw(st.lists(COSTS_A_BYTE, min_size=DATASETS, max_size=DATASETS))
    asked = draw(st.lists(st.integers(0, DATASETS - 1), min_size=1, max_size=120))
    nbytes = np.array(sizes)
    return Trace("random", "", np.array(asked), nbytes, nbytes * np.array(costs))


@pytest.mark.parametrize("policy", POLICIES)
@given(trace=traces(), bytes_max=st.integers(4, 30))
@settings(max_examples=100, deadline=None)
def test_each_request_finds_and_evicts_what_the_textbook_does(
    policy: str, trace: Trace, bytes_max: int
) -> None:
    memory = SimulatedMemory(policy, trace, bytes_max)
    plain = PLAIN_POLICIES[policy](bytes_max)

    for at, dataset in enumerate(trace.requests.tolist()):
        nbytes = int(trace.nbytes[dataset])
        cost = int(trace.reload_ns[dataset]) / nbytes or UNKNOWN_RELOAD_NS_A_BYTE
        expected = plain.request(dataset, nbytes, cost, at)

        assert expected == memory.request(dataset, at)
        assert sorted(plain.items) == np.flatnonzero(memory.records["uuid"]).tolist()


@pytest.mark.parametrize("policy", POLICIES)
@given(trace=traces(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_hits_told_in_one_batch_decide_as_hits_told_at_once(
    policy: str, trace: Trace, seed: int
) -> None:
    """Readers write their hits down now and then; between two choices it makes no difference."""
    records = np.zeros(DATASETS, BLOCK_RECORD)
    records["uuid"] = 1
    records["nbytes"], records["reload_ns"] = trace.nbytes, trace.reload_ns
    records["sequence"] = np.random.default_rng(seed).permutation(DATASETS)
    batched = records.copy()
    for at, dataset in enumerate(trace.requests.tolist()):
        touch(records, dataset, at << 20)
    found, hits = np.unique(trace.requests, return_counts=True)
    last = [int(np.flatnonzero(trace.requests == dataset)[-1]) << 20 for dataset in found]
    touch(batched, found, np.array(last), hits.astype(np.uint64))

    states = np.zeros((2, 8), POLICY_STATE)
    everything = np.ones(DATASETS, np.bool_)
    one_by_one = choose(policy, records, everything, 6, states[0])
    at_once = choose(policy, batched, everything, 6, states[1])

    assert one_by_one is not None
    assert at_once is not None
    assert one_by_one.tolist() == at_once.tolist()
    assert records.tobytes() == batched.tobytes()
    assert states[0].tolist() == states[1].tolist()
