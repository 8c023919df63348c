"""Ranges of pages: each page of each leaf once, in order, the last one open."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from neural_gpu_bus.stores.postgres.reading.table.ctid_ranges import connections_for, cut


@given(
    st.lists(st.integers(0, 20_000), min_size=1, max_size=12),
    st.integers(1, 16),
)
def test_every_page_is_in_one_range(leaf_pages: list[int], connections: int) -> None:
    ranges = cut(leaf_pages, connections)

    assert [one.leaf for one in ranges] == sorted(one.leaf for one in ranges)
    for leaf in range(len(leaf_pages)):
        of_leaf = [one for one in ranges if one.leaf == leaf]
        assert of_leaf[0].first is None
        assert of_leaf[-1].end is None
        for before, after in pairwise(of_leaf):
            assert before.end == after.first
            assert before.end is not None
            assert (before.first or 0) < before.end <= leaf_pages[leaf]


def test_conditions_are_half_open() -> None:
    assert [one.condition() for one in cut([10], 4)] == [""]
    assert [one.condition() for one in cut([1200], 1)] == [""]
    assert [one.condition() for one in cut([768], 2)] == [
        "ctid < '(256,0)'::tid",
        "ctid >= '(256,0)'::tid AND ctid < '(512,0)'::tid",
        "ctid >= '(512,0)'::tid",
    ]


def test_small_tables_are_for_one_connection() -> None:
    assert connections_for(511, 8, asked=False) == 1
    assert connections_for(1024, 8, asked=False) == 2
    assert connections_for(100_000, 8, asked=False) == 8
    assert connections_for(200, 8, asked=True) == 3
    assert connections_for(0, 8, asked=True) == 1
