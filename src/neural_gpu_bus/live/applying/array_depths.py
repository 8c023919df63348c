"""How many dimensions arrays have: no type of PostgreSQL says it, values do.

A live table begins with one dimension. Where rows turn out to have more it is copied anew with as
many; rows that differ are refused, as wherever such a column is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.live.applying.needs_copy import NeedsCopyError

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn


class ArrayDepths:
    """Of one live table, through all of its versions."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._held: dict[str, int] = {}

    def schema(self, columns: Sequence[SourceColumn]) -> pa.Schema:
        """Of a series for these columns."""
        import pyarrow as pa

        fields = []
        for column in columns:
            kind: Any = column.arrow_type()
            for _ in range(self._seen.get(column.name, 1) - 1):
                kind = pa.list_(kind)
            fields.append((column.name, kind))
        return pa.schema(fields)

    def begin(self, schema: pa.Schema) -> None:
        """The series has these columns."""
        depths = {field.name: depth_of(field.type) for field in schema}
        self._held = {name: depth for name, depth in depths.items() if depth}

    def check(self, table: pa.Table, live_table: str) -> None:
        """Raises NeedsCopyError where arrays have more dimensions than the series, and
        BadValueError where they have fewer.
        """
        for name, held in self._held.items():
            if name not in table.column_names:
                continue
            depth = depth_of(table.schema.field(name).type)
            if depth != held and has_items(table[name]):
                self._differ(live_table, name, depth, held)

    def _differ(self, live_table: str, name: str, depth: int, held: int) -> None:
        what = f"arrays of column {name!r} of live table {live_table!r} have {depth} dimensions"
        if depth > held:
            self._seen[name] = depth
            raise NeedsCopyError(
                f"{what}, not {held}",
                hint="the table is copied anew",
                table=live_table,
                reason=f"arrays of {name!r} have {depth} dimensions",
            )
        self._seen.pop(name, None)
        raise BadValueError(
            f"{what}, and those of other rows {held}: they are no one column",
            hint="leave the column out: columns=[...]",
            column=name,
            row=0,
        )


def depth_of(kind: Any) -> int:
    """Lists within each other."""
    import pyarrow as pa

    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth


def has_items(column: pa.ChunkedArray[Any]) -> bool:
    """Whether a list of it has any."""
    import pyarrow.compute as pc

    return bool(pc.sum(pc.list_value_length(column)).as_py())
