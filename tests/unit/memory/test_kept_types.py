"""Types stay what they are, but for views and for what 32 bits do not reach."""

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.memory.writing.kept_types import kept_table

VIEW, LARGE = pa.string_view(), pa.large_string()


def kept(column: object) -> pa.DataType:
    return kept_table({"c": column}).schema.field("c").type


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pa.string(), pa.string()),
        (VIEW, LARGE),
        (pa.binary_view(), pa.large_binary()),
        (pa.dictionary(pa.int8(), VIEW, ordered=True), pa.dictionary(pa.int8(), LARGE, True)),
        (pa.list_(VIEW), pa.list_(LARGE)),
        (pa.list_(VIEW, 2), pa.list_(LARGE, 2)),
        (pa.large_list(pa.field("own", VIEW)), pa.large_list(pa.field("own", LARGE))),
        (pa.struct([("x", pa.list_(VIEW))]), pa.struct([("x", pa.list_(LARGE))])),
        (pa.map_(VIEW, VIEW, keys_sorted=True), pa.map_(LARGE, LARGE, keys_sorted=True)),
    ],
    ids=str,
)
def test_views_become_large_and_nothing_else_changes(
    given: pa.DataType, expected: pa.DataType
) -> None:
    assert kept(pa.nulls(2, given)) == expected


def test_a_table_of_plain_columns_is_the_very_same() -> None:
    table = pa.table({"n": [1, 2], "t": ["a", None]})

    assert kept_table(table) is table


def test_metadata_stays() -> None:
    field = pa.field("c", VIEW, metadata={"unit": "EUR"})
    table = kept_table(pa.table([pa.nulls(2, VIEW)], pa.schema([field], {"made": "here"})))

    assert table.schema.metadata == {b"made": b"here"}
    assert table.schema.field("c").metadata == {b"unit": b"EUR"}


def test_texts_and_lists_that_32_bits_do_not_reach_become_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neural_gpu_bus.memory.writing.kept_types.OFFSET_MAX", 3)
    for values, wide in (
        (["ab"], pa.large_string()),
        ([b"ab"], pa.large_binary()),
        ([[1, 2]], pa.large_list(pa.int64())),
    ):
        assert kept_table({"c": pa.chunked_array([values, values])}).schema.types == [wide]
        assert kept_table({"c": pa.chunked_array([values, values[:0]])}).schema.types != [wide]


def test_nan_stays_nan_and_nat_is_null() -> None:
    table = kept_table({"x": np.array([1.0, np.nan]), "ts": np.array([1, "NaT"], "M8[us]")})

    assert table["x"].null_count == 0
    assert table["ts"].null_count == 1
