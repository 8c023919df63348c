"""Results of many datasets as one table that says which row is whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import MapFailedError
from neural_gpu_bus.memory.frames.frame import Frame

if TYPE_CHECKING:
    import pyarrow as pa

#: First column of a merged table, and the column of results that are one plain value.
DATASET = "dataset"
VALUE = "value"


def as_result(given: Any) -> pa.Table | None:
    """What a function returned, as a table.

    Columns in any form that ``put`` takes; a mapping of plain values is one row; one plain value is
    a row of a column ``value``; None is no row at all. Raises UnsupportedTypeError and
    BadParameterError for anything else.
    """
    if given is None:
        return None
    if isinstance(given, Frame):
        return given.arrow()
    if _is_plain(given):
        given = {VALUE: given}
    if isinstance(given, Mapping) and given and all(map(_is_plain, given.values())):
        given = {name: [_unwrapped(value)] for name, value in given.items()}
    return as_table(given)


def _is_plain(value: Any) -> bool:
    """Whether it is one value, no column: texts are, arrays without dimensions too."""
    columns = hasattr(value, "__arrow_c_stream__") or isinstance(value, Mapping)
    length = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    return not columns and (not length or getattr(value, "ndim", 1) == 0)


def _unwrapped(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", 1) == 0 and hasattr(value, "__len__") else value


def merge(results: Mapping[str, pa.Table | None]) -> pa.Table:
    """All rows in the order of the datasets, under a first column ``dataset`` of their names.

    Columns may come in any order, and have to have the names and types of the first's. Raises
    MapFailedError naming the dataset that differs and in what.
    """
    import numpy as np
    import pyarrow as pa

    tables = {name: table for name, table in results.items() if table is not None}
    names = list(tables)
    fitted = [_fitted(names[0], tables[names[0]], name, table) for name, table in tables.items()]
    rows = [table.num_rows for table in fitted]
    codes = np.repeat(np.arange(len(names), dtype=np.int32), rows)
    whose = pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.large_string()))
    if not fitted:
        return pa.table({DATASET: whose})
    return pa.concat_tables(fitted).unify_dictionaries().add_column(0, DATASET, whose)


def _fitted(first_name: str, first: pa.Table, name: str, table: pa.Table) -> pa.Table:
    """The table with the first one's columns, in its order."""
    if difference := _difference(first_name, first, name, table):
        raise MapFailedError(
            f"results do not fit together: {difference}",
            hint="return the same columns for each dataset, e.g. float(...) for every number",
            dataset=name,
        )
    return table.select(first.column_names).replace_schema_metadata(None)


def _difference(first_name: str, first: pa.Table, name: str, table: pa.Table) -> str:
    if DATASET in table.column_names:
        return f"that of {name!r} has a column {DATASET!r}, which is for the names of datasets"
    held, wanted = ({field.name: field.type for field in one.schema} for one in (table, first))
    for column in [*wanted, *held]:
        if column not in held or column not in wanted:
            having, lacking = (name, first_name) if column in held else (first_name, name)
            return f"that of {having!r} has a column {column!r}, that of {lacking!r} has not"
        if held[column] != wanted[column]:
            return (
                f"column {column!r} is {wanted[column]} for {first_name!r} and {held[column]} for "
                f"{name!r}"
            )
    return ""
