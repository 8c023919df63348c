"""Whether a table can be live as it was declared: how its rows are found, or why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError, ColumnNotFoundError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.replication.table_shapes import FULL

if TYPE_CHECKING:
    from neural_gpu_bus.live.definitions import LiveDefinition
    from neural_gpu_bus.stores.postgres.replication.table_shapes import ColumnShape, TableShape


@dataclass(frozen=True, slots=True)
class Identity:
    """How rows that go are found. ``names``: columns that tell rows apart; none: no row ever goes.

    ``whole``: old rows come whole, and equal ones may be there several times. ``by_index``: the
    identity alone does not say partition and order value.
    """

    names: tuple[str, ...]
    whole: bool
    by_index: bool


def identity_of(table: TableShape, definition: LiveDefinition) -> Identity:
    """Raises ColumnNotFoundError, BadParameterError."""
    names = column_names(table, definition)
    wanted = [*definition.key, *([] if definition.order_by is None else [definition.order_by])]
    for name in wanted:
        _check_there(definition, name, names)
    if definition.append_only:
        return Identity((), whole=False, by_index=False)
    if table.identity == FULL:
        return Identity(tuple(names), whole=True, by_index=False)
    missing = [name for name in table.identity_columns if name not in names]
    if missing:
        raise BadParameterError(
            f"columns of live table {definition.table!r} leave out {missing[0]!r}, by which "
            "PostgreSQL tells its rows apart",
            hint=f"name {missing[0]!r} among columns, or say append_only=True if rows never change",
            parameter="columns",
        )
    if not table.identity_columns:
        raise BadParameterError(
            f"table {definition.table!r} has no replica identity: its changes name no row",
            hint="give it a primary key, or say append_only=True if rows are only ever added",
            parameter="table",
        )
    by_index = not set(wanted) <= set(table.identity_columns)
    return Identity(table.identity_columns, whole=False, by_index=by_index)


def column_names(table: TableShape, definition: LiveDefinition) -> list[str]:
    """Of the series, in the order of the table. Raises ColumnNotFoundError, UnsupportedTypeError
    for a key whose equal values differ in their bytes.
    """
    for column in table.columns:
        if column.name in definition.key and column.equal_by:
            raise _splits_equal_values(definition, column)
    if definition.columns is None:
        return [column.name for column in table.chosen(None)]
    there = [column.name for column in table.columns]
    for name in definition.columns:
        _check_there(definition, name, there)
    return [name for name in there if name in definition.columns]


def remarks(table: TableShape, definition: LiveDefinition) -> list[str]:
    """What may stop the live table one day: said when it is set up."""
    wanted = [*definition.key, *([] if definition.order_by is None else [definition.order_by])]
    return [
        f"column {column.name!r} of {definition.table!r} may be NULL: a row with NULL there stops "
        f"the live table. Make it NOT NULL, or leave such rows out: where={column.name} IS NOT NULL"
        for column in table.columns
        if column.name in wanted and not column.not_null
    ]


def _splits_equal_values(definition: LiveDefinition, column: ColumnShape) -> UnsupportedTypeError:
    return UnsupportedTypeError(
        f"column {column.name!r} ({column.type_name}) of live table {definition.table!r} cannot be "
        f"part of a key: by {column.equal_by}, values are equal in SQL whose bytes differ, and "
        "each would have a partition of its own",
        hint="split by whole numbers, text of a deterministic collation, true/false or days",
        column=column.name,
        type=column.type_name,
    )


def _check_there(definition: LiveDefinition, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise ColumnNotFoundError(
            f"live table {definition.table!r} has no column {name!r}",
            hint=did_you_mean(name, names, f"it has {list(names)}"),
            column=name,
        )
