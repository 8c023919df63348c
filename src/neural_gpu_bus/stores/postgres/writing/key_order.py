"""Whether rows come in the order of their key, as far as a few of them tell.

An index and its table's pages are walked from one end to the other by rows in order, and here and
there by others: of 100,000 rows in any order, half of them there, an upsert takes the server 363
ms, and 300 when they are sorted first (CPU, int8, PostgreSQL 18, 2026-11-22). Sorting rows that are
in order takes 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pyarrow as pa

from neural_gpu_bus.stores.postgres.writing.sources import Rows

#: From anywhere among all rows: rows by time and instrument are not in the order of instrument and
#: time, though nearly each pair of neighbours is; and where each time has as many instruments,
#: places at even distances would meet the same one.
ROWS_LOOKED_AT = 64
#: The same rows are looked at the same way.
_SEED = 0
#: Of the pairs of those; half of them are in any order's order.
IN_ORDER_MIN = 0.9


def in_key_order(rows: Rows, key: Sequence[str]) -> bool:
    """True for rows in order, up or down, and where it cannot be told: a stream, or keys that
    Python does not compare. Text is compared by its characters, whatever the column's collation.
    """
    if rows.part is None or rows.rows is None or rows.rows < ROWS_LOOKED_AT:
        return True
    chosen = Random(_SEED).sample(range(rows.rows), ROWS_LOOKED_AT)  # noqa: S311
    places = sorted(chosen)
    try:
        keys = [_key(rows.part(at, 1), key) for at in places]
        upwards = sum(one <= other for one, other in pairwise(keys))
        downwards = sum(one >= other for one, other in pairwise(keys))
    except (TypeError, ValueError, OverflowError):
        return True
    return max(upwards, downwards) >= IN_ORDER_MIN * (ROWS_LOOKED_AT - 1)


def _key(row: Rows, key: Sequence[str]) -> tuple[Any, ...]:
    batch = next(row.batches())
    return tuple(_value(batch.column(name)[0]) for name in key)


def _value(scalar: Any) -> Any:
    # Moments as numbers: Python has none of nanoseconds, and pandas' would have to be loaded.
    return scalar.value if pa.types.is_temporal(scalar.type) else scalar.as_py()
