"""Columns with parts as flat ones and back: any type, any rows, any slice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import ProtocolError, UnsupportedTypeError
from neural_gpu_bus.memory.series.nested_types import (
    COUNT,
    MARK,
    VALUES,
    has_parts,
    row_parts,
    series_type,
)
from neural_gpu_bus.memory.series.putting_together import outermost, put_together
from neural_gpu_bus.memory.series.taking_apart import taken_apart
from random_arrow import random_array, random_type


@pytest.mark.parametrize("seed", range(60))
def test_any_type_goes_there_and_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    given = random_type(random, 3)
    try:
        kind = series_type(given, "x")
    except UnsupportedTypeError:
        return  # of NULLs alone
    array = random_array(random, given, 20)
    for rows in (array, array.slice(3, 9), array.slice(0, 0), array.slice(7, 1)):
        parts = taken_apart(rows, kind, "x")
        assert list(parts) == [part.name for part in row_parts(kind, "x")]
        for part in row_parts(kind, "x"):
            assert parts[part.name].type == part.type
        back = put_together(kind, "x", parts.__getitem__)
        back.validate(full=True)
        assert back.type == kind
        assert repr(back.to_pylist()) == repr(rows.to_pylist())
        if has_parts(kind):
            nulls, bitmap, offsets = outermost(kind, "x", parts.__getitem__)
            assert nulls == back.null_count
            assert (bitmap is None) == (not nulls)
            if offsets is not None:
                own = np.frombuffer(back.buffers()[1], offsets.dtype)
                assert offsets.tolist() == own.tolist()
        few = put_together(kind, "x", lambda name: parts[name].slice(1, 3))  # noqa: B023
        few.validate(full=True)
        assert repr(few.to_pylist()) == repr(rows.to_pylist()[1:4])


def test_equal_values_have_equal_parts() -> None:
    # What lies under NULL is no part of a value: rows are found by bytes.
    kind = series_type(pa.list_(pa.struct([("a", pa.int32()), ("b", pa.string())])), "x")
    values = [[{"a": None, "b": "x"}, None], None, [], [{"a": 2, "b": None}]]
    plain = taken_apart(pa.array(values, kind), kind, "x")
    fields = [pa.array([7, 8, 2]), pa.array(["x", "junk", "more"])]
    mask = [pa.array([True, False, False]), pa.array([False, False, True])]
    items = pa.StructArray.from_arrays(
        [
            pa.array(field.to_pylist(), mask=np.array(m))
            for field, m in zip(fields, mask, strict=True)
        ],
        ["a", "b"],
        mask=pa.array([False, True, False]),
    )
    offsets = pa.array([0, 2, 2, 2, 3], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, items, mask=pa.array([False, True, False, False]))
    assert lists.to_pylist() == values
    other = taken_apart(lists, kind, "x")
    assert all(plain[name].equals(other[name]) for name in plain)


def test_fewer_levels_fit_where_there_are_no_items() -> None:
    kind = series_type(pa.list_(pa.list_(pa.int32())), "x")
    parts = taken_apart(pa.array([[], None], pa.list_(pa.int32())), kind, "x")
    assert put_together(kind, "x", parts.__getitem__).to_pylist() == [[], None]
    with pytest.raises(pa.ArrowNotImplementedError, match="is no"):
        taken_apart(pa.array([[1]], pa.list_(pa.int32())), kind, "x")


def test_parts_that_do_not_agree_are_told() -> None:
    kind = series_type(pa.list_(pa.int32()), "x")
    parts = taken_apart(pa.array([[1, 2], [3]], kind), kind, "x")
    parts["x" + COUNT] = pa.array([2, 2])
    with pytest.raises(ProtocolError, match="parts of column 'x' do not agree: 12 where 16"):
        put_together(kind, "x", parts.__getitem__)


def test_values_stay_where_they_are() -> None:
    kind = series_type(pa.list_(pa.int64()), "x")
    parts = taken_apart(pa.array([[1, 2], [3]], kind), kind, "x")
    values = parts[f"x{MARK}0{VALUES}"].buffers()[2]
    assert put_together(kind, "x", parts.__getitem__).buffers()[3].address == values.address
    assert has_parts(kind)
