"""Columns that a library cannot take, told by name: on their own DuckDB says "e" of a halffloat,
and Polars panics with a backtrace. Found by trying each Arrow type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_tree import storage_type

if TYPE_CHECKING:
    import pyarrow as pa

_Made = TypeVar("_Made")
#: Types that each library cannot take, alone or within another, as the reference page names them.
REFUSED: dict[str, tuple[str, ...]] = {
    "duckdb": ("halffloat", "decimal256"),
    "polars": ("decimal256", "month_day_nano_interval"),
}
#: What to cast them to.
_INSTEAD = {
    "halffloat": "float32",
    "decimal256": "decimal128 or float64",
    "month_day_nano_interval": "duration",
}


def check_types(schema: pa.Schema, library: str) -> None:
    """UnsupportedTypeError for the first column that ``library`` cannot take."""
    for field in schema:
        for part in _parts(field.type):
            if part in REFUSED[library]:
                within = f" has {part} in it, which" if part != field.type else ""
                raise _error(
                    field, library, f"{within} {library} cannot take", f"to {_INSTEAD[part]}"
                )


def converted(
    table: pa.Table,
    library: str,
    convert: Callable[[pa.Table], _Made],
    errors: tuple[type[Exception], ...],
) -> _Made:
    """``convert(table)``; where it raises one of ``errors``, the column that it raises for alone.

    Some columns are refused for their values: pandas has no times with nanoseconds.
    """
    try:
        return convert(table)
    except errors as error:
        failed = error
    for field in table.schema:
        try:
            convert(table.select([field.name]))
        except errors as error:
            said = str(error).strip().partition("\n")[0]
            raise _error(field, library, f" cannot go to {library}: {said}") from None
    raise failed


def _parts(kind: Any) -> list[str]:
    """A type and all within it, by the names of ``REFUSED``."""
    import pyarrow as pa

    kind = storage_type(kind)
    if pa.types.is_dictionary(kind):
        return _parts(kind.value_type)
    name = str(kind).partition("(")[0]
    within = [_parts(kind.field(place).type) for place in range(kind.num_fields)]
    return [name, *(part for parts in within for part in parts)]


def _error(
    field: Any, library: str, what: str, to: str = "to another type"
) -> UnsupportedTypeError:
    keeps = "frame.pandas(arrow=True) keeps it; or " if library == "pandas" else ""
    return UnsupportedTypeError(
        f"column {field.name!r} ({field.type}){what}",
        hint=f"{keeps}leave it out: frame.select(...).{library}(), or cast it {to} before the put",
        column=field.name,
        type=str(field.type),
    )
