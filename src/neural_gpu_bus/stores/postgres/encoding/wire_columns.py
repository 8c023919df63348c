"""How each column of a batch goes to the wire: decided from types alone, then checked by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from neural_gpu_bus.errors import BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.arrow_values import first_true
from neural_gpu_bus.stores.postgres.encoding.wire_conversions import (
    Converter,
    converter,
    plain,
    unwrapped,
    way_as_text,
)
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import TargetColumn

#: Kinds whose values Arrow has types of its own for: text would be read into them with a loss, or
#: by rules that nobody sees.
_NEVER_FROM_TEXT = frozenset({"bool", "int2", "int4", "int8", "float4", "float8", "bytea"})


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How one column goes to the wire; made from the types alone."""

    target: TargetColumn
    convert: Converter
    #: What the column is sent as where the server's own input function is to read it: the text's
    #: type in the staging table. None where the column's binary form is written.
    sent_as: str | None = None


def plan_column(type_: pa.DataType, target: TargetColumn) -> ColumnPlan:
    """The way from this Arrow type to that column; UnsupportedTypeError where none is exact."""
    convert = converter(plain(type_), target.type)
    sent_as: str | None = None
    if convert is None and target.type.kind not in _NEVER_FROM_TEXT:
        as_text = way_as_text(type_, target.type)
        if as_text is not None:
            sent_as, convert = as_text[0].text, as_text[1]
    if convert is None:
        raise _no_way(type_, target)
    way, is_plain, not_null = convert, plain(type_) is type_, target.not_null

    def checked(source: Source) -> WireColumn:
        if not is_plain:
            source = unwrapped(source)
        if not_null:
            _refuse_null(source)
        return way(source)

    return ColumnPlan(target, checked, sent_as)


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


def _refuse_null(source: Source) -> None:
    if source.array.null_count:
        index = first_true(source.array.is_null()) or 0
        raise source.refusal(
            index,
            "cannot go into a NOT NULL column",
            "fill the value or leave the row out, or let the column take NULL "
            "(ALTER TABLE ... ALTER COLUMN ... DROP NOT NULL)",
        )


def _no_way(type_: pa.DataType, target: TargetColumn) -> UnsupportedTypeError:
    hints = {
        "numeric": "a float is no decimal: say which one it stands for by casting the values to "
        "decimal128(p, s), or let the column be double precision (ALTER TABLE ... ALTER COLUMN "
        "... TYPE float8)",
        "vector": "cast the values to lists of float32",
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
