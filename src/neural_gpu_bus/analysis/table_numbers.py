"""What a table's columns of numeric count as in an aggregate: decimals, or float64 where asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadParameterError, BadValueError, ColumnNotFoundError
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions, decimal_digits

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.aggregates import Request
    from neural_gpu_bus.aggregates.statement import ServerColumn
    from neural_gpu_bus.stores.postgres import Snapshot

#: What gives a value of the column itself, or a sum of them.
_OWN_VALUES = frozenset({"sum", "min", "max", "first", "last", "quantile_disc"})
#: Digits that decimals are folded with here.
_FOLDED_DIGITS_MAX = 18
_DIGITS_MAX = {128: 38, 256: 76}

Numeric = str | Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class TableRead:
    """How a table is read for an aggregate."""

    options: ReadOptions
    #: Of one statement; None for that of its class.
    timeout_s: float | None = None
    snapshot: Snapshot | str | None = None


def number_options(numeric: Numeric) -> ReadOptions:
    """The choice, checked. Raises BadParameterError, for text too: it is no number."""
    options = ReadOptions(numeric=numeric, texts="auto")
    chosen = [numeric] if isinstance(numeric, str) else [*numeric.values()]
    if "text" in chosen:
        raise BadParameterError(
            f"numeric is {numeric!r}: texts are not summed",
            hint="give exact, float64 or decimal128(p, s)",
            parameter="numeric",
        )
    return options


def with_choice(
    columns: Mapping[str, ServerColumn], options: ReadOptions, source: str
) -> dict[str, ServerColumn]:
    """Columns as they count; those of float64 are cast by the server.

    Raises ColumnNotFoundError for a choice for a column that is not there.
    """
    if not isinstance(options.numeric, str):
        unknown = next((name for name in options.numeric if name not in columns), None)
        if unknown is not None:
            raise ColumnNotFoundError(
                f"numeric names {unknown!r}, which is no column of {source}",
                hint=f"it has {[*columns]}",
                column=unknown,
            )
    return {name: _chosen(column, options.numeric_of(name)) for name, column in columns.items()}


def _chosen(column: ServerColumn, choice: str) -> ServerColumn:
    if column.family != "decimal" or choice == "exact":
        return column
    if choice == "float64":
        return dataclasses.replace(column, type="float8", modifier=-1, cast="float8")
    return dataclasses.replace(column, modifier=-1)


def too_wide_here(columns: Mapping[str, ServerColumn], request: Request) -> str | None:
    """A column whose digits may be more than are folded here; None where there is none."""
    wide = (
        name
        for name in request.of_all_rows.columns
        if columns[name].family == "decimal" and columns[name].digits_max > _FOLDED_DIGITS_MAX
    )
    return next(wide, None)


def as_numbers(
    table: pa.Table, columns: Mapping[str, ServerColumn], options: ReadOptions
) -> pa.Table:
    """Rows read: columns of numeric that came as text as decimals. Raises BadValueError."""
    for name in table.column_names:
        if columns[name].family == "decimal":
            table = _replaced(table, name, options.numeric_of(name), name)
    return table


def answer_as_numbers(
    table: pa.Table, columns: Mapping[str, ServerColumn], request: Request, options: ReadOptions
) -> pa.Table:
    """The same of an answer; sums have all the digits that there are."""
    for name in request.by:
        if columns[name].family == "decimal":
            table = _replaced(table, name, options.numeric_of(name), name)
    for one in request.operations:
        if one.function in _OWN_VALUES and columns[one.columns[0]].family == "decimal":
            choice = options.numeric_of(one.columns[0])
            table = _replaced(
                table, one.result_name, choice, one.columns[0], widened=one.function == "sum"
            )
    return table


def _replaced(
    table: pa.Table, name: str, choice: str, column: str, *, widened: bool = False
) -> pa.Table:
    import pyarrow as pa

    array: Any = table.column(name)
    if _is_number(array.type):
        return table
    texts = array.cast(pa.large_string())
    for kind in _kinds(texts, choice, widened=widened):
        try:
            return table.set_column(table.column_names.index(name), name, texts.cast(kind))
        except pa.ArrowInvalid:
            continue
    raise BadValueError(
        f"column {column!r} has a number that no decimal holds ({choice}): NaN, infinite, or too "
        "many digits",
        hint='take it as floats: numeric="float64"',
        column=column,
        row=0,
    )


def _is_number(kind: Any) -> bool:
    """Whether Arrow has it as a number already."""
    import pyarrow as pa

    return pa.types.is_decimal(kind) or pa.types.is_floating(kind)


def _kinds(texts: Any, choice: str, *, widened: bool) -> list[Any]:
    """Types to try. Of ``exact``: with as many digits behind the point as the longest has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def decimal(bits: int, precision: int, scale: int) -> Any:
        make = pa.decimal128 if bits == 128 else pa.decimal256
        return make(precision, scale)

    if choice != "exact":
        bits, precision, scale = decimal_digits(choice)
        return [decimal(bits, _DIGITS_MAX[bits] if widened else precision, scale)]
    compute: Any = pc
    point = compute.find_substring(texts, ".")
    behind = compute.subtract(compute.subtract(compute.binary_length(texts), point), 1)
    scale = compute.max(compute.if_else(compute.less(point, 0), 0, behind)).as_py() or 0
    return [decimal(bits, most, scale) for bits, most in _DIGITS_MAX.items() if scale <= most]
