"""Messages of pgoutput that are no changes: read whole, refused where a byte is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import stream_bytes
from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.replication import pgoutput
from neural_gpu_bus.stores.postgres.replication.pgoutput import (
    LogicalMessage,
    NamedType,
    Origin,
    Relation,
    RelationColumn,
    Truncated,
)
from stream_bytes import START_LSN

#: Frame, head of log data, tag.
HEAD_BYTES = 5 + 25 + 1

COLUMNS = [("Id", 20, True), ('a "b"', 25, False)]
READ = [
    (
        pgoutput.read_relation,
        stream_bytes.relation(7, "Some Table", COLUMNS, "i"),
        Relation(
            oid=7,
            schema="public",
            name="Some Table",
            identity="i",
            columns=(RelationColumn("Id", 20, -1, True), RelationColumn('a "b"', 25, -1, False)),
        ),
    ),
    (
        pgoutput.read_relation,
        stream_bytes.relation(7, "t", []),
        Relation(7, "public", "t", "d", ()),
    ),
    (pgoutput.read_truncate, stream_bytes.truncate([1, 2], 3), Truncated((1, 2), True, True)),
    (pgoutput.read_truncate, stream_bytes.truncate([1], 2), Truncated((1,), False, True)),
    (
        pgoutput.read_message,
        stream_bytes.logical_message("ngb", b"a\0b", transactional=False),
        LogicalMessage("ngb", b"a\0b", START_LSN, False),
    ),
    (pgoutput.read_origin, stream_bytes.origin("else"), Origin(START_LSN, "else")),
    (pgoutput.read_type, stream_bytes.named_type(9, "mood"), NamedType(9, "public", "mood")),
]
Reader = Callable[[bytes], Any]


@pytest.mark.parametrize(("read", "message", "expected"), READ)
def test_a_message_is_read(read: Reader, message: bytes, expected: object) -> None:
    assert read(message[HEAD_BYTES:]) == expected


@pytest.mark.parametrize(("read", "message", "expected"), READ)
def test_a_cut_or_longer_message_is_refused(read: Reader, message: bytes, expected: object) -> None:
    body = message[HEAD_BYTES:]

    for wrong in [*(body[:cut] for cut in range(len(body))), body + b"\0"]:
        with pytest.raises(ProtocolError, match=r"message of .* bytes cannot be read"):
            read(wrong)


def test_an_empty_schema_is_the_catalogs() -> None:
    body = stream_bytes.relation(7, "t", [])[HEAD_BYTES:].replace(b"public", b"")

    assert pgoutput.read_relation(body).schema == "pg_catalog"


@pytest.mark.parametrize(
    ("read", "body", "why"),
    [
        (pgoutput.read_relation, b"\0\0\0\1s\0t\0x\0\0", "no replica identity is called 'x'"),
        (pgoutput.read_relation, b"\0\0\0\1s\0t\0d\xff\xff", "-1 columns"),
        (pgoutput.read_relation, b"\0\0\0\1s\0t\0d\0\1\2c\0" + bytes(8), "a column has no flags"),
        (pgoutput.read_relation, b"\0\0\0\1\xff\0t\0d\0\0", "can't decode byte 0xff"),
        (pgoutput.read_truncate, b"\0\0\0\0\4", "options 4 that nobody defined"),
        (pgoutput.read_truncate, b"\xff\xff\xff\xff\0", "4294967295 tables are announced"),
        (pgoutput.read_message, b"\2" + bytes(13), "flags 2 that nobody defined"),
        (pgoutput.read_message, bytes(10) + b"\0\0\0\5ab", "5 bytes are announced"),
    ],
)
def test_what_nobody_defined_is_refused(read: Reader, body: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read(body)
