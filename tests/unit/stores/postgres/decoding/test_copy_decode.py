"""The compiled COPY BINARY decoder: right values, refusals by name, nothing read outside."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from neural_gpu_bus.errors import BadValueError, ProtocolError
from neural_gpu_bus.ports import Reservation, Reserve
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from plain_copy_decode import NotReadableError, decode, framed, joined
from plain_reservation import PlainReservation, reserve


def decode_copy(
    stream: bytes | bytearray, columns: Sequence[SourceColumn], reserve: Reserve, *, framed: bool
) -> Reservation:
    """One whole stream to a filled reservation."""
    return write_columns([received(stream, columns, framed=framed)], reserve)


def received(
    stream: bytes | bytearray, columns: Sequence[SourceColumn], *, framed: bool
) -> ReceivedPart:
    buffer = np.frombuffer(bytearray(stream), np.uint8)
    scan = CopyScan(columns, framed=framed)
    if scan.feed(buffer, buffer.size) or (framed and scan.position != buffer.size):
        raise ProtocolError(f"no CopyData message at byte {scan.position}", position=scan.position)
    scan.finish(buffer, buffer.size)
    return ReceivedPart(buffer, scan)


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
#: One column of every layout: name, OID, values on the wire.
LAYOUTS: list[tuple[str, int, list[bytes]]] = [
    ("bool", 16, [b"\0", b"\1"]),
    ("bytea", 17, [b"", b"\xff\0\x80"]),
    ("char", 18, [b"a", b"\0"]),
    ("int8", 20, [struct.pack("!q", v) for v in (0, -1, -(1 << 63), (1 << 63) - 1)]),
    ("int2", 21, [struct.pack("!h", v) for v in (0, -(1 << 15), (1 << 15) - 1)]),
    ("int4", 23, [struct.pack("!i", v) for v in (0, -(1 << 31), (1 << 31) - 1)]),
    ("text", 25, [b"", b"a", "größer €".encode(), b"x" * 300]),
    ("oid", 26, [struct.pack("!I", v) for v in (0, (1 << 32) - 1)]),
    ("float4", 700, [struct.pack("!f", v) for v in (0.5, -0.0, math.inf)]),
    ("float8", 701, [struct.pack("!d", v) for v in (0.1, -0.0, -math.inf, 5e-324)]),
    ("date", 1082, [struct.pack("!i", v) for v in (0, -2_451_545, 2_145_031_948)]),
    ("time", 1083, [struct.pack("!q", v) for v in (0, 86_399_999_999)]),
    (
        "timestamptz",
        1184,
        [struct.pack("!q", v) for v in (0, -211_813_488_000_000_000, (1 << 62))],
    ),
    ("uuid", 2950, [bytes(range(16)), b"\xff" * 16]),
    ("jsonb", 3802, [b"\1{}", b'\1{"a": 1}']),
]
COLUMNS = [source_column(name, oid) for name, oid, _ in LAYOUTS]


def row(values: Sequence[bytes | None]) -> bytes:
    fields = [
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
        for value in values
    ]
    return struct.pack("!h", len(values)) + b"".join(fields)


def random_rows(count: int, chance_of_null: float, number: int) -> list[bytes]:
    dice = random.Random(number)
    return [
        row(
            [
                None if dice.random() < chance_of_null else dice.choice(values)
                for _, _, values in LAYOUTS
            ]
        )
        for _ in range(count)
    ]


def in_server_messages(rows: Sequence[bytes]) -> bytes:
    """As PostgreSQL sends it: header with the first row, a message for each row, the trailer."""
    first = HEADER + rows[0] if rows else HEADER
    return framed([first, *rows[1:], TRAILER])


def raw_values(table: pa.Table) -> list[list[object]]:
    """Values as the plain twin gives them."""
    columns = []
    for named, column in zip(table.schema, table.columns, strict=True):
        field, array = named, column.combine_chunks()
        if pa.types.is_dictionary(field.type):
            array = array.dictionary_decode()
            field = field.with_type(array.type)
        if field.type == pa.large_string():
            array = array.cast(pa.large_binary())
        elif pa.types.is_date(field.type):
            array = array.view(pa.int32())
        elif pa.types.is_timestamp(field.type) or pa.types.is_time(field.type):
            array = array.view(pa.int64())
        columns.append(array.to_pylist())
    return [list(values) for values in zip(*columns, strict=True)]


def same(left: object, right: object) -> bool:
    """Equal, or both NaN; -0.0 is not 0.0."""
    return repr(left) == repr(right)


def compiled(stream: bytes, columns: Sequence[SourceColumn], in_messages: bool) -> pa.Table:
    return decode_copy(stream, columns, reserve, framed=in_messages).seal()


@pytest.mark.parametrize("chance_of_null", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 500])
def test_every_layout_equals_the_plain_twin(count: int, chance_of_null: float) -> None:
    rows = random_rows(count, chance_of_null, number=count)
    stream = HEADER + b"".join(rows) + TRAILER
    expected = decode(stream, COLUMNS)

    for table in (
        compiled(stream, COLUMNS, False),
        compiled(in_server_messages(rows), COLUMNS, True),
    ):
        assert same(raw_values(table), expected)


@pytest.mark.parametrize("chance_of_null", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("counts", [(0, 0), (1, 1), (3, 4, 9), (8, 16, 0, 1), (500, 3, 501)])
def test_several_parts_are_written_as_one(counts: tuple[int, ...], chance_of_null: float) -> None:
    groups = [random_rows(count, chance_of_null, number=at) for at, count in enumerate(counts)]
    rows = [row for group in groups for row in group]
    parts = [
        received(in_server_messages(group), COLUMNS, framed=True)
        if at % 2
        else received(HEADER + b"".join(group) + TRAILER, COLUMNS, framed=False)
        for at, group in enumerate(groups)
    ]

    table = write_columns(parts, reserve).seal()

    assert same(raw_values(table), decode(HEADER + b"".join(rows) + TRAILER, COLUMNS))


def test_threads_share_the_bytes_of_bitmaps_without_losing_a_bit() -> None:
    """Hundreds of parts of a few rows: nearly every byte of a bitmap has two writers or more."""
    dice = random.Random(20_261_122)
    groups = [random_rows(dice.randrange(8), 0.5, number=at) for at in range(400)]
    rows = [row for group in groups for row in group]
    expected = decode(HEADER + b"".join(rows) + TRAILER, COLUMNS)

    for _ in range(5):
        parts = [received(in_server_messages(group), COLUMNS, framed=True) for group in groups]
        assert same(raw_values(write_columns(parts, reserve).seal()), expected)


def test_a_bad_value_in_a_later_part_is_named_by_its_row_of_the_whole() -> None:
    column = source_column("day", 1082)
    infinite = row([struct.pack("!i", (1 << 31) - 1)])
    good = HEADER + row([None]) * 5 + TRAILER
    parts = [received(s, [column], framed=False) for s in (good, HEADER + infinite + TRAILER)]

    with pytest.raises(BadValueError, match="column 'day', row 6 is an infinite date"):
        write_columns(parts, reserve)


def test_rows_that_go_on_in_the_next_message_are_joined() -> None:
    stream = HEADER + b"".join(random_rows(40, 0.2, number=3)) + TRAILER
    expected = decode(stream, COLUMNS)

    for size in (1, 2, 7, 64, 1000):
        parts = _cut(stream, size)
        if len(parts[0]) < len(HEADER):
            parts = [HEADER, *_cut(stream[len(HEADER) :], size)]
        assert same(raw_values(compiled(framed(parts), COLUMNS, True)), expected)


def _cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def test_null_slots_hold_nan_in_floats_and_zero_elsewhere() -> None:
    stream = HEADER + row([None] * len(COLUMNS)) + TRAILER

    filled = decode_copy(stream, COLUMNS, reserve, framed=False)

    for column in COLUMNS:
        if column.is_variable:
            assert filled.offsets(column.name).tolist() == [0, 0]
        elif column.name.startswith("float"):
            dtype = column.name.replace("float4", "f4").replace("float8", "f8")
            assert np.isnan(filled.values(column.name).view(dtype)).all()
        else:
            assert not filled.values(column.name).any()
        assert filled.validity(column.name).tolist() == [0]


@pytest.mark.parametrize("in_messages", [False, True])
def test_a_stream_cut_at_any_byte_is_refused(in_messages: bool) -> None:
    rows = random_rows(3, 0.2, number=11)
    stream = in_server_messages(rows) if in_messages else HEADER + b"".join(rows) + TRAILER

    for stop in range(len(stream)):
        with pytest.raises(ProtocolError, match=r"byte \d+"):
            decode_copy(stream[:stop], COLUMNS, reserve, framed=in_messages)


@pytest.mark.parametrize("in_messages", [False, True])
def test_a_flipped_byte_gives_an_error_or_what_the_plain_twin_reads(in_messages: bool) -> None:
    rows = random_rows(3, 0.2, number=12)
    good = in_server_messages(rows) if in_messages else HEADER + b"".join(rows) + TRAILER
    for at in range(len(good)):
        for flip in (0x01, 0x80, 0xFF):
            stream = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
            agree(stream, in_messages)


@seed(20_261_122)
@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(random_rows(5, 0.3, number=1)),
            st.sampled_from(
                [TRAILER, HEADER, b"\x00\x01", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
            ),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_arbitrary_bytes_give_an_error_or_what_the_plain_twin_reads(
    parts: list[bytes], in_messages: bool
) -> None:
    parts = [HEADER, *parts, TRAILER]
    agree(framed(parts) if in_messages else b"".join(parts), in_messages)


def agree(stream: bytes, in_messages: bool) -> None:
    """Both refuse, or both read the same."""
    try:
        expected = decode(joined(stream) if in_messages else stream, COLUMNS)
    except NotReadableError:
        expected = None
    try:
        filled = decode_copy(stream, COLUMNS, unchecked, framed=in_messages)
    except (ProtocolError, BadValueError):
        assert expected is None
    else:
        assert expected is not None
        assert same(raw_values(filled.seal()), expected)


class Unchecked(PlainReservation):
    """Text is not looked at: the server vouches for it, and flipped bytes do not."""

    def seal(self, name: str | None = None) -> pa.Table:
        binary = [
            pa.field(field.name, pa.large_binary()) if field.type == pa.large_string() else field
            for field in self.schema
        ]
        self.schema = pa.schema(binary)
        return super().seal(name)


def unchecked(schema: pa.Schema, rows: int, **sizes: dict[str, int]) -> Unchecked:
    return Unchecked(schema, rows, **sizes)


@pytest.mark.parametrize(
    ("oid", "raw", "message"),
    [
        (1082, struct.pack("!i", (1 << 31) - 1), "row 2 is an infinite date"),
        (1082, struct.pack("!i", -(1 << 31)), "row 2 is an infinite date"),
        (1082, struct.pack("!i", (1 << 31) - 2), "row 2 is a date later"),
        (1114, struct.pack("!q", (1 << 63) - 1), "row 2 is an infinite timestamp"),
        (1184, struct.pack("!q", -(1 << 63)), "row 2 is an infinite timestamp with time zone"),
        (1184, struct.pack("!q", 9_223_371_331_199_999_999), "row 2 is a timestamp with time zone"),
        (1083, struct.pack("!q", 86_400_000_000), "row 2 is 24:00:00"),
        (18, b"\xe4", "row 2 is no UTF-8 text: byte 0xe4"),
    ],
)
def test_a_value_that_arrow_cannot_hold_names_column_and_row(
    oid: int, raw: bytes, message: str
) -> None:
    column = source_column("x", oid)
    stream = HEADER + row([None]) + row([raw]) + TRAILER
    given: list[PlainReservation] = []

    def remember(schema: pa.Schema, rows: int, **sizes: dict[str, int]) -> PlainReservation:
        given.append(reserve(schema, rows, **sizes))
        return given[0]

    with pytest.raises(BadValueError, match=f"column 'x', {message}") as caught:
        decode_copy(stream, [column], remember, framed=False)

    assert (caught.value.column, caught.value.row) == ("x", 2)
    assert given[0].abandoned


@pytest.mark.parametrize(
    ("oid", "raw", "message"),
    [
        (16, b"\2", "boolean that is neither 0 nor 1"),
        (3802, b"\2{}", "unknown jsonb version"),
        (3802, b"", "another length than its type"),
        (23, b"\0" * 8, "another length than its type"),
        (18, b"ab", "another length than its type"),
    ],
)
def test_a_value_that_breaks_its_type_is_a_broken_stream(
    oid: int, raw: bytes, message: str
) -> None:
    stream = HEADER + row([raw]) + TRAILER

    with pytest.raises(ProtocolError, match=message) as caught:
        decode_copy(stream, [source_column("x", oid)], reserve, framed=False)

    assert 0 < caught.value.position < len(stream)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"PGCOPY\n\xff\r\r\0" + bytes(8) + TRAILER, "does not begin with PGCOPY"),
        (HEADER[:11] + b"\0\1\0\0" + bytes(4) + TRAILER, "critical flags"),
        (HEADER[:15] + b"\0\0\0\x09" + TRAILER, "critical flags or a length"),
        (HEADER + row([b"a", b"b"]) + TRAILER, "another number of fields"),
        (HEADER + TRAILER + row([b"a"]), "bytes follow the end"),
        (HEADER + row([b"a"]), "without its trailer, after 1 rows"),
        (HEADER + b"\0\1\xff\xff\xff\xfe" + TRAILER, "negative length"),
    ],
)
def test_a_broken_stream_says_where_and_how(stream: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        decode_copy(stream, [source_column("x", 25)], reserve, framed=False)


def test_an_extension_of_the_header_is_skipped() -> None:
    stream = HEADER[:15] + b"\0\0\0\3abc" + row([b"x"]) + TRAILER

    assert compiled(stream, [source_column("x", 25)], False)["x"].to_pylist() == ["x"]


def test_a_stream_may_arrive_in_pieces_of_any_size() -> None:
    stream = in_server_messages(random_rows(30, 0.2, number=5))
    buffer = np.frombuffer(bytearray(stream), np.uint8)
    scan = CopyScan(COLUMNS, framed=True)

    for stop in range(len(stream) + 1):
        assert scan.feed(buffer, stop) is False
    scan.finish(buffer, buffer.size)

    assert scan.rows == 30
