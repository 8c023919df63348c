"""Rows of a first copy that are written as they were received are those that the general way makes
of the same bytes: of all types that stand by themselves, whatever comes between.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.live.applying.first_copy import FirstCopy
from neural_gpu_bus.live.applying.received_rows import ReceivedRows
from neural_gpu_bus.memory.series import SeriesGroup, filling, filling_kernels
from neural_gpu_bus.stores.postgres.decoding import spreading_kernels
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import ReceivedRange, write_columns
from neural_gpu_bus.stores.postgres.decoding.private_columns import PrivateReservation
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.table.in_order import Held, InOrder
from neural_gpu_bus.stores.postgres.wire.messages import data_row

OPTIONS = ReadOptions(texts="plain")
_private: Any = PrivateReservation
ROWS, BATCH_ROWS = 1_500, 250
#: numeric 12.34: two digits of base 10,000, weight 0, positive, scale 2.
NUMERIC = struct.pack("!hhHhhh", 2, 0, 0, 2, 12, 3400)
#: Name, OID, modifier; bytes of a value by a number.
COLUMNS: dict[str, tuple[int, int, Any]] = {
    "id": (20, -1, lambda n: struct.pack("!q", n)),
    "k": (25, -1, lambda n: f"a key of some length {n % 7}".encode()),
    "ts": (1184, -1, lambda n: struct.pack("!q", n // 3 * 1000)),
    "yes": (16, -1, lambda n: bytes([n % 5 == 0])),
    "day": (1082, -1, lambda n: struct.pack("!i", n % 3)),
    "x": (701, -1, lambda n: struct.pack("!d", n / 7)),
    "small": (21, -1, lambda n: struct.pack("!h", n % 1000)),
    "note": (25, -1, lambda n: b"n" * (n % 11)),
    "exact": (1700, 10 << 16 | 6, lambda n: NUMERIC),
    "doc": (3802, -1, lambda n: b'\x01{"a": 1}'),
    "who": (2950, -1, lambda n: struct.pack("!qq", n, -n)),
}
#: NULL now and then.
NULLABLE = ("yes", "x", "small", "note", "exact", "doc", "who")


@pytest.fixture
def group(memory_folder: Path) -> SeriesGroup:
    return SeriesGroup.create(memory_folder, "g")


def columns() -> list[SourceColumn]:
    return [
        source_column(name, oid, mod, options=OPTIONS) for name, (oid, mod, _) in COLUMNS.items()
    ]


def message(number: int, nulls: bool) -> bytes:
    fields = b""
    for place, (name, (_, _, made)) in enumerate(COLUMNS.items()):
        is_null = nulls and name in NULLABLE and (number * 31 + place) % 13 == 0
        value = made(number)
        fields += b"\xff\xff\xff\xff" if is_null else struct.pack("!i", len(value)) + value
    return bytes(data_row(struct.pack("!h", len(COLUMNS)) + fields))


def received(numbers: list[int], nulls: bool) -> ReceivedRange:
    raw = np.frombuffer(bytearray().join(message(n, nulls) for n in numbers), np.uint8)
    return ReceivedRange(raw, 0, raw.size, len(numbers), columns())


def decoded(part: Any) -> Any:
    return write_columns([part], _private).seal()


def shifted(numbers: list[int]) -> list[int]:
    """A few come late."""
    late = [number for number in numbers if number % 200 == 0]
    rest = [number for number in numbers if number % 200]
    for number in late:
        rest.insert(min(number + 100, len(rest)), number)
    return rest


ORDERS = {
    "as they are ordered": list(range(ROWS)),
    "a few late": shifted(list(range(ROWS))),
    "at random": random.Random(3).sample(range(ROWS), ROWS),
}


class Copy:
    """A series, and what copies into it."""

    def __init__(self, group: SeriesGroup, writer: Any, key: list[str], order_by: str | None):
        schema = pa.schema([(column.name, column.arrow_type()) for column in columns()])
        self.series = group.series("s", schema, key, order_by, chunk_rows_max=256, overlap_rows=16)
        self._writer = writer
        self._received: ReceivedRows | None = None
        editor = writer.editor("s")

        def made(filling: Any, columns: Any) -> ReceivedRows | None:
            self._received = ReceivedRows.of(filling, columns, editor.shape)
            return self._received

        self.first = FirstCopy(
            editor.filling(), list(COLUMNS), lambda table: None, lambda rows: None, made
        )
        self._batches = InOrder(self.first, decoded)
        self._number = 0

    def put(self, rows: ReceivedRange) -> None:
        """As one statement."""
        self._batches.put(self._number, rows, ROWS, Held(), lambda: False)
        self._batches.end(self._number)
        self._number += 1

    @property
    def taken(self) -> int:
        """Rows that went the short way."""
        return 0 if self._received is None else self._received.taken

    def rows(self) -> list[dict[str, Any]]:
        """Once all were put; each partition is in order."""
        assert self.first.finish() == ROWS
        self._writer.publish()
        found = []
        for key in self.series.partitions():
            table = self.series.frame(**key).arrow()
            if self.series.order_by is not None:
                moments = table[self.series.order_by].to_pylist()
                assert moments == sorted(moments)
            found += table.select(list(COLUMNS)).to_pylist()
        return sorted(found, key=lambda row: row["id"])


def expected(nulls: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = decoded(received(list(range(ROWS)), nulls).scanned()).to_pylist()
    return rows


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("key", "order_by"), [(["k"], "ts"), (["k", "day"], "id"), ([], "day"), ([], None)]
)
def test_rows_as_they_were_received(
    group: SeriesGroup,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    key: list[str],
    order_by: str | None,
) -> None:
    monkeypatch.setattr(filling, "KNOWN_AFTER_ROWS", 500)
    numbers, nulls = ORDERS[order], order_by != "day"
    with group.writer() as writer:
        copy = Copy(group, writer, key, order_by)
        for first in range(0, ROWS, BATCH_ROWS):
            copy.put(received(numbers[first : first + BATCH_ROWS], nulls))
        in_order = order == "as they are ordered" and order_by != "day"
        if in_order or order_by is None:
            assert copy.taken > ROWS // 2  # not the first batch, nor where an extent is full
        assert copy.rows() == expected(nulls)


def test_a_row_that_is_no_row_is_told_by_the_general_way(group: SeriesGroup) -> None:
    with group.writer() as writer:
        copy = Copy(group, writer, ["k"], "ts")
        copy.put(received(list(range(100)), nulls=True))
        broken = received(list(range(100, 200)), nulls=True)
        raw = broken.buffer.copy()
        raw[raw.size - 20] ^= 0xFF  # of the last field's length
        with pytest.raises(ProtocolError, match="row 1, column 'who'"):
            copy.put(broken._replace(buffer=raw))
        assert copy.taken == 99


def test_columns_that_one_row_does_not_say_go_the_general_way(group: SeriesGroup) -> None:
    schema = pa.schema([("id", pa.int64()), ("c", pa.large_string())])
    group.series("s", schema, [], None)
    with group.writer() as writer:
        editor = writer.editor("s")
        several = [source_column("id", 20), source_column("c", 18)]  # "char": may be no text
        assert ReceivedRows.of(editor.filling(), several, editor.shape) is None


def test_both_sides_mean_the_same_by_their_numbers() -> None:
    for name in ("VALIDITY", "VALUES", "DATA", "ROOM", "TARGET_FIELDS"):
        assert getattr(spreading_kernels, name) == getattr(filling_kernels, name)
    for name in ("ROWS", "CAPACITY", "NULLS", "LAST", "HEAD_FIELDS"):
        assert getattr(spreading_kernels, name) == getattr(filling_kernels, name)
