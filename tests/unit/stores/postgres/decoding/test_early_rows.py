"""Rows written as they arrive are the rows that are written when all are there."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.stores.postgres.decoding import early_rows as module
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.early_rows import EarlyRows, early_rows
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from plain_reservation import PlainReservation, reserve

PLAIN = ReadOptions(texts="plain")
OIDS = {"i": 20, "f": 701, "t": 25, "b": 16, "ts": 1184, "d": 1082}
COLUMNS = [source_column(name, oid, options=PLAIN) for name, oid in OIDS.items()]
SEED = 5
ROWS = 300


def _message(fields: list[bytes | None]) -> bytes:
    cells = b"".join(
        struct.pack("!i", -1) if field is None else struct.pack("!i", len(field)) + field
        for field in fields
    )
    body = struct.pack("!h", len(fields)) + cells
    return b"D" + struct.pack("!i", len(body) + 4) + body


def _stream(chance: random.Random, rows: int = ROWS) -> bytes:
    def fields() -> list[bytes | None]:
        values: list[bytes | None] = [
            struct.pack("!q", chance.randrange(-(1 << 62), 1 << 62)),
            struct.pack("!d", chance.gauss(0, 1)),
            b"x" * chance.randrange(9),
            chance.choice([b"\0", b"\1"]),
            struct.pack("!q", chance.randrange(1 << 50)),
            struct.pack("!i", chance.randrange(9_000)),
        ]
        return [None if at < 4 and chance.random() < 0.2 else v for at, v in enumerate(values)]

    return b"".join(_message(fields()) for _ in range(rows))


def _whole(stream: bytes) -> tuple[PlainReservation, pa.Table]:
    buffer = np.frombuffer(bytearray(stream), np.uint8)
    scan = CopyScan(COLUMNS, framed=True, headless=True)
    scan.feed(buffer, buffer.size)
    scan.finish(buffer, buffer.size)
    reservation: Any = write_columns([ReceivedPart(buffer, scan)], reserve)
    return reservation, reservation.seal()


def _early(like: bytes, **other: Any) -> EarlyRows:
    """For a result that has the sizes of that one, but for some."""
    kept: dict[str, Any] = {}

    def reserving(schema: pa.Schema, rows: int, **sizes: Any) -> PlainReservation:
        kept.update(schema=schema, rows=rows, **sizes)
        return reserve(schema, rows, **sizes)

    buffer = np.frombuffer(bytearray(like), np.uint8)
    scan = CopyScan(COLUMNS, framed=True, headless=True)
    scan.feed(buffer, buffer.size)
    write_columns([ReceivedPart(buffer, scan)], reserving)
    kept |= other
    sizes = {name: kept[name] for name in ("text_bytes", "null_counts")}
    reservation = reserve(kept["schema"], kept["rows"], **sizes)
    found = early_rows(COLUMNS, kept["schema"], kept["rows"], reservation, **sizes)
    assert found is not None
    return found


def _fed(early: EarlyRows, stream: bytes, chance: random.Random) -> Any:
    buffer = np.frombuffer(bytearray(stream), np.uint8)
    scan = CopyScan(COLUMNS, framed=True, headless=True)
    stop = 0
    while stop < buffer.size:
        stop = min(buffer.size, stop + chance.randrange(1, 3_000))
        scan.feed(buffer, stop)
        early.add(buffer, scan)
    scan.finish(buffer, buffer.size)
    return early.whole(buffer, scan)


@pytest.mark.parametrize("rows_min", [1, 100, 10_000])
def test_rows_in_any_pieces_are_the_same(rows_min: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_MIN", rows_min)
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(5):
        stream = _stream(chance)

        found = _fed(_early(stream), stream, chance)

        assert found is not None
        assert _whole(stream)[1].equals(found.seal())


@pytest.mark.parametrize("rows_min", [1, 10_000])
@pytest.mark.parametrize(
    "other",
    [
        {"rows": ROWS + 1},
        {"rows": ROWS - 1},
        {"text_bytes": {"t": 5_000}},
        {"text_bytes": {"t": 1}},
        {"null_counts": {"i": 1, "f": 2, "t": 3, "b": 4}},
        {"null_counts": {}},
    ],
    ids=["fewer rows came", "more rows", "less text", "more text", "other NULLs", "NULLs"],
)
def test_what_is_not_as_expected_is_left_to_the_usual_way(
    other: dict[str, Any], rows_min: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_MIN", rows_min)
    chance = random.Random(SEED)
    stream = _stream(chance)

    assert _fed(_early(stream, **other), stream, chance) is None


def test_a_value_that_is_refused_is_left_to_the_usual_way() -> None:
    columns = [source_column("ts", 1184)]
    schema = pa.schema([("ts", pa.timestamp("us", "UTC"))])
    early = early_rows(columns, schema, 1, reserve(schema, 1), text_bytes={}, null_counts={})
    assert early is not None
    infinity = np.frombuffer(bytearray(_message([b"\x7f" + b"\xff" * 7])), np.uint8)
    scan = CopyScan(columns, framed=True, headless=True)
    scan.feed(infinity, infinity.size)

    assert early.whole(infinity, scan) is None


@pytest.mark.parametrize(
    ("columns", "schema"),
    [
        ([source_column("t", 25)], pa.schema([("t", pa.large_string())])),
        ([source_column("c", 18)], pa.schema([("c", pa.large_string())])),
        ([source_column("i", 20)], pa.schema([("i", pa.int32())])),
        ([source_column("i", 20)], pa.schema([("j", pa.int64())])),
    ],
    ids=["maybe a dictionary", '"char"', "another type", "another name"],
)
def test_columns_of_other_kinds_wait(columns: list[Any], schema: pa.Schema) -> None:
    reservation = reserve(schema, 1, text_bytes={"t": 1, "c": 1})

    assert early_rows(columns, schema, 1, reservation, text_bytes={}, null_counts={}) is None
