"""COPY BINARY for somebody else's connection: columns in, bytes out, no server asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.encoding.new_types import postgres_type
from neural_gpu_bus.stores.postgres.encoding.type_names import named_type
from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan, plan_column
from neural_gpu_bus.stores.postgres.wire.types import TargetColumn


def encode_copy(columns: Any, types: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """The stream that ``COPY table (...) FROM STDIN (FORMAT BINARY)`` takes, in pieces of whole
    rows of about 256 KiB; the columns of the statement are those of ``columns``, in their order.

    ``columns``: a mapping of name to array, any Arrow, Polars or pandas table, a frame of this
    package, or a ``pyarrow.RecordBatchReader``, of which one batch at a time is held. ``types``:
    of columns by name, as ``CREATE TABLE`` spells them: ``{"price": "numeric(12,4)"}``; they must
    be the table's own, because COPY BINARY casts nothing. A column not named is taken to be of the
    type that ``plane.store`` would make for it: ``bigint`` for int64, ``timestamptz`` for times
    with a zone, ``double precision[]`` for lists of float64.

    Raises BadParameterError for a type or column that is not known, UnsupportedTypeError where
    values would be changed; and from the iterator BadValueError naming column and row, before the
    piece that would hold it.
    """
    batches: Any
    if isinstance(columns, pa.RecordBatchReader):
        schema, batches = columns.schema, columns
    else:
        table = as_table(columns)
        schema, batches = table.schema, table.to_batches()
    types = dict(types or {})
    unknown = [name for name in types if name not in schema.names]
    if unknown:
        raise BadParameterError(
            f"there is no column {unknown[0]!r} among {', '.join(schema.names)}",
            hint="name the columns that are there",
            parameter="types",
        )
    return encode(batches, [_plan(field, types.get(field.name)) for field in schema])


def _plan(field: pa.Field[Any], type_name: str | None) -> ColumnPlan:
    type_name = type_name or postgres_type(field)
    plan = plan_column(field.type, TargetColumn(field.name, named_type(type_name)))
    if plan.sent_as is not None:
        raise UnsupportedTypeError(
            f"column {field.name!r}: {field.type} values are no binary form of {type_name}",
            hint="cast the values first, or copy them into a text column and cast on the server",
            column=field.name,
            type=str(field.type),
        )
    return plan
