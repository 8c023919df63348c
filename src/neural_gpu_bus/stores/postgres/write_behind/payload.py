"""Columns as a record's payload, an Arrow stream, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow as pa

from neural_gpu_bus.errors import ProtocolError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.encoding.wire_conversions import converter, plain
from neural_gpu_bus.stores.postgres.wire.types import KINDS, PostgresType

#: What a column of plain values may be.
_TARGETS = tuple(PostgresType(kind, kind) for kind in (*KINDS.values(), "enum", "other"))


def encode_payload(data: pa.Table) -> memoryview:
    """The table's rows as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return memoryview(sink.getvalue())


def decode_payload(payload: bytes | bytearray | memoryview) -> pa.Table:
    """The table again, without the schema's metadata: what differs there alone goes together.

    Raises ProtocolError for bytes that are no such stream.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
            table: pa.Table = reader.read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ProtocolError(
            f"a record's columns are no Arrow stream: {error}",
            hint="this is a bug of neural-gpu-bus: please report it",
            position=0,
        ) from None
    return table.replace_schema_metadata(None)


def check_types(schema: pa.Schema) -> None:
    """UnsupportedTypeError for a column whose type no PostgreSQL column takes."""
    for field in schema:
        if not _has_target(field.type):
            raise UnsupportedTypeError(
                f"column {field.name!r}: no PostgreSQL column takes {field.type} values",
                hint="cast it to a number, a date, a time, text or binary first, or leave it out",
                column=field.name,
                type=str(field.type),
            )


@lru_cache(maxsize=1_000)  # 69 us for five columns, which is two thirds of a call without its sync
def _has_target(type_: Any) -> bool:
    type_ = plain(type_)
    if pa.types.is_nested(type_) and not pa.types.is_union(type_):
        # Whether arrays, composites and maps of these fit is for the table's own column to say.
        return all(_has_target(type_.field(n).type) for n in range(type_.num_fields))
    return any(converter(type_, target) is not None for target in _TARGETS)
