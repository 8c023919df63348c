"""Where each buffer of a block lies, and the Arrow IPC file metadata that says so. Pure.

A block is an Arrow IPC *file* with one record batch, so that any Arrow reader opens it by path.
Arrow's own writer packs buffers at multiples of 64 bytes and wants the data first; here every
buffer starts on a page, and the data is written later, in place. So pyarrow serialises a batch of
one row, and the fixed-size structs in its flatbuffers (length, FieldNode, Buffer, bodyLength,
Block) are overwritten. Format: arrow.apache.org/docs/format/Columnar.html, section
"IPC File Format"; tables in format/Message.fbs and format/File.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from neural_gpu_bus.errors import BadParameterError, ProtocolError, UnsupportedTypeError
from neural_gpu_bus.memory.column_types import column_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Apple's page size: Metal adopts memory without a copy only from such a boundary. Also a multiple
#: of every cache line and of the 4 KiB pages of x86.
ALIGNMENT_BYTES = 16_384

#: Key of the block's uuid in the schema metadata.
UUID_KEY = b"neural_gpu_bus.block"

#: Schemas whose template is kept: the same few are published again and again.
TEMPLATES_KEPT_MAX = 64

#: What stands for the uuid in a template, as long as one; random, so that no schema holds it.
_UUID_PLACE = uuid4().hex.encode()

_MAGIC = b"ARROW1"
_CONTINUATION = b"\xff\xff\xff\xff"
_END_OF_STREAM = _CONTINUATION + bytes(4)
#: int32 footer length and magic, at the very end.
_TRAILER_BYTES = 4 + len(_MAGIC)

# Field numbers of the flatbuffer tables.
_FOOTER_RECORD_BATCHES = 3
_MESSAGE_HEADER, _MESSAGE_BODY_LENGTH = 2, 3
_BATCH_LENGTH, _BATCH_NODES, _BATCH_BUFFERS = 0, 1, 2

_BLOCK = struct.Struct("<qi4xq")
_PAIR = struct.Struct("<qq")

#: A packed column: its NULLs, then offset and bytes of validity, values and data.
_PACKED = struct.Struct("<7q")


# Named tuples: attaching makes three a column, and they are three times as quick to make as frozen
# dataclasses (ten columns: 20 us of 60).


class Span(NamedTuple):
    """Bytes of one buffer in the file; an absent buffer has no bytes."""

    offset: int
    nbytes: int


class ColumnSpans(NamedTuple):
    """Where the buffers of one column lie."""

    name: str
    #: Arrow's spelling.
    type: str
    nulls: int
    #: Bitmap, 1 = not NULL; empty without NULLs.
    validity: Span
    #: Values, or rows + 1 offsets of a text column.
    values: Span
    #: Bytes of a text column; empty for all others.
    data: Span


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Everything about a block's file but the values."""

    rows: int
    #: Size of the whole file.
    nbytes: int
    #: Bytes at the start of the file, up to the first buffer.
    head: bytes
    #: Bytes at the end of the file, behind the last buffer.
    tail: bytes
    columns: tuple[ColumnSpans, ...]
    #: Where in the file the block's uuid stands, in the schema's metadata.
    uuid_at: int


def plan_block(
    schema: pa.Schema,
    rows: int,
    *,
    uuid: str,
    text_bytes: Mapping[str, int],
    null_counts: Mapping[str, int],
) -> BlockLayout:
    """Lay out a block; ``text_bytes`` and ``null_counts`` as in ``ports.Reserve``.

    Raises UnsupportedTypeError and BadParameterError with the column's name.
    """
    _check(schema, rows, text_bytes, null_counts)
    template = _template(schema.serialize().to_pybytes())
    uuid_at = template.index(_UUID_PLACE)
    template = template.replace(_UUID_PLACE, uuid.encode())
    message_at, block_at, footer_at = _locate(template)
    message = bytearray(template[message_at:footer_at])
    metadata_bytes = 8 + struct.unpack_from("<i", message, 4)[0]
    body_at = _aligned(message_at + metadata_bytes)
    del message[metadata_bytes:]
    struct.pack_into("<i", message, 4, body_at - message_at - 8)
    spans, end = _place(schema, rows, body_at, text_bytes, null_counts)
    _patch(message, rows, spans, body_at, end)
    head = (template[:message_at] + bytes(message)).ljust(body_at, b"\0")
    footer = bytearray(template[footer_at:])
    _BLOCK.pack_into(footer, block_at - footer_at, message_at, body_at - message_at, end - body_at)
    tail = _END_OF_STREAM + bytes(footer)
    return BlockLayout(rows, end + len(tail), head, tail, spans, uuid_at)


