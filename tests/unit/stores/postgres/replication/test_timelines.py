"""Where one timeline of a server left another."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.replication.timelines import left_at

HISTORY = "1\t0/3000148\tno recovery target specified\n\n2\t1/AB000000\tbefore 2026-11-01\n"


@pytest.mark.parametrize(
    ("timeline", "lsn"), [(1, 0x3000148), (2, 0x1AB000000), (3, None), (21, None)]
)
def test_a_timeline_was_left_where_its_line_says(timeline: int, lsn: int | None) -> None:
    assert left_at(HISTORY, timeline) == lsn


@pytest.mark.parametrize("history", ["", "1", "1 no position", "# 1 0/1"])
def test_what_is_no_history_says_nothing(history: str) -> None:
    assert left_at(history, 1) is None
