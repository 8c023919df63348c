"""Columns as people have them, as one Arrow table: what memory and stores both begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError

#: Types of Polars that Arrow lacks, and the way out; Polars itself casts no Object.
_ONLY_IN_POLARS = {
    "Int128": "cast it: columns.cast({{{0!r}: pl.Int64}})",
    "UInt128": "cast it: columns.cast({{{0!r}: pl.UInt64}})",
    "Object": "leave it out: columns.drop({0!r}), or make it a column of one type",
}


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
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
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
        return _without_nameless_index(_from_stream(columns))
    if isinstance(columns, Mapping):
        return _from_mapping(columns)
    raise BadParameterError(
        f"columns cannot be taken from a {type(columns).__name__}",
        hint="give an Arrow, pandas or Polars table, a frame of this package, or a mapping of "
        "column name to array",
        parameter="columns",
    )


def _from_stream(columns: Any) -> pa.Table:
    """What speaks Arrow's C stream; where that fails, the column is found by trying each."""
    _check_polars(columns)
    try:
        return _read(columns)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        failed = error
    if "non-struct type" in str(failed):
        raise BadParameterError(
            f"a {type(columns).__name__} is one column, and no table",
            hint="give the column a name: {'close': values}",
            parameter="columns",
        ) from None
    for name in getattr(columns, "columns", ()):
        try:
            _read(columns[[name]])
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise _of_no_one_type(str(name), columns[name], error) from None
    raise UnsupportedTypeError(
        f"Arrow cannot take these columns: {failed}",
        hint="give a mapping of column name to array, which tells the column",
        column="",
        type=type(columns).__name__,
    ) from None


def _read(columns: Any) -> pa.Table:
    return pa.RecordBatchReader.from_stream(columns).read_all()


def _check_polars(columns: Any) -> None:
    """Polars hands out pointers for objects, and a type that Arrow does not know for Int128."""
    if not type(columns).__module__.startswith("polars"):
        return
    for name, kind in getattr(columns, "schema", {}).items():
        if str(kind) in _ONLY_IN_POLARS:
            raise UnsupportedTypeError(
                f"column {name!r} is Polars's {kind}, which is no type of Arrow",
                hint=_ONLY_IN_POLARS[str(kind)].format(name),
                column=name,
                type=str(kind),
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
        raise _of_no_one_type(name, values, error) from None


def _of_no_one_type(name: str, values: Any, error: Exception) -> UnsupportedTypeError:
    held = str(getattr(values, "dtype", type(values).__name__))
    said = error.args[0] if error.args else error
    return UnsupportedTypeError(
        f"column {name!r} ({held}) is no column of one type: {said}",
        hint=_way_out(held),
        column=name,
        type=held,
    )


def _way_out(held: str) -> str:
    """Arrow counts times in s, ms, us and ns alone; numpy in years, months, hours as well."""
    if held.startswith("datetime64"):
        calendar = held.endswith(("[Y]", "[M]", "[W]"))
        return f"give it a unit that Arrow has: .astype('M8[{'D' if calendar else 's'}]')"
    if held.startswith("timedelta64"):
        return "give it a unit that Arrow has: .astype('m8[s]')"
    return "give it one type: numbers, text, dates, times, true/false, or bytes"
