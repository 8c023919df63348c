"""Messages of the protocol: what is sent and what is understood."""

from __future__ import annotations

import struct

import pytest

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.wire import messages as wire


def description(*fields: tuple[bytes, int]) -> bytes:
    return struct.pack("!h", len(fields)) + b"".join(
        name + b"\0" + struct.pack("!IhIhih", 0, 0, oid, 8, -1, 0) for name, oid in fields
    )


def test_a_query_is_framed_with_its_own_length() -> None:
    assert wire.query(b"SELECT 1") == b"Q\x00\x00\x00\x0dSELECT 1\0"


def test_parse_names_neither_statement_nor_types() -> None:
    assert wire.parse(b"SELECT 1") == b"P\x00\x00\x00\x10\0SELECT 1\0\0\0"


def test_a_completed_command_is_framed_as_the_server_does() -> None:
    assert wire.command_complete(b"SET") == b"C\x00\x00\x00\x08SET\0"


def test_a_row_description_gives_names_types_and_modifiers() -> None:
    body = description((b"ts", 1184), ("größe".encode(), 701))

    assert wire.read_row_description(body) == [("ts", 1184, -1), ("größe", 701, -1)]


def test_a_cut_row_description_is_refused() -> None:
    body = description((b"ts", 1184))

    for stop in range(len(body)):
        with pytest.raises(ProtocolError, match="row description"):
            wire.read_row_description(body[:stop])


def test_a_refusal_keeps_what_the_server_said() -> None:
    body = b"SERROR\0C42P01\0Mno such table\0P15\0\0"

    refusal = wire.read_refusal(body)

    assert refusal == wire.Refusal("42P01", "no such table", "", "", "15")


@pytest.mark.parametrize(("body", "rows"), [(b"COPY 12\0", 12), (b"SET\0", None), (b"\0", None)])
def test_only_copy_tells_rows(body: bytes, rows: int | None) -> None:
    assert wire.read_row_count(body) == rows
