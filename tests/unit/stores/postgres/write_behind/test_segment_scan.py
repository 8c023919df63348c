"""What is found in a segment after a crash, cut and bent at every byte."""

from __future__ import annotations

import pytest

from journal_records import whole_record
from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    SEGMENT_HEADER_BYTES,
    RecordMetadata,
    segment_header,
)
from neural_gpu_bus.stores.postgres.write_behind.segment_scan import SegmentScan, scan_segment

JOURNAL = "00000000000000000001-abcdefabcdef"
METADATA = RecordMetadata("bars", "append", (), None, 1, 0)
#: As an Arrow stream ends.
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
RECORDS = [
    whole_record(METADATA, b"x" * length + END, sequence, JOURNAL)
    for sequence, length in enumerate((30, 1, 50), 1)
]
SEGMENT = segment_header(JOURNAL, 1) + b"".join(RECORDS)
#: Where each record begins, and the end.
STARTS = [SEGMENT_HEADER_BYTES + sum(map(len, RECORDS[:n])) for n in range(len(RECORDS) + 1)]


def scan(data: bytes, *, is_last: bool = True) -> SegmentScan:
    return scan_segment(data, JOURNAL, 1, is_last=is_last)


def sequences(found: SegmentScan) -> list[int]:
    return [record.sequence for record in found.records]


def test_a_whole_segment_has_all_its_records() -> None:
    found = scan(SEGMENT)

    assert sequences(found) == [1, 2, 3]
    assert [record.position for record in found.records] == STARTS[:-1]
    assert (found.damages, found.torn_at) == ([], None)


@pytest.mark.parametrize("is_last", [True, False])
def test_cut_at_every_byte_the_whole_records_before_are_there(is_last: bool) -> None:
    for end in range(len(SEGMENT) + 1):
        found = scan(SEGMENT[:end], is_last=is_last)

        whole = [n for n in (1, 2, 3) if STARTS[n] <= end]
        rest = max((start for start in (0, *STARTS) if start <= end), default=0)
        assert sequences(found) == whole
        if rest == end:
            assert (found.damages, found.torn_at) == ([], None)
        elif is_last:
            assert (found.damages, found.torn_at) == ([], rest)
        else:
            assert (found.damages, found.torn_at) == ([(rest, end)], None)


def test_every_flipped_byte_costs_its_record_alone_and_is_reported() -> None:
    for position in range(len(SEGMENT)):
        bent = bytearray(SEGMENT)
        bent[position] ^= 0x5A
        found = scan(bytes(bent))

        if position < SEGMENT_HEADER_BYTES:
            assert sequences(found) == [1, 2, 3]
            assert found.damages == [(0, SEGMENT_HEADER_BYTES)]
            continue
        hit = next(n for n in (1, 2, 3) if position < STARTS[n])
        assert sequences(found) == [n for n in (1, 2, 3) if n != hit]
        assert found.damages == [(STARTS[hit - 1], STARTS[hit])]
        assert found.torn_at is None


def test_zeros_at_the_end_were_never_written() -> None:
    for written in range(STARTS[2], len(SEGMENT) - len(END)):
        data = SEGMENT[:written] + bytes(len(SEGMENT) - written)
        found = scan(data)

        assert sequences(found) == [1, 2]
        assert (found.damages, found.torn_at) == ([], STARTS[2])


def test_zeros_in_the_middle_are_damage() -> None:
    data = SEGMENT[: STARTS[1]] + bytes(len(RECORDS[1])) + SEGMENT[STARTS[2] :]

    found = scan(data)

    assert sequences(found) == [1, 3]
    assert found.damages == [(STARTS[1], STARTS[2])]


def test_two_damages_are_told_apart() -> None:
    bent = bytearray(SEGMENT)
    bent[STARTS[0] + 40] ^= 1
    bent[STARTS[2] + 40] ^= 1

    found = scan(bytes(bent))

    assert sequences(found) == [2]
    assert found.damages == [(STARTS[0], STARTS[1]), (STARTS[2], STARTS[3])]


def test_a_record_within_a_damaged_record_is_not_taken_for_one() -> None:
    """Somebody may store a copy of a journal."""
    outer = bytearray(whole_record(METADATA, RECORDS[0] + END, 7, JOURNAL))
    outer[-1] ^= 1
    data = segment_header(JOURNAL, 1) + bytes(outer) + RECORDS[1]

    assert sequences(scan(data)) == [2]


def test_another_journals_segment_is_damage_as_a_whole() -> None:
    found = scan_segment(SEGMENT, JOURNAL.replace("a", "b"), 1, is_last=True)

    assert sequences(found) == []
    assert found.damages == [(0, len(SEGMENT))]


def test_an_empty_file_is_nothing() -> None:
    found = scan(b"")

    assert (found.records, found.damages, found.torn_at) == ([], [], None)