def pack_spans(columns: Sequence[ColumnSpans]) -> bytes:
    """Positions of all columns for a descriptor, so that attaching need not look for them."""
    return b"".join(
        _PACKED.pack(column.nulls, *column.validity, *column.values, *column.data)
        for column in columns
    )


def unpack_spans(
    spans: bytes, names_and_types: Sequence[tuple[str, str]]
) -> tuple[ColumnSpans, ...]:
    """The columns that were packed; struct.error where they are not that many."""
    return tuple(
        column_spans(spans, place, name, kind) for place, (name, kind) in enumerate(names_and_types)
    )


def column_spans(spans: bytes, place: int, name: str, kind: str) -> ColumnSpans:
    """One of the columns that were packed, counted from 0; struct.error where there is none."""
    nulls, validity, validity_bytes, values, values_bytes, data, data_bytes = _PACKED.unpack_from(
        spans, place * _PACKED.size
    )
    return ColumnSpans(
        name,
        kind,
        nulls,
        Span(validity, validity_bytes),
        Span(values, values_bytes),
        Span(data, data_bytes),
    )


def read_spans(block: Any, names_and_types: Sequence[tuple[str, str]]) -> tuple[ColumnSpans, ...]:
    """Where the buffers of a finished block lie; ``block`` is anything with the buffer protocol.

    Raises ProtocolError where the file is no block of these columns.
    """
    data = memoryview(block).cast("B")
    try:
        return _read_spans(data, names_and_types)
    except (struct.error, IndexError, ValueError) as error:
        raise ProtocolError(
            f"a file of {len(data)} bytes is no block of {len(names_and_types)} columns: {error}",
            hint="remove the file; only sealed blocks belong into the memory folder",
            position=0,
        ) from None


def _check(
    schema: pa.Schema, rows: int, text_bytes: Mapping[str, int], null_counts: Mapping[str, int]
) -> None:
    names = list(schema.names)
    if not names or len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BadParameterError(
            f"a block needs columns of different names, got {names or 'none'}",
            hint=f"rename {twice}" if twice else "give at least one column",
            parameter="schema",
        )
    given = {"text_bytes": text_bytes, "null_counts": null_counts}
    for parameter, counts in given.items():
        for column, count in counts.items():
            most = rows if parameter == "null_counts" else count
            if column not in names or not 0 <= count <= most:
                raise BadParameterError(
                    f"{parameter} says {count} for column {column!r} of {rows} rows",
                    hint=f"columns are {names}; counts run from 0",
                    parameter=parameter,
                )
    if rows < 0:
        raise BadParameterError(f"rows is {rows}", hint="give 0 or more", parameter="rows")


@lru_cache(TEMPLATES_KEPT_MAX)
def _template(serialised: bytes) -> bytes:
    """Arrow's own file of one row of NULLs in that schema, with a place for the block's uuid."""
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(serialised))
    for field in schema:
        kind = column_type(str(field.type), field.name)
        if kind.form not in ("fixed", "bits", "text") or kind.offsets == "<i4":
            raise UnsupportedTypeError(
                f"column {field.name!r} has type {field.type}, which a block cannot hold yet",
                hint="cast it",
                column=field.name,
                type=str(field.type),
            )
    marked = pa.schema([field.with_nullable(True) for field in schema]).with_metadata(
        {**(schema.metadata or {}), UUID_KEY: _UUID_PLACE}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, marked) as writer:
        row = [pa.nulls(1, field.type) for field in marked]
        writer.write_batch(pa.record_batch(row, schema=marked))
    return bytes(sink.getvalue().to_pybytes())


def _place(
    schema: pa.Schema,
    rows: int,
    at: int,
    text_bytes: Mapping[str, int],
    null_counts: Mapping[str, int],
) -> tuple[tuple[ColumnSpans, ...], int]:
    """Buffers one after the other from ``at``, each on its boundary; also the end of the last."""
    placed = []
    for field in schema:
        nulls = null_counts.get(field.name, 0)
        spans = []
        for nbytes in _buffer_bytes(field, rows, nulls, text_bytes.get(field.name, 0)):
            spans.append(Span(at, nbytes))
            at = _aligned(at + nbytes)
        placed.append(ColumnSpans(field.name, str(field.type), nulls, *_three(spans)))
    return tuple(placed), at


def _three(spans: list[Span]) -> tuple[Span, Span, Span]:
    """Validity, values, and data, which only text columns have."""
    validity, values, *rest = spans
    return validity, values, rest[0] if rest else Span(0, 0)


def _buffer_bytes(field: pa.Field[Any], rows: int, nulls: int, text: int) -> tuple[int, ...]:
    """Bytes of validity, of values (or offsets) and, for text, of data."""
    kind = column_type(str(field.type), field.name)
    bitmap = (rows + 7) // 8
    validity = bitmap if nulls else 0
    if kind.form == "text":
        return validity, (rows + 1) * 8, text
    return validity, bitmap if kind.form == "bits" else rows * kind.item_bytes


