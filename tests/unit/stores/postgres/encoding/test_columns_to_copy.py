"""The encoder for other people's connections: types by name, no server."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, BadValueError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.encoding.columns_to_copy import encode_copy
from plain_copy_encode import encode_plainly


def test_types_are_the_ones_that_a_new_table_would_get() -> None:
    columns = {"a": pa.array([1, None]), "b": ["x", "y"], "c": pa.array([[1.5], []])}

    expected = encode_plainly(pa.table(columns).to_batches()[0], ["int8", "text", "float8[]"])

    assert expected == b"".join(encode_copy(columns))


def test_a_type_can_be_named_as_create_table_spells_it() -> None:
    batch = pa.record_batch({"a": pa.array([Decimal("1.50")], pa.decimal128(8, 2)), "b": [7]})

    found = b"".join(encode_copy(batch, {"a": "NUMERIC (8, 2)", "b": "integer"}))

    assert encode_plainly(batch, ["numeric", "int4"]) == found


def test_a_reader_is_gone_through_batch_by_batch() -> None:
    taken: list[int] = []

    def batches() -> object:
        for number in range(3):
            taken.append(number)
            yield pa.record_batch({"a": [number]})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"a": pa.int64()}), batches())
    pieces = encode_copy(reader)

    next(pieces)
    next(pieces)

    assert taken == [0]
    assert len(b"".join(pieces)) == 2 * 14 + 2


def test_a_bad_value_is_named() -> None:
    with pytest.raises(BadValueError, match="row 2, column 'a': 70000 does not fit into smallint"):
        list(encode_copy({"a": [1, 70_000]}, {"a": "smallint"}))


@pytest.mark.parametrize(
    ("types", "kind", "message"),
    [
        ({"z": "int"}, BadParameterError, "there is no column 'z' among a"),
        ({"a": "inet"}, BadParameterError, "type 'inet' has no binary form that is known"),
        ({"a": "vector[]"}, BadParameterError, "an array of an extension's type"),
        ({"a": "; DROP"}, BadParameterError, "has no binary form"),
        ({"a": "numeric"}, UnsupportedTypeError, "string values are no binary form of numeric"),
        ({"a": "int"}, UnsupportedTypeError, "string values cannot go into a int column"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    types: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        encode_copy({"a": ["x"]}, types)
