"""What is planned is a file that pyarrow, Polars and DuckDB read, and that reads back the same."""

import struct
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.layout.arrow_layout import (
    ALIGNMENT_BYTES,
    UUID_KEY,
    BlockLayout,
    Span,
    column_spans,
    pack_spans,
    plan_block,
)

UUID = "0123456789abcdef" * 2
SCHEMA = pa.schema(
    [
        ("count", pa.int64()),
        ("name", pa.large_string()),
        ("flag", pa.bool_()),
        ("ts", pa.timestamp("us", "UTC")),
        ("price", pa.float64()),
    ],
    metadata={"made": "here"},
)


def _plan(rows: int = 3, **given: dict[str, int]) -> BlockLayout:
    given = {"text_bytes": {"name": 6}, "null_counts": {"count": 1}} | given
    return plan_block(SCHEMA, rows, uuid=UUID, **given)


def _filled() -> bytearray:
    layout = _plan()
    block = bytearray(layout.nbytes)
    block[: len(layout.head)] = layout.head
    block[-len(layout.tail) :] = layout.tail
    spans = {column.name: column for column in layout.columns}

    def fill(span: Span, data: bytes) -> None:
        assert len(data) == span.nbytes
        block[span.offset : span.offset + span.nbytes] = data

    fill(spans["count"].validity, b"\x05")
    fill(spans["count"].values, np.array([1, 0, 3], "<i8").tobytes())
    fill(spans["name"].values, np.array([0, 1, 3, 6], "<i8").tobytes())
    fill(spans["name"].data, b"abbccc")
    fill(spans["flag"].values, b"\x06")
    fill(spans["ts"].values, np.array([0, 1, 2], "<i8").tobytes())
    fill(spans["price"].values, np.array([0.5, np.nan, np.inf], "<f8").tobytes())
    return block


@pytest.fixture
def block_file(tmp_path: Path) -> Path:
    file = tmp_path / "block.arrow"
    file.write_bytes(_filled())
    return file


def test_pyarrow_reads_the_file_mapped(block_file: Path) -> None:
    table = pa.ipc.open_file(pa.memory_map(str(block_file))).read_all()

    table.validate(full=True)
    assert table.schema.equals(SCHEMA)
    assert table.schema.metadata == {b"made": b"here", UUID_KEY: UUID.encode()}
    assert table["count"].to_pylist() == [1, None, 3]
    assert table["name"].to_pylist() == ["a", "bb", "ccc"]
    assert table["flag"].to_pylist() == [False, True, True]
    assert str(table["price"].to_pylist()) == "[0.5, nan, inf]"


def test_polars_reads_the_file_by_path(block_file: Path) -> None:
    assert pl.read_ipc(block_file)["count"].to_list() == [1, None, 3]
    assert pl.scan_ipc(block_file).select("name").collect()["name"].to_list() == ["a", "bb", "ccc"]


def test_duckdb_scans_the_mapped_file(block_file: Path) -> None:
    mapped = pa.ipc.open_file(pa.memory_map(str(block_file))).read_all()

    assert duckdb.from_arrow(mapped).aggregate("sum(count), max(name)").fetchall() == [(4, "ccc")]


def test_every_buffer_starts_on_its_boundary() -> None:
    for column in _plan(rows=100_000).columns:
        for span in (column.validity, column.values, column.data):
            assert span.offset % ALIGNMENT_BYTES == 0


def test_spans_go_into_a_descriptor_and_come_back() -> None:
    columns = _plan().columns
    named = [(column.name, column.type) for column in columns]
    packed = pack_spans(columns)

    assert len(packed) == 56 * len(columns)
    unpacked = [column_spans(packed, place, *one) for place, one in enumerate(named)]
    assert unpacked == list(columns)
    with pytest.raises(struct.error, match="requires a buffer"):
        column_spans(packed, 5, "beyond", "double")


def test_the_uuid_stands_where_the_layout_says() -> None:
    assert _filled()[_plan().uuid_at :][: len(UUID)] == UUID.encode()


def test_a_block_of_no_rows_is_a_table_of_no_rows() -> None:
    layout = plan_block(SCHEMA, 0, uuid=UUID)
    block = layout.head.ljust(layout.nbytes - len(layout.tail), b"\0") + layout.tail
    table = pa.ipc.open_file(pa.py_buffer(block)).read_all()

    table.validate(full=True)
    assert table.num_rows == 0