def _patch(
    message: bytearray, rows: int, columns: tuple[ColumnSpans, ...], body_at: int, end: int
) -> None:
    """Make the one-row batch's message say what this block holds, and where.

    Its length grows up to the first buffer: zeros behind a flatbuffer mean nothing.
    """
    root = _root(message, 8)
    batch = _table(message, root, _MESSAGE_HEADER)
    struct.pack_into("<q", message, _field(message, root, _MESSAGE_BODY_LENGTH), end - body_at)
    struct.pack_into("<q", message, _field(message, batch, _BATCH_LENGTH), rows)
    nodes, _ = _vector(message, batch, _BATCH_NODES)
    buffers, _ = _vector(message, batch, _BATCH_BUFFERS)
    for index, column in enumerate(columns):
        _PAIR.pack_into(message, nodes + index * _PAIR.size, rows, column.nulls)
    for index, span in enumerate(_spans_in_file(columns)):
        _PAIR.pack_into(message, buffers + index * _PAIR.size, span.offset - body_at, span.nbytes)


def _spans_in_file(columns: tuple[ColumnSpans, ...]) -> list[Span]:
    """The buffers Arrow expects, in its order: only text columns have three."""
    listed: list[Span] = []
    for column in columns:
        text = column_type(column.type, column.name).form == "text"
        listed += [column.validity, column.values] + ([column.data] if text else [])
    return listed


def _read_spans(
    data: memoryview, names_and_types: Sequence[tuple[str, str]]
) -> tuple[ColumnSpans, ...]:
    message_at, block_at, _ = _locate(data)
    _, metadata_bytes, body_bytes = _BLOCK.unpack_from(data, block_at)
    body_at = message_at + metadata_bytes
    if not 0 < body_at <= body_at + body_bytes <= len(data):
        raise ValueError(f"its body of {body_bytes} bytes at {body_at} lies outside")
    batch = _table(data, _root(data, message_at + 8), _MESSAGE_HEADER)
    nodes = _pairs(data, batch, _BATCH_NODES)
    buffers = [_span(pair, body_at, body_bytes) for pair in _pairs(data, batch, _BATCH_BUFFERS)]
    columns = []
    for (name, kind), (_, nulls) in zip(names_and_types, nodes, strict=True):
        count = 3 if column_type(kind, name).form == "text" else 2
        spans, buffers = buffers[:count], buffers[count:]
        columns.append(ColumnSpans(name, kind, nulls, *_three(spans)))
    return tuple(columns)


def _span(pair: tuple[int, int], body_at: int, body_bytes: int) -> Span:
    offset, nbytes = pair
    if not 0 <= offset <= offset + nbytes <= body_bytes:
        raise ValueError(f"a buffer of {nbytes} bytes at {offset} lies outside {body_bytes} bytes")
    return Span(body_at + offset, nbytes)


def _locate(data: bytes | memoryview) -> tuple[int, int, int]:
    """Positions of the batch's message, of its Block struct in the footer, and of the footer."""
    if bytes(data[:6]) != _MAGIC or bytes(data[-6:]) != _MAGIC:
        raise ValueError("it does not begin and end with Arrow's magic")
    footer_bytes: int = struct.unpack_from("<i", data, len(data) - _TRAILER_BYTES)[0]
    footer_at = len(data) - _TRAILER_BYTES - footer_bytes
    blocks, count = _vector(data, _root(data, footer_at), _FOOTER_RECORD_BATCHES)
    if count != 1:
        raise ValueError(f"it has {count} record batches where a block has one")
    message_at: int = _BLOCK.unpack_from(data, blocks)[0]
    return message_at, blocks, footer_at


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


# --- flatbuffers: positions in, positions out (flatbuffers.dev/internals) -----------------------

Bytes = bytes | bytearray | memoryview


def _root(data: Bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: Bytes, table: int, number: int) -> int:
    vtable = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * number
    offset = 0
    if slot < struct.unpack_from("<H", data, vtable)[0]:
        offset = struct.unpack_from("<H", data, vtable + slot)[0]
    if not offset:
        raise ValueError(f"field {number} is missing in the metadata")
    return int(table + offset)


def _table(data: Bytes, table: int, number: int) -> int:
    return _root(data, _field(data, table, number))


def _vector(data: Bytes, table: int, number: int) -> tuple[int, int]:
    start = _table(data, table, number)
    return start + 4, int(struct.unpack_from("<I", data, start)[0])


def _pairs(data: Bytes, table: int, number: int) -> list[tuple[int, int]]:
    start, count = _vector(data, table, number)
    return list(_PAIR.iter_unpack(data[start : start + count * _PAIR.size]))
