"""Rows in DataRow messages: the same values as by COPY, and no crash on what is none."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.errors import NeuralGpuBusError, ProtocolError
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from plain_reservation import reserve

COLUMNS = [source_column("i", 20), source_column("t", 25), source_column("b", 16)]


def message(*fields: bytes | None) -> bytes:
    cells = b"".join(
        struct.pack("!i", -1) if field is None else struct.pack("!i", len(field)) + field
        for field in fields
    )
    body = struct.pack("!h", len(fields)) + cells
    return b"D" + struct.pack("!i", len(body) + 4) + body


def decode(stream: bytes, start: int = 0) -> dict[str, list[Any]]:
    buffer = np.frombuffer(bytearray(stream), np.uint8)
    scan = CopyScan(COLUMNS, framed=True, headless=True, start=start)
    if scan.feed(buffer, buffer.size):
        raise ProtocolError("another message", position=scan.position)
    scan.finish(buffer, buffer.size)
    table: Any = write_columns([ReceivedPart(buffer, scan)], reserve).seal()
    found: dict[str, list[Any]] = table.to_pydict()
    return found


ROWS = [
    (struct.pack("!q", 5), b"five", b"\1"),
    (None, b"", None),
    (struct.pack("!q", -7), None, b"\0"),
]
STREAM = b"".join(message(*row) for row in ROWS)
VALUES = {"i": [5, None, -7], "t": ["five", "", None], "b": [True, None, False]}


def test_rows_without_a_header_are_rows() -> None:
    assert decode(STREAM) == VALUES
    assert decode(b"before" + STREAM, start=6) == VALUES
    assert decode(b"") == {"i": [], "t": [], "b": []}


def test_another_message_stops_the_scan_at_its_tag() -> None:
    buffer = np.frombuffer(bytearray(STREAM + b"C\0\0\0\x0dSELECT 3\0"), np.uint8)
    scan = CopyScan(COLUMNS, framed=True, headless=True)

    assert scan.feed(buffer, buffer.size)
    assert scan.position == len(STREAM)
    assert scan.rows == 3


def test_a_cut_stream_is_whole_rows_or_an_error() -> None:
    ends = {0}
    for row in ROWS:
        ends.add(max(ends) + len(message(*row)))
    for cut in range(len(STREAM)):
        if cut in ends:
            assert len(decode(STREAM[:cut])["i"]) < 3
        else:
            with pytest.raises(ProtocolError, match="in the middle of a row"):
                decode(STREAM[:cut])


def test_a_row_that_is_longer_than_its_message_is_refused() -> None:
    broken = bytearray(STREAM)
    broken[4] -= 1  # the first message's length

    with pytest.raises(ProtocolError, match=r"row 1, column 'b'"):
        decode(bytes(broken))


def test_changed_bytes_are_values_or_an_error() -> None:
    number = random.randrange(1 << 30)
    print(f"seed {number}")
    chosen = random.Random(number)
    for _ in range(3000):
        broken = bytearray(STREAM)
        for _ in range(chosen.randint(1, 3)):
            broken[chosen.randrange(len(broken))] = chosen.randrange(256)
        with suppress(NeuralGpuBusError, UnicodeDecodeError, ValueError):
            decode(bytes(broken))
