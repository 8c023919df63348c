"""Estimates of results, and what is refused for being too large."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neural_gpu_bus.errors import QueryError
from neural_gpu_bus.stores.postgres.reading.result_size import (
    Estimate,
    check_size,
    read_estimate,
)

SCAN = {"Node Type": "Seq Scan", "Plan Rows": 1000, "Plan Width": 40, "Output": ["a", "b"]}


def estimate(**changes: Any) -> Estimate:
    return read_estimate(json.dumps([{"Plan": SCAN | changes}]))


def test_a_whole_table_is_known() -> None:
    found = estimate()

    assert (found.rows, found.is_table, found.whole_scans) == (1000, True, True)
    assert found.received_bytes == 1000 * (7 + 2 * 4 + 40)


def test_a_condition_is_a_guess_and_an_index_is_no_scan() -> None:
    assert not estimate(Filter="(a > 1)").is_table
    assert estimate(Filter="(a > 1)").whole_scans
    below = {"Node Type": "Index Scan"}
    assert not estimate(**{"Node Type": "Append", "Plans": [SCAN, below]}).whole_scans


def test_what_is_too_large_for_certain_is_refused() -> None:
    whole, guess = estimate(), estimate(Filter="(a > 1)")
    check_size(whole, whole.received_bytes // 2)
    check_size(guess, guess.received_bytes // 16 + 1)

    with pytest.raises(QueryError, match=r"1,000 rows and 0 MiB, and 0 MiB may .*\nhint: read few"):
        check_size(whole, whole.received_bytes // 2 - 1)
    with pytest.raises(QueryError, match="expected to have 1,000 rows"):
        check_size(guess, guess.received_bytes // 17)
