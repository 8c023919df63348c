"""A schema's columns and what lies below them, by path."""

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_tree import column_tree, depth_first, one_row

SIDE = pa.dictionary(pa.int8(), pa.string())
NESTED = {
    "list": (pa.list_(pa.field("price", pa.int8())), ["c", "c.price"]),
    "struct": (
        pa.struct([("x", pa.list_(pa.int8())), ("y", SIDE)]),
        ["c", "c.x", "c.x.item", "c.y"],
    ),
    "map": (
        pa.map_(pa.field("from", pa.string(), nullable=False), pa.field("to", pa.int8())),
        ["c", "c.entries", "c.entries.key", "c.entries.value"],
    ),
    "extension": (pa.fixed_shape_tensor(pa.int8(), [2]), ["c", "c.item"]),
}


@pytest.mark.parametrize(("kind", "paths"), NESTED.values(), ids=NESTED)
def test_children_are_named_by_their_paths(kind: pa.DataType, paths: list[str]) -> None:
    tree = column_tree(pa.schema([("c", kind)]))

    assert [column.path for column in depth_first(tree)] == paths


def test_rows_of_children_follow_from_the_type_or_from_offsets() -> None:
    schema = pa.schema(
        [("three", pa.list_(pa.int8(), 3)), ("struct", pa.struct([])), ("list", pa.list_(SIDE))]
    )

    assert [column.each for column in column_tree(schema)] == [3, 1, 0]


def test_an_extension_type_is_its_storage() -> None:
    (column,) = column_tree(pa.schema([("id", pa.uuid())]))

    assert (column.type, column.kind.raw) == ("fixed_size_binary[16]", "|V16")


def test_a_type_deep_inside_is_refused_by_its_path() -> None:
    kind = pa.struct([("x", pa.list_(pa.run_end_encoded(pa.int16(), pa.int8())))])
    with pytest.raises(UnsupportedTypeError, match=r"column 'c\.x\.item' has type run_end_encoded"):
        column_tree(pa.schema([("c", kind)]))


def test_two_children_of_one_name_are_refused() -> None:
    kind = pa.struct([("x", pa.int8()), ("x", pa.int8())])
    with pytest.raises(BadParameterError, match="different names") as caught:
        column_tree(pa.schema([("c", kind)]))
    assert caught.value.hint == "rename ['c.x']"


@pytest.mark.parametrize(("kind", "paths"), NESTED.values(), ids=NESTED)
def test_one_row_has_the_type_and_the_dictionary(kind: pa.DataType, paths: list[str]) -> None:
    values = pa.array(["buy", "sell"])
    row = one_row(kind, "c", {"c.y": values})

    row.validate(full=True)
    assert (row.type, len(row)) == (kind, 1)
    if "c.y" in paths:
        assert row.field(1).dictionary.equals(values)
