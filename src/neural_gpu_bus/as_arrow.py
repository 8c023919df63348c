"""Columns as people have them, as one Arrow table: what memory and stores both begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError


def as_table(columns: Any) -> pa.Table:
    """``columns`` as an Arrow table, without a copy where Arrow can have it so.

    Takes a pyarrow Table or RecordBatch, this package's own frames, a pandas or Polars frame (all
    that speak Arrow's C stream), and a mapping of name to numpy array, Arrow array or plain
    sequence. NaN stays NaN, except where pandas itself means NULL by it; NaT becomes NULL. A pandas
    index with a name becomes a column, one without is left out.

    Raises BadParameterError for columns of different lengths, twice the same name, no columns;
    UnsupportedTypeError for values that Arrow has no column type for.
    """
    table = _table(columns)
    if not table.num_columns:
        raise BadParameterError("there are no columns", hint="give one", parameter="columns")
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadParameterError(
            f"two columns are named {twice!r}", hint="rename one of them", parameter=twice
        )
    return table


def _table(columns: Any) -> pa.Table:
    if isinstance(columns, pa.Table):
        return columns
    if isinstance(columns, pa.RecordBatch):
        return pa.Table.from_batches([columns])
    if hasattr(columns, "__arrow_c_stream__"):
        return _without_nameless_index(pa.RecordBatchReader.from_stream(columns).read_all())
    if isinstance(columns, Mapping):
        return _from_mapping(columns)
    raise BadParameterError(
        f"columns cannot be taken from a {type(columns).__name__}",
        hint="give an Arrow, pandas or Polars table, a frame of this package, or a mapping of "
        "column name to array",
        parameter="columns",
    )


def _without_nameless_index(table: pa.Table) -> pa.Table:
    """pandas names the columns of a nameless index so (pandas metadata of Arrow)."""
    nameless = [name for name in table.column_names if name.startswith("__index_level_")]
    return table.drop_columns(nameless) if nameless else table


def _from_mapping(columns: Mapping[str, Any]) -> pa.Table:
    arrays = {str(name): _array(str(name), values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise BadParameterError(
            f"columns have different lengths ({said})",
            hint="give every column one value a row",
            parameter="columns",
        )
    try:
        return pa.table(arrays)
    except UnicodeEncodeError as error:
        raise BadParameterError(
            f"column name {error.object!r} is no text: {error.reason}",
            hint="rename the column",
            parameter="columns",
        ) from None


def _array(name: str, values: Any) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise BadParameterError(
                f"column {name!r} has {values.ndim} dimensions",
                hint="give each column as a one-dimensional array",
                parameter=name,
            )
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        held = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise UnsupportedTypeError(
            f"column {name!r} ({held}) is no column of one type: {error}",
            hint="give it one type: numbers, text, dates, times, true/false, or bytes",
            column=name,
            type=str(held),
        ) from None
