"""Filling in place: what is writable, what sealing checks, and what it leaves."""

import gc
import stat
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, BadValueError, ColumnNotFoundError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.writing.reservation import BlockReservation

SCHEMA = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("t", pa.large_string())])


def _reserve(memory: UnifiedMemory) -> BlockReservation:
    return memory.reserve(SCHEMA, 3, text_bytes={"t": 4}, null_counts={"n": 1, "x": 1})


def _fill(reservation: BlockReservation) -> None:
    reservation.values("n")[:] = [1, 0, 3]
    reservation.validity("n")[:] = 0b101
    reservation.values("x")[:] = [0.5, 0, 1.5]
    reservation.validity("x")[:] = 0b101
    reservation.offsets("t")[:] = [0, 1, 1, 4]
    reservation.data("t")[:] = list(b"abcd")


def test_what_is_filled_is_what_is_read(memory: UnifiedMemory) -> None:
    reservation = _reserve(memory)
    _fill(reservation)
    frame = reservation.seal()

    assert frame.arrow().to_pydict() == {
        "n": [1, None, 3],
        "x": [0.5, None, 1.5],
        "t": ["a", "", "bcd"],
    }
    assert np.isnan(frame["x"][1])


@pytest.mark.parametrize("rows", [1.5, "3", True, -1])
def test_rows_are_a_whole_number(memory: UnifiedMemory, rows: Any) -> None:
    with pytest.raises(BadParameterError, match=r"rows is .*: expected a whole number, 0 or more"):
        memory.reserve(SCHEMA, rows)


def test_what_was_written_under_null_is_gone(memory: UnifiedMemory) -> None:
    schema = pa.schema(
        [("n", pa.int64()), ("b", pa.bool_()), ("f", pa.binary(2)), ("d", pa.date32())]
    )
    reservation = memory.reserve(schema, 3, null_counts=dict.fromkeys(schema.names, 1))
    for name in schema.names:
        reservation.validity(name)[:] = 0b101
        reservation.values(name).view("u1")[:] = 0xFF
    frame = reservation.seal()

    assert frame.values("n").tolist() == [-1, 0, -1]
    assert frame.values("b").tolist() == [0b101]
    assert frame.values("f").tolist() == [b"\xff\xff", b"\0\0", b"\xff\xff"]
    assert frame.values("d").tolist() == [-1, 0, -1]


def test_reserved_memory_reads_as_zeros_and_has_its_shape(memory: UnifiedMemory) -> None:
    reservation = _reserve(memory)

    assert reservation.rows == 3
    assert reservation.schema == SCHEMA
    assert reservation.values("n").tolist() == [0, 0, 0]
    assert reservation.offsets("t").shape == (4,)
    assert reservation.data("t").shape == (4,)
    assert reservation.validity("t") is None


def test_sealed_arrays_and_files_are_read_only(memory: UnifiedMemory) -> None:
    reservation = _reserve(memory)
    _fill(reservation)
    values = reservation.values("n")
    frame = reservation.seal()

    with pytest.raises(ValueError, match="read-only"):
        values[0] = 9
    with pytest.raises(ValueError, match="read-only"):
        frame.values("n")[0] = 9
    assert stat.S_IMODE((memory.folder / frame.descriptor.path).stat().st_mode) == 0o400


@pytest.mark.parametrize("step", ["seal", "abandon"])
def test_nothing_can_be_filled_afterwards(memory: UnifiedMemory, step: str) -> None:
    reservation = _reserve(memory)
    _fill(reservation)
    frame = getattr(reservation, step)()

    with pytest.raises(BadParameterError, match="is sealed or abandoned"):
        reservation.values("n")
    with pytest.raises(BadParameterError, match="is sealed or abandoned"):
        reservation.seal()
    reservation.abandon()
    assert frame is None or (memory.folder / frame.descriptor.path).exists()


@pytest.mark.parametrize("how", ["abandon", "forget"])
def test_a_reservation_that_is_not_sealed_gives_its_memory_back(
    memory: UnifiedMemory, how: str
) -> None:
    reservation = _reserve(memory)
    assert memory.statistics().bytes_used > 0
    if how == "abandon":
        reservation.abandon()
    del reservation
    gc.collect()

    assert (memory.statistics().bytes_used, memory.statistics().blocks) == (0, 0)


@pytest.mark.parametrize(
    ("column", "part", "wrong", "says"),
    [
        ("n", "validity", [0b001], "'n' has 2 NULLs where 1 were reserved"),
        ("x", "validity", [0b111], "'x' has 0 NULLs where 1 were reserved"),
        ("t", "offsets", [1, 1, 1, 4], "offsets of column 't' run from 1 to 4 over 4 bytes"),
        ("t", "offsets", [0, 1, 1, 5], "offsets of column 't' run from 0 to 5 over 4 bytes"),
        ("t", "offsets", [0, 3, 1, 4], "or fall"),
    ],
)
def test_a_block_that_would_mislead_readers_is_not_sealed(
    memory: UnifiedMemory, column: str, part: str, wrong: list[int], says: str
) -> None:
    reservation = _reserve(memory)
    _fill(reservation)
    getattr(reservation, part)(column)[:] = wrong

    with pytest.raises(BadValueError, match=says) as caught:
        reservation.seal("bars")
    assert caught.value.column == column
    assert memory.names() == []


