"""Several records of one table as one set of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.write_behind.record_format import RecordMetadata


def goes_with(first: RecordMetadata, other: RecordMetadata) -> bool:
    """Whether two records can be written at once, as far as their metadata tells."""
    return (first.table, first.mode, first.key) == (other.table, other.mode, other.key)


def last_of_each_key(tables: Sequence[pa.Table], key: Sequence[str]) -> pa.Table:
    """All rows, without those that a later table writes over: what upserts one after another
    would leave.

    A key that stands twice in one table stays: that is the caller's mistake, and the server says
    so. Rows with a NULL in the key stay, they are equal to none. Keys that only the server takes
    for equal (``citext``, 0.0 and -0.0) stay too, and are refused together; then one table goes at
    a time.
    """
    whole = pa.concat_tables(tables)
    if len(tables) < 2 or not key:
        return whole
    try:
        groups, has_null = _key_groups(whole, key)
    except (pa.ArrowException, TypeError, ValueError):
        return whole  # keys that Arrow cannot compare: the server does
    table_of_row = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])
    keyed, keyed_table = groups[~has_null], table_of_row[~has_null]
    newest = np.zeros(int(groups.max(initial=-1)) + 1, np.int64)
    np.maximum.at(newest, keyed, keyed_table)
    stays = (newest[groups] == table_of_row) | has_null
    if _stand_twice(keyed, keyed_table) or stays.all():
        return whole
    return whole.take(np.flatnonzero(stays))


def _key_groups(
    whole: pa.Table, key: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """A number for each row that equal keys share, and where a key has a NULL."""
    groups = np.zeros(whole.num_rows, np.int64)
    has_null = np.zeros(whole.num_rows, np.bool_)
    for name in key:
        column = _one_array(whole.column(name))
        has_null |= booleans(column.is_null())
        codes = _codes(column)
        _, groups = np.unique(groups * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
    return groups.astype(np.int64), has_null


def _one_array(column: Any) -> Any:
    """The chunks of a dictionary column may have dictionaries of their own."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pa.concat_arrays(column.chunks) if column.num_chunks else column.combine_chunks()


def _codes(column: Any) -> npt.NDArray[np.int64]:
    indices = column.dictionary_encode().indices.fill_null(0).cast(pa.int64())
    values = np.frombuffer(indices.buffers()[1] or b"", np.int64)
    return values[indices.offset : indices.offset + len(indices)]


def _stand_twice(groups: npt.NDArray[np.int64], table_of_row: npt.NDArray[np.int64]) -> bool:
    """Whether one table has one key twice."""
    pairs = groups * (int(table_of_row.max(initial=0)) + 1) + table_of_row
    return len(np.unique(pairs)) < len(pairs)
