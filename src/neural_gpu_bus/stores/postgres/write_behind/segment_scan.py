"""What a segment still holds after a crash: whole records, damage among them, and a torn tail.

A record's bytes are on disk before it is acknowledged, and records are only ever added behind it.
So what is torn at the very end was never acknowledged and is cut; what is broken anywhere else was,
or may have been, and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    SEGMENT_HEADER_BYTES,
    Bytes,
    check_segment_header,
    decode_header,
    decode_record,
)

#: An Arrow stream ends with its end mark, ff ff ff ff 00 00 00 00. Eight zeros at the end of a
#: record are a piece of the file that was never written, as a power cut leaves it.
_NEVER_WRITTEN = bytes(8)


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """Where a whole record lies."""

    position: int
    nbytes: int
    sequence: int
    table: str


@dataclass(slots=True)
class SegmentScan:
    """What was found in one segment, in order."""

    records: list[FoundRecord] = field(default_factory=list)
    #: Start and end (exclusive) of bytes that are no record and should be.
    damages: list[tuple[int, int]] = field(default_factory=list)
    #: Start of what a crash cut off while it was written; None where the end is whole.
    torn_at: int | None = None


def scan_segment(data: Bytes, journal: str, number: int, *, is_last: bool) -> SegmentScan:
    """Go through the bytes of the journal's ``number``-th segment.

    ``is_last``: nothing was written after this segment, so that its end may be torn. Raises
    ProtocolError for a segment of a newer version.
    """
    scan = SegmentScan()
    position = 0
    if check_segment_header(data, journal, number):
        position = SEGMENT_HEADER_BYTES
    while position < len(data):
        record = decode_record(data, position, journal)
        if record is not None:
            header = decode_header(data, position, journal)
            assert header is not None  # noqa: S101  (decode_record read it)
            scan.records.append(
                FoundRecord(position, header.nbytes, record.sequence, record.metadata.table)
            )
            position += header.nbytes
            continue
        following = _next_record(data, position, journal)
        if following is None and is_last and _is_torn(data, position, journal):
            scan.torn_at = position
            break
        end = len(data) if following is None else following
        scan.damages.append((position, end))
        position = end
    return scan


def _next_record(data: Bytes, position: int, journal: str) -> int | None:
    """Start of the first whole record behind the broken bytes at ``position``."""
    header = decode_header(data, position, journal)
    if header is not None and decode_record(data, position + header.nbytes, journal) is not None:
        return position + header.nbytes
    content = data if isinstance(data, bytes) else bytes(data)
    found = content.find(RECORD_MAGIC, position + 1)
    while found >= 0:
        if decode_record(content, found, journal) is not None:
            return found
        found = content.find(RECORD_MAGIC, found + 1)
    return None


def _is_torn(data: Bytes, position: int, journal: str) -> bool:
    """Whether the last bytes are a record that was not written to its end."""
    if bytes(data[-len(_NEVER_WRITTEN) :]) == _NEVER_WRITTEN:
        return True
    if position == 0:
        return len(data) < SEGMENT_HEADER_BYTES
    header = decode_header(data, position, journal)
    if header is None:
        return len(data) - position < RECORD_HEADER_BYTES
    return position + header.nbytes > len(data)
