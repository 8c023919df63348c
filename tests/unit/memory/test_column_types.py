"""The table of types agrees with pyarrow and numpy."""

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory.column_types import TYPES, column_type

ARROW_TYPES = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.large_string(), pa.large_binary()),
]


def test_each_row_is_a_type_as_arrow_spells_it() -> None:
    assert {str(kind) for kind in ARROW_TYPES} == set(TYPES)


@pytest.mark.parametrize("kind", ARROW_TYPES, ids=str)
def test_widths_are_those_of_arrow(kind: pa.DataType) -> None:
    found = column_type(str(kind), "c")

    assert np.dtype(found.raw).itemsize == found.item_bytes
    if found.form == "fixed":
        assert kind.bit_width == 8 * found.item_bytes
        assert found.adopted == (np.dtype(found.shown).itemsize == found.item_bytes)


def test_time_zones_and_binary_widths_are_parameters() -> None:
    assert column_type("timestamp[us, tz=Europe/Berlin]", "c") == TYPES["timestamp[us]"]
    assert column_type("fixed_size_binary[16]", "c").item_bytes == 16


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.list_(pa.int64()), pa.decimal128(5), pa.binary(0), pa.null(), pa.struct([])],
    ids=str,
)
def test_other_types_are_refused_by_name(kind: pa.DataType) -> None:
    with pytest.raises(
        UnsupportedTypeError, match=r"column 'price' has type .*cannot hold"
    ) as caught:
        column_type(str(kind), "price")

    assert caught.value.column == "price"
    assert caught.value.type == str(kind)
