"""One question answered over columns in memory: arrays in, an Arrow table out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.aggregates.columns import ArrowArray, columns_of, family_of
from neural_gpu_bus.aggregates.group_values import GroupValues
from neural_gpu_bus.aggregates.groups import Numbers, group_rows
from neural_gpu_bus.aggregates.request import Request, check_types
from neural_gpu_bus.machine_cores import usable_cores

if TYPE_CHECKING:
    from neural_gpu_bus.aggregates.operations import Aggregate

#: Rows that numbers of 32 bits, and sums of integers in two halves, are good for.
ROWS_MAX = 2**31 - 1


def aggregate_table(
    table: pa.Table, request: Request, *, threads: int | None = None, source: str = "the columns"
) -> pa.Table:
    """A row a group, sorted by its keys (NaN above all others, NULL last); one row without keys.

    ``threads``: by default one a core; they change no digit. Raises ColumnNotFoundError,
    UnsupportedTypeError, BadParameterError, and BadValueError for a sum that does not fit.
    """
    families = {field.name: family_of(field.type) for field in table.schema}
    check_types(request, families, source)
    if table.num_rows > ROWS_MAX:
        raise ValueError(f"{table.num_rows:,} rows are more than {ROWS_MAX:,}")
    threads = threads if threads is not None else usable_cores()
    columns = columns_of(table, request.columns)
    numbers = Numbers(threads)
    groups = group_rows(request, columns, table.num_rows, numbers)
    values = GroupValues(groups, columns, numbers, threads)
    values.fold_together(request.operations)
    results = {one.result_name: _RESULTS[one.function](values, one) for one in request.operations}
    if not request.keys:
        return pa.table(results)
    there = np.flatnonzero(values.rows)
    order = _order({name: array.take(pa.array(there)) for name, array in groups.keys.items()})
    # One take of all columns: one for each took 0.4 of 0.9 ms that 25 columns of 50 groups need.
    rows: Any = pa.array(there).take(order)
    return pa.table({**groups.keys, **results}).take(rows)


def _order(keys: Mapping[str, ArrowArray]) -> Any:
    """Positional names: a key's own may be any text. NULL goes last, as Arrow does by itself."""
    named = pa.table({f"k{place}": array for place, array in enumerate(keys.values())})
    sorting: Any = [(name, "ascending") for name in named.column_names]
    return pc.sort_indices(named, sort_keys=sorting)


_RESULTS: Mapping[str, Callable[[GroupValues, Aggregate], ArrowArray]] = {
    "count": GroupValues.count,
    "sum": GroupValues.sum,
    "mean": GroupValues.mean,
    "var": GroupValues.spread,
    "std": GroupValues.spread,
    "var_pop": GroupValues.spread,
    "std_pop": GroupValues.spread,
    "min": GroupValues.extreme,
    "max": GroupValues.extreme,
    "first": GroupValues.end,
    "last": GroupValues.end,
    "median": GroupValues.quantile,
    "quantile": GroupValues.quantile,
    "quantile_disc": GroupValues.quantile,
    "corr": GroupValues.correlation,
    "weighted_mean": GroupValues.weighted_mean,
}
