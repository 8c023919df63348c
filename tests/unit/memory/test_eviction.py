"""Choosing what goes: enough, no more, only candidates, and as fast with many."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.memory.catalog.block_table import (
    BLOCK_RECORD,
    POLICY_STATE,
    PolicyState,
    Records,
    insert,
    touch,
)
from neural_gpu_bus.memory.catalog.eviction import POLICIES, UNKNOWN_RELOAD_NS_A_BYTE, choose

SEED = 20261122
#: Time between two uses: more than LFU's tick.
STEP_NS = 1_000_000


@pytest.fixture
def state() -> PolicyState:
    return np.zeros(8, POLICY_STATE)


def blocks(*nbytes: int, reload_ns: int = 1000) -> Records:
    """One block after the other, never found."""
    records = np.zeros(len(nbytes), BLOCK_RECORD)
    for at, size in enumerate(nbytes):
        insert(
            records,
            at,
            uuid=at + 1,
            nbytes=size,
            reload_ns=reload_ns,
            sequence=at,
            now_ns=at * STEP_NS,
        )
    return records


def chosen(
    policy: str, records: Records, needed_bytes: int, state: PolicyState, kept: tuple[int, ...] = ()
) -> list[int]:
    candidates = records["uuid"] != 0
    candidates[list(kept)] = False
    found = choose(policy, records, candidates, needed_bytes, state)
    assert found is not None
    return found.tolist()


@pytest.mark.parametrize("policy", POLICIES)
class TestEveryPolicy:
    def test_takes_enough_and_not_one_more(self, policy: str, state: PolicyState) -> None:
        records = blocks(100, 100, 100, 100)

        assert len(chosen(policy, records, 200, state)) == 2
        assert len(chosen(policy, records, 201, state)) == 3
        assert len(chosen(policy, records, 400, state)) == 4

    def test_never_takes_what_is_no_candidate(self, policy: str, state: PolicyState) -> None:
        records = blocks(100, 100, 100, 100)

        assert set(chosen(policy, records, 200, state, kept=(0, 2))) == {1, 3}

    def test_where_all_are_too_little_nothing_goes_or_changes(
        self, policy: str, state: PolicyState
    ) -> None:
        records = blocks(100, 100)
        touch(records, 0, STEP_NS)
        before = records.tobytes()

        assert choose(policy, records, records["uuid"] != 0, 201, state) is None
        assert choose(policy, records, np.zeros(2, np.bool_), 1, state) is None
        assert records.tobytes() == before
        assert not state.any()

    def test_nothing_needed_is_nothing_chosen(self, policy: str, state: PolicyState) -> None:
        assert chosen(policy, blocks(100, 100), 0, state) == []

    def test_many_records_are_chosen_as_by_a_whole_sort(
        self, policy: str, state: PolicyState
    ) -> None:
        """Of many, a sample says which to sort; the answer is that of sorting all."""
        random = np.random.default_rng(SEED)
        print("seed", SEED)
        records = blocks(*[1] * 10_000)
        records["nbytes"] = random.integers(1, 1000, len(records))
        records["reload_ns"] = random.integers(0, 10**6, len(records))
        touch(records, np.arange(5_000), random.permutation(5_000) * STEP_NS)
        candidates = random.random(len(records)) < 0.8

        for needed_bytes in (1, 5_000, 300_000, 3_000_000):
            again = state.copy()
            found = choose(policy, records.copy(), candidates, needed_bytes, again)
            everything = choose(
                policy, records.copy(), candidates, int(records["nbytes"][candidates].sum()), state
            )
            state[:] = 0

            assert found is not None
            assert everything is not None
            assert found.tolist() == everything[: len(found)].tolist()
            freed = records["nbytes"][found]
            assert freed[:-1].sum() < needed_bytes <= freed.sum()


def test_many_small_ones_go_before_the_first_large_one(state: PolicyState) -> None:
    """The sample guesses from the mean size; where that misleads, it looks further."""
    records = blocks(*[1] * 9_000, *[1_000] * 1_000)

    assert chosen("lru", records, 100_000, state) == list(range(9_091))


def test_lru_takes_the_least_recently_used(state: PolicyState) -> None:
    records = blocks(1, 1, 1)
    touch(records, 0, 9 * STEP_NS)

    assert chosen("lru", records, 3, state) == [1, 2, 0]


def test_lfu_takes_the_least_often_used_and_of_equals_the_older(state: PolicyState) -> None:
    records = blocks(1, 1, 1, 1)
    touch(records, 0, 9 * STEP_NS, 5)
    touch(records, 2, 8 * STEP_NS)
    touch(records, 1, 9 * STEP_NS)

    assert chosen("lfu", records, 4, state) == [3, 2, 1, 0]


def test_lfu_orders_times_of_today(state: PolicyState) -> None:
    """Nanoseconds since 1970, and so many hits that they are no longer told apart."""
    today_ns = 1_790_000_000_000_000_000
    records = blocks(1, 1, 1)
    touch(records, 0, today_ns + STEP_NS, 10**9)
    touch(records, 1, today_ns, 10**12)
    touch(records, 2, today_ns, 1)

    assert chosen("lfu", records, 3, state) == [2, 1, 0]


def test_sieve_spares_once_what_was_visited(state: PolicyState) -> None:
    records = blocks(1, 1, 1)
    touch(records, 0, 9 * STEP_NS)

    assert chosen("sieve", records, 1, state) == [1]
    assert records["visited"].tolist() == [0, 0, 0]
    assert chosen("sieve", records, 1, state, kept=(1,)) == [2]
    assert chosen("sieve", records, 1, state, kept=(1, 2)) == [0]


def test_gdsf_keeps_what_costs_much_by_its_size(state: PolicyState) -> None:
    records = blocks(100, 100, 10)
    records["reload_ns"] = 1000, 5000, 1000

    assert chosen("gdsf", records, 210, state) == [0, 1, 2]


def test_gdsf_takes_an_unknown_cost_as_that_of_a_read(state: PolicyState) -> None:
    records = blocks(100, 100, 100)
    read_ns = int(100 * UNKNOWN_RELOAD_NS_A_BYTE)
    records["reload_ns"] = read_ns + 100, 0, read_ns - 100

    assert chosen("gdsf", records, 300, state) == [2, 1, 0]


@pytest.mark.parametrize("gone_a_byte", [0, 2**30], ids=["at first", "a costly one went before"])
def test_gdsf_lets_old_merit_fade(state: PolicyState, gone_a_byte: int) -> None:
    """A block found often goes when as many newer ones have come and gone.

    Single precision would lose a cheap block's worth beside that of a very costly one.
    """
    if gone_a_byte:
        assert chosen("gdsf", blocks(1, reload_ns=gone_a_byte), 1, state) == [0]
    records = blocks(100, 100, reload_ns=100)
    touch(records, 0, STEP_NS, 20)
    turns = 0
    while chosen("gdsf", records, 100, state) != [0]:
        turns += 1
        insert(records, 1, uuid=9, nbytes=100, reload_ns=100, sequence=turns, now_ns=turns)
        assert turns < 30

    assert turns == 20
