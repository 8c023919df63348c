"""Estimates of results, and what is refused for being too large."""

from __future__ import annotations

import json
from dataclasses import replace
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


def test_rows_of_a_series_are_known_and_their_width_is_what_came() -> None:
    series = estimate(**{"Node Type": "Function Scan", "Function Name": "generate_series"})
    other = estimate(**{"Node Type": "Function Scan", "Function Name": "unnest"})

    assert (series.is_table, series.whole_scans, other.is_table) == (True, False, False)
    assert estimate(**{"Node Type": "Sort", "Plans": [SCAN]}).is_table
    assert replace(series, seen_row_bytes=1000).received_bytes == 1_000_000
    assert replace(series, seen_row_bytes=10).received_bytes == series.received_bytes
