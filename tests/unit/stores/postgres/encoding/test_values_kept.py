"""Values whose way to the wire is an odd one: each is written as it is, or refused by its row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.postgres.encoding.columns_to_copy import encode_copy
from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.encoding.wire_columns import plan_column
from neural_gpu_bus.stores.postgres.wire.types import PostgresType, TargetColumn

INT8 = PostgresType("int8", "bigint", 20)
TEXT = PostgresType("text", "text", 25)
ARRAY = PostgresType("array", "bigint[]", 1016, element=INT8)
ARRAY_OF_ARRAYS = [[[1, 2], [3, 4]], None, [], [[5], [6]]]


def written(array: pa.Array, type_: PostgresType) -> bytes:
    plan = plan_column(array.type, TargetColumn("v", type_))
    batch = pa.RecordBatch.from_arrays([array], ["v"])
    return b"".join(bytes(piece) for piece in encode([batch], [plan]))


@pytest.mark.parametrize(
    "values",
    [
        [None, [1]],
        [[1, 2], [3]],
        [[1, 2], None, [], [None, 3], [4]],
        [None, None],
        [[], [7]],
    ],
    ids=str,
)
@pytest.mark.parametrize("view", [pa.list_view, pa.large_list_view])
def test_views_of_lists_are_the_lists(values: list[list[int] | None], view: type) -> None:
    viewed = pa.array(values, view(pa.int64()))
    padded = pa.array([[9], *values, [8]], view(pa.int64())).slice(1, len(values))

    expected = written(pa.array(values, pa.list_(pa.int64())), ARRAY)

    assert written(viewed, ARRAY) == expected
    assert written(padded, ARRAY) == expected


def test_views_in_any_order_over_the_same_items() -> None:
    viewed = pa.ListViewArray.from_arrays(
        pa.array([2, 0, 1], pa.int32()), pa.array([1, 2, 2], pa.int32()), pa.array([10, 20, 30])
    )

    expected = written(pa.array([[30], [10, 20], [20, 30]]), ARRAY)

    assert written(viewed, ARRAY) == expected


def test_views_of_views() -> None:
    viewed = pa.array(ARRAY_OF_ARRAYS, pa.list_view(pa.list_view(pa.int64())))

    assert written(viewed, ARRAY) == written(pa.array(ARRAY_OF_ARRAYS), ARRAY)


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, -(2**55)])
def test_a_duration_beyond_64_bits_of_microseconds_is_refused(unit: str, value: int) -> None:
    spans = pa.array(np.array([5, value], np.int64)).view(pa.duration(unit))

    with pytest.raises(BadValueError, match=r"row 2, column 'v': .* is longer than 64 bits of us"):
        written(spans, PostgresType("interval", "interval", 1186))


def test_the_longest_durations_are_kept() -> None:
    limit = (2**63 - 1) // 1_000_000
    spans = pa.array(np.array([-limit, limit], np.int64)).view(pa.duration("s"))

    out = written(spans, PostgresType("interval", "interval", 1186))

    assert (-limit * 1_000_000).to_bytes(8, signed=True) in out
    assert (limit * 1_000_000).to_bytes(8, signed=True) in out


@pytest.mark.parametrize(
    ("view", "plain", "kind"),
    [
        (pa.string_view(), pa.string(), "text"),
        (pa.binary_view(), pa.binary(), "bytea"),
    ],
    ids=str,
)
def test_dictionaries_and_runs_of_views(view: pa.DataType, plain: pa.DataType, kind: str) -> None:
    values = pa.array(["a", "longer than twelve bytes"], plain)
    codes, ends = pa.array([1, 0, None, 1]), pa.array([1, 3], pa.int32())
    type_ = PostgresType(kind, kind)

    coded = pa.DictionaryArray.from_arrays(codes, values.cast(view))
    runs = pa.RunEndEncodedArray.from_arrays(ends, values.cast(view))

    assert written(coded, type_) == written(values.take(codes), type_)
    assert written(runs, type_) == written(values.take(pa.array([0, 1, 1])), type_)


def test_structs_with_views_and_null() -> None:
    fields = (("a", TEXT), ("b", INT8))
    type_ = PostgresType("composite", "pair", 1, fields=fields)
    values = [{"a": "x" * 20, "b": 1}, None, {"a": None, "b": 2}]
    plain = pa.array(values, pa.struct([("a", pa.string()), ("b", pa.int64())]))
    viewed = pa.array(values, pa.struct([("a", pa.string_view()), ("b", pa.int64())]))

    assert written(viewed, type_) == written(plain, type_)


VARCHAR = PostgresType("varchar", "character varying(3)", 1043, 7)


@pytest.mark.parametrize(
    ("texts", "row"), [(["abc", "abc   "], 2), (["ééé "], 1), (["    "], 1), ([None, "ab  "], 2)]
)
def test_blanks_that_varchar_would_cut_are_refused(texts: list[str], row: int) -> None:
    message = rf"row {row}, column 'v': .* PostgreSQL would cut the blanks at its end"
    with pytest.raises(BadValueError, match=message):
        written(pa.array(texts), VARCHAR)


@pytest.mark.parametrize("texts", [["abc", "ab ", "ééé", "   ", "", None], ["too long"]])
def test_texts_that_varchar_takes_or_refuses_itself(texts: list[str]) -> None:
    assert written(pa.array(texts), VARCHAR)


def test_blanks_inside_of_arrays_and_of_columns_for_others_connections() -> None:
    array = PostgresType("array", "character varying(3)[]", 1015, 7, element=VARCHAR)

    with pytest.raises(BadValueError, match=r"row 2, .* would cut the blanks at its end"):
        written(pa.array([["ab"], ["abc", "abc "]]), array)
    with pytest.raises(BadValueError, match=r"row 1, .* would cut the blanks at its end"):
        list(encode_copy({"v": ["abc "]}, {"v": "varchar(3)"}))
