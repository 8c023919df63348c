"""How each column of a batch goes to the wire: decided from types alone, then checked by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from neural_gpu_bus.errors import BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.arrow_values import first_true
from neural_gpu_bus.stores.postgres.encoding.wire_conversions import Converter, converter
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import TargetColumn


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How one column goes to the wire; made from the types alone."""

    target: TargetColumn
    convert: Converter


def plan_column(type_: pa.DataType, target: TargetColumn) -> ColumnPlan:
    """The way from this Arrow type to that column; UnsupportedTypeError where none is exact."""
    if isinstance(type_, pa.BaseExtensionType):
        inner = plan_column(type_.storage_type, target)
        return ColumnPlan(target, lambda source: inner.convert(source.of(source.array.storage)))
    if pa.types.is_dictionary(type_):
        inner = plan_column(type_.value_type, target)
        return ColumnPlan(
            target, lambda source: inner.convert(source.of(source.array.dictionary_decode()))
        )
    convert = converter(type_, target.type)
    if convert is None:
        raise _no_way(type_, target)
    return ColumnPlan(target, lambda source: convert(_without_forbidden_null(source)))


def wire_columns(
    batch: pa.RecordBatch, plans: Sequence[ColumnPlan], first_row: int
) -> list[WireColumn]:
    """All columns of a batch, or BadValueError for its first bad row (then first column)."""
    columns: list[WireColumn] = []
    first_refusal: BadValueError | None = None
    for array, plan in zip(batch.columns, plans, strict=True):
        source = Source(array, plan.target, first_row)
        try:
            columns.append(plan.convert(source))
        except BadValueError as refusal:
            if first_refusal is None or refusal.row < first_refusal.row:
                first_refusal = refusal
    if first_refusal is not None:
        raise first_refusal
    return columns


def _without_forbidden_null(source: Source) -> Source:
    if source.target.not_null and source.array.null_count:
        index = first_true(source.array.is_null()) or 0
        raise source.refusal(
            index,
            "cannot go into a NOT NULL column",
            "fill the value or leave the row out, or let the column take NULL "
            "(ALTER TABLE ... ALTER COLUMN ... DROP NOT NULL)",
        )
    return source


def _no_way(type_: pa.DataType, target: TargetColumn) -> UnsupportedTypeError:
    hints = {
        "numeric": "let the column be double precision (ALTER TABLE ... ALTER COLUMN ... TYPE "
        "float8), or go through a float8 column and cast on the server",
        "timestamp": "let the column be timestamptz, or drop the time zone of the values first",
        "float4": "cast the values to float32 first, or let the column be double precision",
    }
    return UnsupportedTypeError(
        f"column {target.name!r}: {type_} values cannot go into a {target.type.text} column "
        "without being changed",
        hint=hints.get(target.type.kind, f"cast the values to what {target.type.text} holds"),
        column=target.name,
        type=str(type_),
    )
