"""The table of types agrees with pyarrow and numpy."""

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_types import TYPES, column_type

ARROW_TYPES = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.string(), pa.binary(), pa.large_string(), pa.large_binary()),
    *(pa.month_day_nano_interval(), pa.null()),
]
DECIMALS = [pa.decimal32(5, 2), pa.decimal64(9, -2), pa.decimal128(38), pa.decimal256(50, 7)]
ITEM = pa.field("a>]", pa.timestamp("us", "UTC"))
NESTED = {
    pa.list_(ITEM): "<i4",
    pa.large_list(ITEM): "<i8",
    pa.list_(ITEM, 3): "",
    pa.struct([ITEM]): "",
    pa.struct([]): "",
    pa.map_(pa.string(), ITEM): "<i4",
    pa.map_(pa.string(), ITEM, keys_sorted=True): "<i4",
}


def test_each_row_is_a_type_as_arrow_spells_it() -> None:
    assert {str(kind) for kind in ARROW_TYPES} == set(TYPES)


@pytest.mark.parametrize("kind", ARROW_TYPES + DECIMALS, ids=str)
def test_widths_are_those_of_arrow(kind: pa.DataType) -> None:
    found = column_type(str(kind), "c")

    if found.form != "null":
        assert np.dtype(found.raw).itemsize == found.item_bytes
    if found.fixed_width:
        assert kind.bit_width == 8 * found.item_bytes
    if found.form == "fixed":
        assert found.adopted == (np.dtype(found.shown).itemsize == found.item_bytes)


def test_time_zones_and_binary_widths_are_parameters() -> None:
    assert column_type("timestamp[us, tz=Europe/Berlin]", "c") == TYPES["timestamp[us]"]
    assert column_type("fixed_size_binary[16]", "c").item_bytes == 16


@pytest.mark.parametrize(("kind", "offsets"), NESTED.items(), ids=lambda kind: str(kind)[:24])
def test_nested_types_tell_the_width_of_their_offsets(kind: pa.DataType, offsets: str) -> None:
    found = column_type(str(kind), "c")

    assert (found.form, found.offsets, found.item_bytes) == ("nested", offsets, 0)


@pytest.mark.parametrize("values", [pa.string(), pa.timestamp("us", "UTC"), pa.decimal64(4)])
@pytest.mark.parametrize("indices", [pa.int8(), pa.uint32(), pa.int64()])
def test_a_dictionary_is_its_indices(indices: pa.DataType, values: pa.DataType) -> None:
    found = column_type(str(pa.dictionary(indices, values, ordered=True)), "c")

    assert (found.form, found.raw) == ("indices", column_type(str(indices), "c").raw)


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (pa.binary(0), "leave the column out"),
        (pa.string_view(), "declare it as large_string"),
        (pa.list_view(pa.int8()), "make it a list"),
        (pa.run_end_encoded(pa.int32(), pa.string()), "run_end_decode"),
        (pa.sparse_union([pa.field("a", pa.int8())]), "a column of its own"),
        (pa.dictionary(pa.int8(), pa.list_(pa.int8())), "cast it to its value type"),
    ],
    ids=str,
)
def test_other_types_are_refused_by_name(kind: pa.DataType, way_out: str) -> None:
    with pytest.raises(
        UnsupportedTypeError, match=r"column 'price' has type .*cannot hold"
    ) as caught:
        column_type(str(kind), "price")

    assert caught.value.column == "price"
    assert caught.value.type == str(kind)
    assert way_out in caught.value.hint
