"""Tuples of changes as columns, and the hashes of their keys."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import stream_bytes as made
from neural_gpu_bus.errors import ProtocolError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import ReceiveBuffer
from neural_gpu_bus.stores.postgres.replication.key_kernels import siphash_128
from neural_gpu_bus.stores.postgres.replication.transaction_reader import TransactionReader
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges
from neural_gpu_bus.stores.postgres.replication.tuple_rows import key_hashes, rows_of

OID = 10
COLUMNS = [("id", 20, True), ("price", 701, False), ("text", 25, False)]
SECRET = np.frombuffer(bytes(range(16)), np.uint64).copy()
NO_ROWS = np.empty(0, np.int64)


def changes_of(*messages: bytes, columns: Sequence[tuple[str, int, bool]] = COLUMNS) -> RowChanges:
    """Changes of one table."""
    stream = made.begin(900) + made.relation(OID, "t", columns) + b"".join(messages)
    stream += made.commit(900)
    reader = TransactionReader(ReceiveBuffer(1 << 20))
    buffer = reader.walk.buffer
    buffer.view[: len(stream)] = stream
    buffer.stop = len(stream)
    reader.walk.advance()
    changes = reader.take().transactions[0].steps[-1]
    assert isinstance(changes, RowChanges)
    return changes


def float8(value: float) -> bytes:
    return struct.pack("!d", value)


def every(changes: RowChanges) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(len(changes))


def columns_of(changes: RowChanges) -> list[SourceColumn]:
    return [source_column(found.name, found.type_oid) for found in changes.relation.columns]


ROWS = [
    [made.int8(1), float8(0.5), b"one"],
    [made.int8(2), None, None],
    [made.int8(3), float8(-1), b""],
]
INSERTS = [made.insert(OID, row) for row in ROWS]
READ = [
    {"id": 1, "price": 0.5, "text": "one"},
    {"id": 2, "price": None, "text": None},
    {"id": 3, "price": -1.0, "text": ""},
]


def test_new_rows_become_columns() -> None:
    changes = changes_of(*INSERTS)

    table, unchanged = rows_of(changes, "new", every(changes), columns_of(changes), [0, 1, 2])

    assert table.to_pylist() == READ
    assert unchanged is None


def test_some_rows_and_columns_in_any_order() -> None:
    changes = changes_of(*INSERTS)
    columns = [columns_of(changes)[place] for place in (2, 0)]

    table, _ = rows_of(changes, "new", np.array([2, 0, 2]), columns, [2, 0])

    assert table.to_pylist() == [
        {"text": READ[row]["text"], "id": READ[row]["id"]} for row in (2, 0, 2)
    ]


def test_no_rows() -> None:
    changes = changes_of(*INSERTS)

    table, unchanged = rows_of(changes, "new", NO_ROWS, columns_of(changes), [0, 1, 2])

    assert (table.num_rows, table.column_names, unchanged) == (0, ["id", "price", "text"], None)
    assert key_hashes(changes, "new", NO_ROWS, [0]).shape == (0, 2)


def test_old_rows_and_keys() -> None:
    changes = changes_of(
        made.delete(OID, [made.int8(1), None, None]),
        made.update(OID, ROWS[1], ROWS[0], b"O"),
        made.update(OID, ROWS[2]),
    )
    with_old = np.flatnonzero(changes.old_at >= 0)

    table, _ = rows_of(changes, "old", with_old, columns_of(changes), [0, 1, 2])

    assert table.to_pylist() == [{"id": 1, "price": None, "text": None}, READ[0]]


def test_values_that_were_not_sent_are_told_apart_from_null() -> None:
    changes = changes_of(
        made.update(OID, [made.int8(1), None, ...]),
        made.update(OID, [made.int8(2), ..., None]),
        made.update(OID, ROWS[2]),
    )
    columns = columns_of(changes)

    table, unchanged = rows_of(changes, "new", every(changes), columns, [0, 1, 2])
    assert unchanged is not None
    assert unchanged.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert table.column("text").to_pylist() == [None, None, ""]

    _, unchanged = rows_of(changes, "new", every(changes), columns[:1], [0])
    assert unchanged is None


def test_a_wanted_column_that_is_sent_as_text_is_refused_by_name() -> None:
    changes = changes_of(
        made.insert(OID, [made.int8(1), "text of it", b"x"]),
        columns=[("id", 20, True), ("acl", 1033, False), ("text", 25, False)],
    )
    others = [source_column("id", 20), source_column("text", 25)]

    table, _ = rows_of(changes, "new", every(changes), others, [0, 2])
    assert table.to_pylist() == [{"id": 1, "text": "x"}]

    with pytest.raises(UnsupportedTypeError, match=r"column 'acl' of public.t is of the type with"):
        rows_of(changes, "new", every(changes), [source_column("acl", 25)], [1])


def test_a_row_with_other_columns_than_its_table_is_refused() -> None:
    changes = changes_of(INSERTS[0], made.insert(OID, [made.int8(1)]))

    with pytest.raises(ProtocolError, match=r"change 2 of public.t has not the 3 columns"):
        rows_of(changes, "new", every(changes), columns_of(changes)[:1], [0])
    with pytest.raises(ProtocolError, match=r"change 2 of public.t has not the 3 columns"):
        key_hashes(changes, "new", every(changes), [0])


def test_a_value_of_another_width_than_its_type_is_refused() -> None:
    changes = changes_of(made.insert(OID, [b"\0\0\0\1", None, None]))

    with pytest.raises(ProtocolError, match="column 'id'"):
        rows_of(changes, "new", every(changes), columns_of(changes), [0, 1, 2])


def test_a_change_without_the_tuple_is_refused() -> None:
    changes = changes_of(*INSERTS)

    with pytest.raises(ProtocolError, match=r"change 1 of public.t has no old values"):
        rows_of(changes, "old", every(changes), columns_of(changes), [0, 1, 2])
    with pytest.raises(ProtocolError, match=r"change 1 of public.t has no old values"):
        key_hashes(changes, "old", every(changes), [0])


@pytest.mark.parametrize("place", [-1, 3])
def test_a_place_that_the_table_has_not_is_refused(place: int) -> None:
    changes = changes_of(*INSERTS)

    with pytest.raises(ValueError, match="a relation of 3 columns has none at"):
        rows_of(changes, "new", every(changes), columns_of(changes)[:1], [place])
    with pytest.raises(ValueError, match="a relation of 3 columns has none at"):
        key_hashes(changes, "new", every(changes), [place])


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "a3817f04ba25a8e66df67214c7550293"),
        (1, "da87c1d86b99af44347659119b22fc45"),
        (2, "8177228da4a45dc7fca38bdef60affe4"),
    ],
)
def test_the_hash_is_siphash(length: int, expected: str) -> None:
    """Vectors of the authors' reference code."""
    data = np.arange(length, dtype=np.uint8)

    found = np.array(siphash_128(data, SECRET[0], SECRET[1]), np.uint64)

    assert found.tobytes().hex() == expected


