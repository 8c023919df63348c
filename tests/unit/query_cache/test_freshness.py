"""How old a result may be, in words and numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.query_cache.freshness import AGE_S_MAX, oldest_ns

NOW_NS = 50_000_000_000


@pytest.mark.parametrize(
    ("freshness", "expected"),
    [
        (0, NOW_NS),
        (10, 40_000_000_000),
        (0.5, 49_500_000_000),
        (np.float64(0.5), 49_500_000_000),
        (np.float32(0.5), 49_500_000_000),
        (np.int64(10), 40_000_000_000),
        (timedelta(seconds=10), 40_000_000_000),
    ],
)
def test_seconds_count_back_from_now(freshness: Any, expected: int) -> None:
    assert oldest_ns(freshness, NOW_NS) == expected


def test_manual_takes_any() -> None:
    assert oldest_ns("manual", NOW_NS) < -(AGE_S_MAX * 10**9)


@pytest.mark.parametrize(
    ("freshness", "why"),
    [
        (-1, "freshness is -1: no age is below 0 seconds"),
        (float("nan"), "no age is below 0 seconds"),
        (float("inf"), "31,622,400 seconds are the most"),
        (np.True_, "freshness is .*True.*: neither"),
        (timedelta(seconds=-1), "no age is below 0 seconds"),
        (timedelta(days=400), "31,622,400 seconds are the most"),
        (True, "freshness is True: neither seconds nor a word"),
        ("10", "freshness is '10': neither seconds nor a word"),
        (None, "freshness is None: neither"),
        ("live", "no home follows tables here"),
    ],
)
def test_what_says_no_age_is_refused(freshness: Any, why: str) -> None:
    with pytest.raises(BadParameterError, match=why) as caught:
        oldest_ns(freshness, NOW_NS)

    assert "'manual' (until plane.forget_query)" in caught.value.hint
    assert caught.value.parameter == "freshness"
