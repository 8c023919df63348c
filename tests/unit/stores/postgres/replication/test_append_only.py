"""Whether rows of a table that should only grow were changed."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.replication.append_only import ChangeCounts

BEFORE = ChangeCounts(5, 7, "monday")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (BEFORE, ""),
        (ChangeCounts(6, 7, "monday"), "1 rows were updated and 0 deleted"),
        (ChangeCounts(5, 9, "monday"), "0 rows were updated and 2 deleted"),
        (ChangeCounts(5, 7, "tuesday"), "were set back: updates may"),
        (ChangeCounts(0, 7, "monday"), "were set back: updates may"),
        (ChangeCounts(5, 0, "monday"), "were set back: deletes may"),
    ],
)
def test_changes_since_are_told(now: ChangeCounts, said: str) -> None:
    found = now.changed_since(BEFORE)

    assert said in found
    assert bool(said) == bool(found)
