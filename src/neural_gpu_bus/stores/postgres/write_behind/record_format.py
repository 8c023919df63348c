"""A journal's segments and records as bytes: bytes in, bytes out, nothing of files.

A segment is a header and records, one after another::

    segment   magic 8 | version 2 | zero 2 | number 4 | crc 4
    record    magic 8 | metadata bytes 4 | body crc 4 | payload bytes 8 | sequence 8 | crc 4
              metadata (msgpack) | payload (Arrow stream)

Numbers are little-endian. Every crc (CRC-32, as zlib has it) begins with the journal's name, so
that bytes of another journal are no record of this one.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import msgspec

from neural_gpu_bus.errors import BadParameterError, ProtocolError

FORMAT_VERSION = 1

SEGMENT_MAGIC = b"\x93NGBseg\n"
RECORD_MAGIC = b"\x93NGBrec\n"

_SEGMENT = struct.Struct("<8sHHI")
_RECORD = struct.Struct("<8sIIQQ")
_CRC = struct.Struct("<I")

SEGMENT_HEADER_BYTES = _SEGMENT.size + _CRC.size
RECORD_HEADER_BYTES = _RECORD.size + _CRC.size
assert (SEGMENT_HEADER_BYTES, RECORD_HEADER_BYTES) == (20, 36)  # noqa: S101

#: Names of at most 1,600 columns of 63 bytes, twice, and a table's: more is no record of ours.
METADATA_BYTES_MAX = 1 << 20

WriteBehindMode = Literal["append", "upsert"]

Bytes = bytes | bytearray | memoryview


class RecordMetadata(msgspec.Struct, frozen=True, array_like=True):
    """What is to be done with a record's rows."""

    #: ``name`` or ``schema.name``, as the caller wrote it.
    table: str
    mode: WriteBehindMode
    #: Columns of the new table's primary key, or of the unique key that an upsert goes by.
    key: tuple[str, ...]
    job_id: str | None
    rows: int
    #: When it was acknowledged, nanoseconds since 1970-01-01 UTC.
    stored_ns: int


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """The first bytes of a record."""

    sequence: int
    metadata_bytes: int
    payload_bytes: int
    body_crc: int

    @property
    def nbytes(self) -> int:
        """Of the whole record."""
        return RECORD_HEADER_BYTES + self.metadata_bytes + self.payload_bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is whole."""

    sequence: int
    metadata: RecordMetadata
    payload: Bytes


def journal_seed(journal: str) -> int:
    """Where the checksums of a journal begin."""
    return zlib.crc32(journal.encode())


def segment_header(journal: str, number: int) -> bytes:
    """First bytes of the ``number``-th segment of that journal."""
    head = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT_VERSION, 0, number)
    return head + _CRC.pack(zlib.crc32(head, journal_seed(journal)))


def check_segment_header(data: Bytes, journal: str, number: int) -> bool:
    """False when these bytes do not begin that segment. ProtocolError for a newer version's."""
    if len(data) < SEGMENT_HEADER_BYTES:
        return False
    head = bytes(data[: _SEGMENT.size])
    magic, version, _, found = _SEGMENT.unpack(head)
    (crc,) = _CRC.unpack_from(data, _SEGMENT.size)
    if magic != SEGMENT_MAGIC or crc != zlib.crc32(head, journal_seed(journal)):
        return False
    if version > FORMAT_VERSION:
        raise ProtocolError(
            f"journal {journal!r} was written by a newer version of this package (format "
            f"{version}; this one knows {FORMAT_VERSION})",
            hint="deliver it with the version that wrote it",
            position=0,
        )
    return bool(found == number)


@dataclass(frozen=True, slots=True)
class Body:
    """What follows a record's header, and its checksum: made before the sequence is known."""

    metadata: bytes
    payload: Bytes
    crc: int

    @property
    def nbytes(self) -> int:
        """Of the record that it becomes."""
        return RECORD_HEADER_BYTES + len(self.metadata) + len(self.payload)


def encode_body(metadata: RecordMetadata, payload: Bytes, journal: str) -> Body:
    """Metadata and payload as they stand in that journal. Raises BadParameterError for metadata
    that ``decode_record`` would take for damage.
    """
    packed = msgspec.msgpack.encode(metadata)
    if len(packed) > METADATA_BYTES_MAX:
        raise BadParameterError(
            f"table's name, key and job_id take {len(packed):,} bytes: at most "
            f"{METADATA_BYTES_MAX:,} are kept",
            hint="give a shorter key",
            parameter="key",
        )
    crc = zlib.crc32(payload, zlib.crc32(packed, journal_seed(journal)))
    return Body(packed, payload, crc)


def encode_header(body: Body, sequence: int, journal: str) -> bytes:
    """The header that makes a record of a body."""
    head = _RECORD.pack(RECORD_MAGIC, len(body.metadata), body.crc, len(body.payload), sequence)
    return head + _CRC.pack(zlib.crc32(head, journal_seed(journal)))


def decode_header(data: Bytes, position: int, journal: str) -> RecordHeader | None:
    """The header that stands there; None where none does."""
    if position + RECORD_HEADER_BYTES > len(data):
        return None
    head = bytes(data[position : position + _RECORD.size])
    magic, metadata_bytes, body_crc, payload_bytes, sequence = _RECORD.unpack(head)
    (crc,) = _CRC.unpack_from(data, position + _RECORD.size)
    if magic != RECORD_MAGIC or crc != zlib.crc32(head, journal_seed(journal)):
        return None
    if metadata_bytes > METADATA_BYTES_MAX:
        return None
    return RecordHeader(sequence, metadata_bytes, payload_bytes, body_crc)


def decode_record(data: Bytes, position: int, journal: str) -> Record | None:
    """The record that stands there, whole and unchanged; None where none does. The payload is a
    view of ``data``.
    """
    header = decode_header(data, position, journal)
    if header is None or position + header.nbytes > len(data):
        return None
    view = memoryview(data)
    start = position + RECORD_HEADER_BYTES
    metadata = view[start : start + header.metadata_bytes]
    payload = view[start + header.metadata_bytes : position + header.nbytes]
    if zlib.crc32(payload, zlib.crc32(metadata, journal_seed(journal))) != header.body_crc:
        return None
    try:
        decoded = msgspec.msgpack.decode(metadata, type=RecordMetadata)
    except msgspec.MsgspecError:
        return None
    return Record(header.sequence, decoded, payload)