def test_a_block_of_many_columns_is_read() -> None:
    schema = pa.schema([(f"column_{index}", pa.float64()) for index in range(500)])
    layout = plan_block(schema, 1, uuid=UUID)
    block = layout.head.ljust(layout.nbytes - len(layout.tail), b"\0") + layout.tail

    assert pa.ipc.open_file(pa.py_buffer(block)).read_all().num_columns == 500


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text_bytes": {"nobody": 1}}, "text_bytes says 1 for column 'nobody'"),
        ({"text_bytes": {"name": -1}}, "text_bytes says -1"),
        ({"null_counts": {"count": 4}}, "null_counts says 4 for column 'count' of 3 rows"),
        ({"rows": -1, "null_counts": {}}, "rows is -1"),
    ],
)
def test_bad_counts_are_refused(given: dict[str, dict[str, int]], says: str) -> None:
    with pytest.raises(BadParameterError, match=says):
        _plan(**given)


def test_columns_need_different_names() -> None:
    schema = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    with pytest.raises(BadParameterError, match="different names"):
        plan_block(schema, 1, uuid=UUID)
    with pytest.raises(BadParameterError, match="got none"):
        plan_block(pa.schema([]), 1, uuid=UUID)


def test_a_type_that_does_not_fit_is_refused_by_name() -> None:
    schema = pa.schema([("tags", pa.list_(pa.run_end_encoded(pa.int16(), pa.int8())))])
    with pytest.raises(UnsupportedTypeError, match=r"column 'tags\.item' has type run_end_encoded"):
        plan_block(schema, 1, uuid=UUID)


NESTED = pa.schema(
    [
        ("prices", pa.list_(pa.float64())),
        ("point", pa.struct([("x", pa.int8()), ("tag", pa.string())])),
        ("pairs", pa.list_(pa.int16(), 2)),
        ("side", pa.dictionary(pa.int8(), pa.string())),
        ("gone", pa.null()),
        ("attributes", pa.map_(pa.string(), pa.large_list(pa.bool_()))),
    ]
)
GIVEN: dict[str, Any] = {
    "text_bytes": {"point.tag": 9, "attributes.entries.key": 5},
    "null_counts": {"pairs": 1, "pairs.item": 2, "attributes": 1},
    "list_values": {"prices": 4, "attributes": 2, "attributes.entries.value": 11},
    "dictionaries": {"side": pa.array(["buy", "sell"])},
}


def _nested(**given: Any) -> BlockLayout:
    return plan_block(NESTED, 3, uuid=UUID, **(GIVEN | given))


def test_children_follow_their_column_with_rows_and_bytes_of_their_own() -> None:
    planned = {
        column.spans.name: (
            column.rows,
            column.limit,
            column.spans.nulls,
            column.spans.values.nbytes,
        )
        for column in _nested().planned
    }

    assert planned == {
        "prices": (3, 4, 0, 16),
        "prices.item": (4, 0, 0, 32),
        "point": (3, 0, 0, 0),
        "point.x": (3, 0, 0, 3),
        "point.tag": (3, 9, 0, 16),
        "pairs": (3, 0, 1, 0),
        "pairs.item": (6, 0, 2, 12),
        "side": (3, 2, 0, 3),
        "gone": (3, 0, 3, 0),
        "attributes": (3, 2, 1, 16),
        "attributes.entries": (2, 0, 0, 0),
        "attributes.entries.key": (2, 5, 0, 12),
        "attributes.entries.value": (2, 11, 0, 24),
        "attributes.entries.value.item": (11, 0, 0, 2),
    }
    assert [column.name for column in _nested().columns] == NESTED.names


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dictionaries": {}}, r"values of dictionary column 'side' \(dictionary.* are missing"),
        ({"dictionaries": {"side": pa.array([1])}}, "'side' .* are int64, not string"),
        ({"dictionaries": {"side": pa.array(["buy", None])}}, "'side' .* hold 1 NULLs"),
        ({"dictionaries": {"side": pa.array(["s"] * 129)}}, "'side' .* are 129, more than 128"),
        ({"list_values": {"prices.item": 1, "price": 2}}, "list_values says 2 for column 'price'"),
        (
            {"list_values": {"prices": 2**31}},
            r"list_values says 2147483648 for column 'prices' \(list",
        ),
        (
            {"null_counts": {"pairs.item": 7}},
            "null_counts says 7 for column 'pairs.item' of 6 rows",
        ),
    ],
)
def test_bad_counts_of_children_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParameterError, match=says):
        _nested(**given)


def test_two_paths_that_are_one_are_refused() -> None:
    schema = pa.schema([("a.b", pa.int8()), ("a", pa.struct([("b", pa.int8())]))])
    with pytest.raises(BadParameterError, match="different names") as caught:
        plan_block(schema, 1, uuid=UUID)
    assert caught.value.hint == "rename ['a.b']"


def test_columns_of_nothing_but_null_have_no_buffers() -> None:
    layout = plan_block(pa.schema([("gone", pa.null())]), 5, uuid=UUID)
    block = layout.head + layout.tail

    assert len(block) == layout.nbytes
    assert pa.ipc.open_file(pa.py_buffer(block)).read_all()["gone"].to_pylist() == [None] * 5
