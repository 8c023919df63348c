"""The public decoder: pieces of any size, framed or not, and what is refused."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    ProtocolError,
    QueryError,
    UnsupportedTypeError,
)
from neural_gpu_bus.stores.postgres.decoding import CopyDecoder, decode_copy
from plain_copy_decode import framed

HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
FIELDS = [("id", 20), ("word", 25), ("price", 1700, (10 << 16 | 2) + 4)]


def field(raw: bytes | None) -> bytes:
    return struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw


def stream_of(count: int) -> list[bytes]:
    """Rows of an id, a word, and a price of 1.25 times the id, NULL for every third."""
    rows = []
    for number in range(count):
        price = struct.pack("!hhHHhh", 2, 0, 0, 2, number, 2500)
        fields = [struct.pack("!q", number), b"w%d" % (number % 3), None if number % 3 else price]
        rows.append(struct.pack("!h", 3) + b"".join(field(raw) for raw in fields))
    return [HEADER, *rows, TRAILER]


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("in_messages", [False, True])
def test_a_stream_in_pieces_of_any_size_is_a_table(size: int, in_messages: bool) -> None:
    parts = stream_of(50)
    parts = [parts[0] + parts[1], *parts[2:]]
    stream = framed(parts) if in_messages else b"".join(parts)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    table = decode_copy(pieces, FIELDS, framed=in_messages)

    assert table.schema.types == [pa.int64(), pa.large_string(), pa.decimal128(10, 2)]
    assert table["id"].to_pylist() == list(range(50))
    assert table["word"].to_pylist() == [f"w{at % 3}" for at in range(50)]
    assert [str(v) for v in table["price"].to_pylist()[:4]] == ["0.25", "None", "None", "3.25"]


def test_options_are_those_of_reading() -> None:
    table = decode_copy(b"".join(stream_of(5)), FIELDS, numeric="float64", texts="dictionary")

    assert table["price"].type == pa.float64()
    assert table["word"].type == pa.dictionary(pa.int32(), pa.large_string())
    assert table["word"].to_pylist() == ["w0", "w1", "w2", "w0", "w1"]


def test_a_stream_that_is_not_whole_is_refused() -> None:
    decoder = CopyDecoder(FIELDS)
    for part in stream_of(3)[:-1]:
        decoder.feed(part)

    with pytest.raises(ProtocolError, match="without its trailer, after 3 rows"):
        decoder.finish()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "there are no columns"),
        ([("x", 20), ("x", 25)], "two columns are named 'x'"),
        ([("x",)], "describes no column"),
        ([(b"x", 20)], "describes no column"),
    ],
)
def test_columns_have_names_of_their_own(fields: Any, message: str) -> None:
    with pytest.raises(BadParameterError, match=message):
        CopyDecoder(fields)


def test_a_type_that_nobody_described_is_refused() -> None:
    with pytest.raises(UnsupportedTypeError, match="column 'x' is of type the type with OID 99999"):
        CopyDecoder([("x", 99_999)])


def test_a_stream_has_a_largest_size() -> None:
    decoder = CopyDecoder(FIELDS, bytes_max=20)
    decoder.feed(HEADER)

    with pytest.raises(QueryError, match="larger than 20 bytes"):
        decoder.feed(b"ab")


def test_messages_of_another_kind_are_refused() -> None:
    with pytest.raises(ProtocolError, match="begins no CopyData message"):
        decode_copy(framed([HEADER]) + b"c\0\0\0\4", FIELDS, framed=True)


def test_a_cut_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="in the middle of the message"):
        decode_copy(framed([HEADER, TRAILER])[:-1], FIELDS, framed=True)
