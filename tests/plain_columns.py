"""Columns without shared memory: ``ports.Columns`` over plain sequences, for tests of pure code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor


class PlainColumns:
    """Named columns of one length, read-only; None in a list is NULL."""

    def __init__(self, **columns: Any) -> None:
        self._table = pa.table({name: _arrow(values) for name, values in columns.items()})
        self._arrays = {name: _numpy(self._table[name]) for name in columns}

    @property
    def descriptor(self) -> BlockDescriptor:
        columns = tuple(
            ColumnDescriptor(field.name, str(field.type), self._table[field.name].null_count)
            for field in self._table.schema
        )
        return BlockDescriptor("", 0, "", "", self.rows, self._table.nbytes, columns, 0, "")

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def keys(self) -> Sequence[str]:
        return list(self._table.column_names)

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def values(self, name: str) -> Any:
        column = self._table[name]
        return _numpy(column.fill_null(0) if pa.types.is_integer(column.type) else column)

    def valid(self, name: str) -> Any:
        column = self._table[name]
        return column.is_valid().to_numpy() if column.null_count else None

    def codes(self, name: str) -> tuple[Any, list[str]]:
        encoded = self._table[name].combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return codes, encoded.dictionary.to_pylist()

    def arrow(self) -> pa.Table:
        return self._table


def _arrow(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values, from_pandas=False)
    return values if isinstance(values, pa.Array) else pa.array(list(values))


def _numpy(column: pa.ChunkedArray[Any]) -> Any:
    array = column.combine_chunks()
    values = array.to_numpy(zero_copy_only=False)
    values.flags.writeable = False
    return values