def plain_siphash(data: bytes, secret: bytes) -> bytes:
    """The twin: whole numbers, one step a line."""
    mask = (1 << 64) - 1
    first, second = struct.unpack("<QQ", secret)
    v = [first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D ^ 0xEE]
    v += [first ^ 0x6C7967656E657261, second ^ 0x7465646279746573]

    def add(to: int, other: int, bits: int) -> None:
        """Add and turn what was added."""
        v[to] = v[to] + v[other] & mask
        v[other] = (v[other] << bits | v[other] >> 64 - bits) & mask ^ v[to]

    def rounds(count: int) -> None:
        for _ in range(count):
            add(0, 1, 13)
            add(2, 3, 16)
            v[0] = (v[0] << 32 | v[0] >> 32) & mask
            add(2, 1, 17)
            add(0, 3, 21)
            v[2] = (v[2] << 32 | v[2] >> 32) & mask

    rest = len(data) % 8
    whole = data + bytes(7 - rest) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", whole):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return struct.pack("<QQ", low, v[0] ^ v[1] ^ v[2] ^ v[3])


@pytest.mark.parametrize("length", [*range(20), 255, 256, 1000])
def test_the_hash_is_its_twins(length: int) -> None:
    data = np.arange(length).astype(np.uint8)

    found = np.array(siphash_128(data, SECRET[0], SECRET[1]), np.uint64)

    assert found.tobytes() == plain_siphash(data.tobytes(), SECRET.tobytes())


def test_equal_keys_have_equal_hashes_wherever_they_stand() -> None:
    changes = changes_of(
        made.insert(OID, ROWS[0]),
        made.update(OID, [made.int8(1), None, b"other"]),
        made.update(OID, ROWS[1], [made.int8(1), None, None]),
        made.delete(OID, [made.int8(1), None, None]),
    )
    new = key_hashes(changes, "new", np.array([0, 1, 2]), [0], SECRET)
    old = key_hashes(changes, "old", np.array([2, 3]), [0], SECRET)

    assert (new[0] == new[1]).all()
    assert (new[0] == old).all()
    assert (new[0] != new[2]).any()
    assert (key_hashes(changes, "new", np.array([0]), [0]) != new[0]).any()


def test_different_keys_of_several_columns_have_different_hashes() -> None:
    keys: list[list[made.Value]] = [
        [b"ab", b"c"],
        [b"a", b"bc"],
        [b"abc", b""],
        [b"", b"abc"],
        [None, b"abc"],
        [b"abc", None],
        [None, None],
        [b"", b""],
        [b"\0", b""],
        [bytes(8), b""],
        [bytes(9), b""],
    ]
    columns = [("a", 25, True), ("b", 25, True)]
    changes = changes_of(*(made.insert(OID, key) for key in keys), columns=columns)

    hashes = key_hashes(changes, "new", every(changes), [0, 1])
    turned = key_hashes(changes, "new", every(changes), [1, 0])

    assert len({tuple(found) for found in hashes.tolist()}) == len(keys)
    assert (hashes[3] == turned[2]).all()


def test_a_key_that_did_not_change_and_was_not_sent_is_the_old_one() -> None:
    long = b"k" * 3000
    changes = changes_of(
        made.update(OID, [..., None, b"x"], [long, None, None]),
        made.insert(OID, [long, None, None]),
        columns=[("id", 25, True), *COLUMNS[1:]],
    )

    hashes = key_hashes(changes, "new", every(changes), [0])

    assert (hashes[0] == hashes[1]).all()


def test_a_key_that_was_not_sent_at_all_is_refused() -> None:
    changes = changes_of(made.update(OID, [..., None, b"x"]))

    with pytest.raises(ProtocolError, match=r"change 1 of public.t has a key that was not sent"):
        key_hashes(changes, "new", every(changes), [0])
