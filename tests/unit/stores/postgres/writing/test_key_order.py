"""Whether rows come in the order of their key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.stores.postgres.writing.key_order import ROWS_LOOKED_AT, in_key_order
from neural_gpu_bus.stores.postgres.writing.sources import rows_of

ROWS = 6_400
RISING = np.arange(ROWS)
SHUFFLED = np.random.default_rng(1).permutation(ROWS)
#: Beyond what Python's own moments hold.
MOMENTS = pa.array(RISING * 10**14).cast(pa.timestamp("ns", "UTC"))


@pytest.mark.parametrize(
    ("key", "in_order"),
    [
        ({"k": RISING}, True),
        ({"k": RISING[::-1].copy()}, True),
        ({"k": SHUFFLED}, False),
        ({"k": [f"{number:06}" for number in RISING]}, True),
        ({"k": [f"{number:06}" for number in SHUFFLED]}, False),
        ({"k": MOMENTS}, True),
        ({"k": MOMENTS.take(pa.array(SHUFFLED))}, False),
        ({"name": RISING // 100, "k": RISING % 100}, True),
        ({"name": RISING % 100, "k": RISING // 100}, False),
        ({"k": [None if number % 3 else number for number in range(ROWS)]}, True),
    ],
    ids=[
        "numbers",
        "downwards",
        "shuffled",
        "texts",
        "texts shuffled",
        "moments",
        "moments shuffled",
        "two columns",
        "by the second of two columns",
        "NULLs, which are refused later",
    ],
)
def test_a_few_rows_tell(key: dict[str, Any], in_order: bool) -> None:
    rows = rows_of(pa.table(key | {"value": RISING.astype(float)}))

    assert in_key_order(rows, list(key)) is in_order


def test_several_batches_are_looked_at_as_one() -> None:
    table = pa.table({"k": SHUFFLED})
    parts = pa.concat_tables([table.slice(0, 100), table.slice(100)])

    assert not in_key_order(rows_of(parts), ["k"])


def test_streams_and_few_rows_are_taken_as_they_come() -> None:
    table = pa.table({"k": SHUFFLED})

    assert in_key_order(rows_of(iter(table.to_batches())), ["k"])
    assert in_key_order(rows_of(table.slice(0, ROWS_LOOKED_AT - 1)), ["k"])
