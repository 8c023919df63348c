"""Arrow's own file of one row, and how it is made to say what another block holds. Pure.

pyarrow serialises the row; the fixed-size structs in its flatbuffers (length, FieldNode, Buffer,
bodyLength, Block) are then overwritten. Format: arrow.apache.org/docs/format/Columnar.html, section
"IPC File Format"; tables in format/Message.fbs and format/File.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from neural_gpu_bus.memory.layout.column_tree import one_row

if TYPE_CHECKING:
    import pyarrow as pa

#: What stands for the uuid in a template, as long as one; random, so that no schema holds it.
UUID_PLACE = uuid4().hex.encode()

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

Bytes = bytes | bytearray | memoryview
Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Template:
    """Head and tail of a file around its one row; positions count from the start of each."""

    #: Up to the end of the record batch's metadata: schema, dictionaries, message.
    head: bytes
    #: From the end of the stream on.
    tail: bytes
    uuid_at: int
    #: The record batch's message in the head; its metadata's length stands 4 bytes behind.
    message_at: int
    #: Its Block struct in the tail.
    block_at: int

    def filled(
        self, uuid: str, nodes: Pairs, buffers: Pairs, *, body_at: int, body_bytes: int
    ) -> tuple[bytes, bytes]:
        """Head and tail of a block; its rows are those of its first column.

        ``nodes``: length and NULLs of each column, depth first. ``buffers``: offset from
        ``body_at`` and bytes, in Arrow's order. The message grows up to ``body_at``, where the
        first buffer begins: zeros behind a flatbuffer mean nothing.
        """
        head = bytearray(self.head.replace(UUID_PLACE, uuid.encode()))
        tail = bytearray(self.tail.replace(UUID_PLACE, uuid.encode()))
        metadata_bytes = body_at - self.message_at
        struct.pack_into("<i", head, self.message_at + 4, metadata_bytes - 8)
        _patch(head, self.message_at + 8, nodes, buffers, body_bytes)
        _BLOCK.pack_into(tail, self.block_at, self.message_at, metadata_bytes, body_bytes)
        return bytes(head).ljust(body_at, b"\0"), bytes(tail)


def make_template(schema: pa.Schema, dictionaries: Mapping[str, Any]) -> Template:
    """Write one row in that schema, which has ``UUID_PLACE`` in its metadata.

    ``dictionaries``: values of each dictionary column's path.
    """
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        row = [one_row(field.type, field.name, dictionaries) for field in schema]
        writer.write_batch(pa.record_batch(row, schema=schema))
    file = sink.getvalue().to_pybytes()
    message_at, block_at, footer_at = _locate(file)
    head = file[: message_at + 8 + struct.unpack_from("<i", file, message_at + 4)[0]]
    tail = _END_OF_STREAM + file[footer_at:]
    block_at += len(_END_OF_STREAM) - footer_at
    return Template(head, tail, head.index(UUID_PLACE), message_at, block_at)


def _patch(head: bytearray, message_at: int, nodes: Pairs, buffers: Pairs, body_bytes: int) -> None:
    root = _root(head, message_at)
    batch = _table(head, root, _MESSAGE_HEADER)
    # A flatbuffer leaves a 0 out: where the one row had no bytes, no column has a buffer.
    if at := _slot(head, root, _MESSAGE_BODY_LENGTH):
        struct.pack_into("<q", head, at, body_bytes)
    struct.pack_into("<q", head, _field(head, batch, _BATCH_LENGTH), nodes[0][0])
    for number, pairs in ((_BATCH_NODES, nodes), (_BATCH_BUFFERS, buffers)):
        at, count = _vector(head, batch, number)
        if count != len(pairs):
            raise ValueError(f"Arrow lists {count} structs where {len(pairs)} are planned")
        for pair in pairs:
            _PAIR.pack_into(head, at, *pair)
            at += _PAIR.size


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


# --- flatbuffers: positions in, positions out (flatbuffers.dev/internals) -----------------------


def _root(data: Bytes, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _slot(data: Bytes, table: int, number: int) -> int:
    """Position of a field; 0 where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * number
    offset = 0
    if slot < struct.unpack_from("<H", data, vtable)[0]:
        offset = struct.unpack_from("<H", data, vtable + slot)[0]
    return int(table + offset) if offset else 0


def _field(data: Bytes, table: int, number: int) -> int:
    at = _slot(data, table, number)
    if not at:
        raise ValueError(f"field {number} is missing in the metadata")
    return at


def _table(data: Bytes, table: int, number: int) -> int:
    return _root(data, _field(data, table, number))


def _vector(data: Bytes, table: int, number: int) -> tuple[int, int]:
    start = _table(data, table, number)
    return start + 4, int(struct.unpack_from("<I", data, start)[0])