NESTED = pa.schema(
    [
        ("prices", pa.large_list(pa.field("item", pa.float32()))),
        ("tags", pa.list_(pa.string())),
        ("side", pa.dictionary(pa.int8(), pa.string(), ordered=True)),
        ("cost", pa.decimal64(9, 2)),
        ("point", pa.struct([("x", pa.int16())])),
        ("gone", pa.null()),
    ]
)


def _reserve_nested(memory: UnifiedMemory) -> BlockReservation:
    reservation = memory.reserve(
        NESTED,
        3,
        text_bytes={"tags.item": 3},
        null_counts={"side": 1, "point.x": 1},
        list_values={"prices": 4, "tags": 2},
        dictionaries={"side": pa.array(["buy", "sell"])},
    )
    reservation.offsets("prices")[:] = [0, 1, 1, 4]
    reservation.values("prices.item")[:] = [0.5, 1.5, 2.5, 3.5]
    reservation.offsets("tags")[:] = [0, 0, 2, 2]
    reservation.offsets("tags.item")[:] = [0, 1, 3]
    reservation.data("tags.item")[:] = list(b"abc")
    reservation.values("side")[:] = [1, 99, 0]
    reservation.validity("side")[:] = 0b101
    reservation.values("cost")[:] = [125, -50, 0]
    reservation.values("point.x")[:] = [7, 8, 9]
    reservation.validity("point.x")[:] = 0b110
    return reservation


def test_children_are_filled_by_their_paths(memory: UnifiedMemory) -> None:
    table = _reserve_nested(memory).seal().arrow()

    table.validate(full=True)
    assert table.schema.equals(NESTED)
    assert table.to_pydict() == {
        "prices": [[0.5], [], [1.5, 2.5, 3.5]],
        "tags": [[], ["a", "bc"], []],
        "side": ["sell", None, "buy"],
        "cost": [Decimal("1.25"), Decimal("-0.50"), Decimal("0.00")],
        "point": [{"x": None}, {"x": 8}, {"x": 9}],
        "gone": [None] * 3,
    }


def test_offsets_are_as_wide_as_their_type_says(memory: UnifiedMemory) -> None:
    reservation = _reserve_nested(memory)

    assert reservation.offsets("prices").dtype == np.int64
    assert reservation.offsets("tags").dtype == np.int32
    assert reservation.offsets("tags.item").dtype == np.int32


@pytest.mark.parametrize(
    ("place", "wrong", "says", "row"),
    [
        (("prices", "offsets"), [0, 1, 1, 5], "'prices' run from 0 to 5 over 4 values, or fall", 3),
        (("prices", "offsets"), [0, 3, 1, 4], "'prices' run from 0 to 4 over 4 values, or fall", 2),
        (("tags.item", "offsets"), [0, 1, 4], "'tags.item' run from 0 to 4 over 3 bytes", 2),
        (("side", "values"), [1, 0, 2], "index 2 in row 3 of column 'side' is none of its .* 2", 3),
        (("side", "values"), [-1, 0, 1], "index -1 in row 1 of column 'side' is none of its", 1),
        (("point.x", "validity"), [0b111], "'point.x' has 0 NULLs where 1 were reserved", 1),
    ],
)
def test_children_that_would_mislead_readers_are_not_sealed(
    memory: UnifiedMemory, place: tuple[str, str], wrong: list[int], says: str, row: int
) -> None:
    column, part = place
    reservation = _reserve_nested(memory)
    getattr(reservation, part)(column)[:] = wrong

    with pytest.raises(BadValueError, match=says) as caught:
        reservation.seal("bars")
    assert (caught.value.column, caught.value.row) == (column, row)


def test_a_dictionary_of_no_values_is_for_nulls_alone(memory: UnifiedMemory) -> None:
    schema = pa.schema([("c", pa.dictionary(pa.int8(), pa.string()))])
    none = {"dictionaries": {"c": pa.array([], pa.string())}}
    table = memory.reserve(schema, 2, null_counts={"c": 2}, **none).seal().arrow()

    assert table["c"].to_pylist() == [None, None]
    with pytest.raises(BadValueError, match=r"index 0 in row 1 of column 'c' .* dictionary's 0"):
        memory.reserve(schema, 2, **none).seal()


def test_text_may_take_less_than_reserved(memory: UnifiedMemory) -> None:
    reservation = memory.reserve(pa.schema([("t", pa.large_string())]), 2, text_bytes={"t": 1000})
    reservation.offsets("t")[:] = [0, 1, 2]
    reservation.data("t")[:2] = list(b"ab")

    assert reservation.seal()["t"].tolist() == ["a", "b"]


def test_wrong_columns_are_named(memory: UnifiedMemory) -> None:
    reservation = _reserve(memory)

    with pytest.raises(ColumnNotFoundError, match="no column 'y' is reserved"):
        reservation.values("y")
    with pytest.raises(BadParameterError, match="'n' is int64, which has no offsets"):
        reservation.offsets("n")
    with pytest.raises(BadParameterError, match="'n' is int64, which has no bytes of text"):
        reservation.data("n")
    with pytest.raises(BadParameterError, match="'t' is large_string, which has no values"):
        reservation.values("t")
