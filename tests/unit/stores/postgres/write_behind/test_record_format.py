"""Records as bytes: there and back, and no other bytes are taken for one."""

from __future__ import annotations

import pytest

from journal_records import whole_record
from neural_gpu_bus.errors import BadParameterError, ProtocolError
from neural_gpu_bus.stores.postgres.write_behind import record_format
from neural_gpu_bus.stores.postgres.write_behind.record_format import (
    RecordMetadata,
    check_segment_header,
    decode_record,
    segment_header,
)

JOURNAL = "00000000000000000001-abcdefabcdef"
METADATA = RecordMetadata("market.bars", "upsert", ("ts", "id"), "job 7", 100, 1_700_000_000)


def test_a_record_comes_back_as_it_was() -> None:
    data = whole_record(METADATA, b"payload", 42, JOURNAL)

    record = decode_record(b"before" + data + b"after", 6, JOURNAL)

    assert record is not None
    assert (record.sequence, record.metadata) == (42, METADATA)
    assert bytes(record.payload) == b"payload"


def test_a_record_that_is_cut_anywhere_is_none() -> None:
    data = whole_record(METADATA, b"payload", 42, JOURNAL)

    assert [end for end in range(len(data)) if decode_record(data[:end], 0, JOURNAL)] == []


def test_a_record_with_any_bit_flipped_is_none() -> None:
    data = whole_record(METADATA, b"payload", 42, JOURNAL)

    taken = []
    for bit in range(8 * len(data)):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        if decode_record(bent, 0, JOURNAL) is not None:
            taken.append(bit)

    assert taken == []


def test_a_record_of_another_journal_is_none() -> None:
    data = whole_record(METADATA, b"payload", 42, JOURNAL)

    assert decode_record(data, 0, JOURNAL.replace("a", "b")) is None


def test_a_record_whose_metadata_says_something_else_is_none() -> None:
    body = record_format.Body(b"\x90", b"payload", 0)
    crc = record_format.zlib.crc32(b"\x90payload", record_format.journal_seed(JOURNAL))
    body = record_format.Body(body.metadata, body.payload, crc)
    data = record_format.encode_header(body, 1, JOURNAL) + body.metadata + body.payload

    assert decode_record(data, 0, JOURNAL) is None


def test_a_segment_belongs_to_one_journal_and_place() -> None:
    header = segment_header(JOURNAL, 3)

    assert check_segment_header(header, JOURNAL, 3)
    assert not check_segment_header(header, JOURNAL, 4)
    assert not check_segment_header(header, JOURNAL[:-1], 3)
    assert not check_segment_header(header[:-1], JOURNAL, 3)


def test_a_segment_of_a_newer_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_format, "FORMAT_VERSION", 2)
    header = segment_header(JOURNAL, 1)
    monkeypatch.undo()

    with pytest.raises(ProtocolError, match=r"newer version of this package \(format 2"):
        check_segment_header(header, JOURNAL, 1)


def test_metadata_that_could_not_be_read_again_are_refused() -> None:
    many = tuple(f"{n:060d}" for n in range(20_000))
    with pytest.raises(BadParameterError, match=r"table's name, key and job_id take 1,.* bytes"):
        record_format.encode_body(RecordMetadata("t", "append", many, None, 1, 0), b"", "j")
