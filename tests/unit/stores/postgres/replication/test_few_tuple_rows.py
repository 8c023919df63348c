"""A few rows hold the same as the general way makes of them, or are left to that."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import stream_bytes as made
from neural_gpu_bus.errors import ProtocolError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication.few_tuple_rows import FEW_ROWS_MAX, FewRows
from neural_gpu_bus.stores.postgres.replication.prepared_columns import PreparedColumns
from neural_gpu_bus.stores.postgres.replication.prepared_kernels import NULLS, write_prepared
from neural_gpu_bus.stores.postgres.replication.transaction_reader import TransactionReader
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges
from neural_gpu_bus.stores.postgres.replication.tuple_rows import rows_of

OID, SEED = 10, 7
#: Name, type, and bytes of a value out of a random number.
TYPES: list[tuple[str, int, Any]] = [
    ("bool", 16, lambda n: bytes([n % 2])),
    ("int2", 21, lambda n: struct.pack("!h", n % 30_000)),
    ("int4", 23, lambda n: struct.pack("!i", n)),
    ("int8", 20, lambda n: struct.pack("!q", -n)),
    ("float4", 700, lambda n: struct.pack("!f", n / 3)),
    ("float8", 701, lambda n: struct.pack("!d", n / 7)),
    ("text", 25, lambda n: ("é" * (n % 70)).encode()),
    ("bytea", 17, lambda n: bytes(n % 5)),
    ("jsonb", 3802, lambda n: b"\1" + str(n).encode()),
    ("date", 1082, lambda n: struct.pack("!i", n % 10_000)),
    ("time", 1083, lambda n: struct.pack("!q", n)),
    ("timestamptz", 1184, lambda n: struct.pack("!q", n * 1_000)),
    ("interval", 1186, lambda n: struct.pack("!qii", n, n % 31, n % 12)),
    ("uuid", 2950, lambda n: struct.pack("!qq", n, n)),
    ("numeric", 1700, lambda n: struct.pack("!hhhhh", 1, 0, 0, 0, n % 10_000)),
]
PLAIN = ReadOptions(texts="plain")
COLUMNS = [source_column(name, oid, options=PLAIN) for name, oid, _ in TYPES]
PLACES = list(range(len(TYPES)))


def changes_of(rows: Sequence[Sequence[bytes | None]]) -> RowChanges:
    columns = [(name, oid, False) for name, oid, _ in TYPES]
    stream = made.begin(900) + made.relation(OID, "t", columns)
    stream += b"".join(made.insert(OID, list(row)) for row in rows) + made.commit(900)
    reader = TransactionReader(ReceiveBuffer(1 << 20))
    buffer = reader.walk.buffer
    buffer.view[: len(stream)] = stream
    buffer.stop = len(stream)
    reader.walk.advance()
    changes = reader.take().transactions[0].steps[-1]
    assert isinstance(changes, RowChanges)
    return changes


def random_rows(count: int, nulls: float) -> list[list[bytes | None]]:
    random = np.random.default_rng([SEED, count])
    return [
        [
            None if random.random() < nulls else value(int(random.integers(1 << 24)))
            for _, _, value in TYPES
        ]
        for _ in range(count)
    ]


def both(
    changes: RowChanges, columns: Sequence[SourceColumn], places: list[int]
) -> tuple[pa.Table, pa.Table]:
    every = np.arange(len(changes))
    few = FewRows.of(columns)
    assert few is not None
    found = rows_of(changes, "new", every, columns, places, few=few)[0]
    return found, rows_of(changes, "new", every, columns, places)[0]


@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, 65])
def test_every_type_is_as_the_general_way_has_it(count: int, nulls: float) -> None:
    changes = changes_of(random_rows(count, nulls))
    found, expected = both(changes, COLUMNS, PLACES)
    assert found.schema == expected.schema
    assert found.equals(expected)
    found.validate(full=True)


def test_the_same_reader_takes_batch_after_batch() -> None:
    few = FewRows.of(COLUMNS)
    for count in (3, 40, 1):
        changes = changes_of(random_rows(count, 0.2))
        every = np.arange(count)
        found = rows_of(changes, "new", every, COLUMNS, PLACES, few=few)[0]
        assert found.equals(rows_of(changes, "new", every, COLUMNS, PLACES)[0])


def test_a_faulty_value_is_told_by_the_general_way() -> None:
    rows = random_rows(2, 0.0)
    rows[1][3] = b"short"
    changes, few = changes_of(rows), FewRows.of(COLUMNS)
    with pytest.raises(ProtocolError, match="int8"):
        rows_of(changes, "new", np.arange(2), COLUMNS, PLACES, few=few)


def test_types_with_parts_and_dictionaries_are_left_out() -> None:
    assert FewRows.of([source_column("several", 1007, options=PLAIN)]) is None
    assert FewRows.of([source_column("text", 25)]) is None
    assert FewRows.of([source_column("byte", 18, options=PLAIN)]) is None
    assert FewRows.of([]) is None
    assert FEW_ROWS_MAX >= 1


def prepared(columns: PreparedColumns, changes: RowChanges) -> bool:
    places = columns.places(changes.relation)
    return bool(
        write_prepared(
            *(changes.buffer, changes.new_at, len(changes.relation.columns), places),
            *columns.arguments,
        )
    )


def test_prepared_columns_take_batch_after_batch() -> None:
    columns = PreparedColumns.of(COLUMNS)
    assert columns is not None
    for count, nulls in ((64, 0.0), (3, 0.3), (40, 1.0), (1, 0.0)):
        changes = changes_of(random_rows(count, nulls))
        expected = rows_of(changes, "new", np.arange(count), COLUMNS, PLACES)[0].combine_chunks()

        assert prepared(columns, changes)
        for number, name in enumerate(expected.column_names):
            parts = [
                part and pa.py_buffer(columns.memory.data[part[0] : part[0] + part[1]])
                for part in columns.stretches[number]
            ]
            found = pa.Array.from_buffers(expected.schema.field(name).type, count, parts)
            assert found.equals(expected[name].chunk(0))
            assert found.null_count == columns.counts[NULLS, number]


def test_prepared_columns_leave_what_they_have_no_room_for() -> None:
    columns = PreparedColumns.of(COLUMNS)
    assert columns is not None
    assert not prepared(columns, changes_of(random_rows(65, 0.0)))
    rows = random_rows(2, 0.0)
    rows[1][[name for name, _, _ in TYPES].index("text")] = b"x" * 70_000
    assert not prepared(columns, changes_of(rows))
    rows = random_rows(2, 0.0)
    rows[1][3] = b"short"
    assert not prepared(columns, changes_of(rows))
    assert prepared(columns, changes_of(random_rows(2, 0.0)))
    assert PreparedColumns.of([source_column("text", 25)]) is None
