"""Windows on frames: rows and columns chosen without a copy, over a block and over another source.

``source`` is a plain Arrow file: what holds for it shows that a frame needs nothing of blocks.
"""

import ctypes
import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    ColumnNotFoundError,
    UnsupportedTypeError,
)
from neural_gpu_bus.memory import Frame, UnifiedMemory
from plain_frame_source import PlainFrameSource, write_source

ROWS = 100
NUMBERS = {name: np.arange(ROWS) * scale for name, scale in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
HOLED = [None if row % 10 == 3 else row for row in range(ROWS)]


def _table() -> pa.Table:
    return pa.table(
        NUMBERS
        | {
            "flag": pa.array([row % 3 == 0 for row in range(ROWS)]),
            "holed flag": pa.array([None if row % 7 == 1 else row % 2 == 0 for row in range(ROWS)]),
            "holed": pa.array(HOLED, pa.int64()),
            "text": pa.array([f"t{row}" * (row % 4) for row in range(ROWS)], pa.large_string()),
        }
    )


@pytest.fixture
def frame(memory: UnifiedMemory) -> Frame:
    return memory.put("bars", _table())


@pytest.fixture
def source(tmp_path: Path) -> PlainFrameSource:
    return write_source(tmp_path / "source.arrow", _table())


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize(
    "rows",
    [slice(10, 20), slice(-10, None), slice(None), slice(95, 200), slice(50, 40), slice(3, 4, 1)],
    ids=str,
)
def test_rows_by_a_slice_as_python_slices(frame: Frame, rows: slice) -> None:
    part = frame[rows]

    assert part["a"].tolist() == NUMBERS["a"][rows].tolist()
    assert part["text"].tolist() == frame["text"][rows].tolist()
    assert part.rows == len(NUMBERS["a"][rows])
    if part.rows:
        assert _address(part["a"]) == _address(frame["a"]) + rows.indices(ROWS)[0] * 8


def test_slices_of_slices(frame: Frame) -> None:
    part = frame[10:60][5:][:-5]

    assert part["a"].tolist() == NUMBERS["a"][15:55].tolist()
    assert part.head(2)["a"].tolist() == [15, 16]
    assert part.tail(2)["a"].tolist() == [53, 54]
    assert part.slice(3, 2)["a"].tolist() == [18, 19]
    assert part.slice(38)["a"].tolist() == [53, 54]
    assert part.tail(1_000) == part
    assert np.shares_memory(part["a"], part["a"])


def test_columns_are_chosen_in_any_order(frame: Frame) -> None:
    part = frame[["c", "a"]][1:3]

    assert list(part) == ["c", "a"]
    assert len(part) == 2
    assert part.types == {"c": "double", "a": "double"}
    assert part.arrow().column_names == ["c", "a"]
    assert part == frame.select("c", "a")[1:3]
    assert part != frame.select("a", "c")[1:3]
    with pytest.raises(ColumnNotFoundError, match=r"no column 'b' in 'bars'.*\n.*\['c', 'a'\]"):
        part["b"]
    with pytest.raises(ColumnNotFoundError, match="no column 'b'"):
        part.select("b")


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda frame: frame[::2], r"steps of 2 .*\nhint: .*frame\[name\]\[::2\]"),
        (lambda frame: frame[::-1], "steps of -1"),
        (lambda frame: frame[5], r"5 is neither .*\nhint: .*frame\[100:200\]"),
        (lambda frame: frame[np.arange(3) > 1], "is neither a column's name nor rows"),
        (lambda frame: frame[[]], r"\[\] are no columns to choose"),
        (lambda frame: frame[["a", "a"]], "are no columns to choose"),
        (lambda frame: frame.slice(-3, 2), r"start is -3.*\nhint: .*frame.tail"),
        (lambda frame: frame.slice("a"), "start is 'a': expected a whole number"),
        (lambda frame: frame.slice(0, 1.5), "rows is 1.5: expected a whole number"),
        (lambda frame: frame.head(-1), "rows is -1: expected a whole number"),
        (lambda frame: frame.head(True), "rows is True: expected a whole number"),
        (lambda frame: frame.tail("3"), "rows is '3': expected a whole number"),
        (lambda frame: frame[1:].descriptor, r"no block of their own\nhint: .*plane\.put\("),
    ],
)
def test_what_is_no_window_is_an_error_with_a_way_out(frame: Frame, use: Any, says: str) -> None:
    with pytest.raises(BadParameterError, match=says):
        use(frame)


@pytest.mark.parametrize("start", range(10))
def test_bits_from_the_middle_of_a_byte(frame: Frame, start: int) -> None:
    part = frame[start : start + 13]
    expected = _table().slice(start, 13)

    assert part["flag"].tolist() == expected["flag"].to_pylist()
    bits = np.unpackbits(part.values("flag"), bitorder="little")
    assert bits[:13].tolist() == part["flag"].tolist()
    assert not bits[13:].any()
    for name in ("holed flag", "holed"):
        valid = part.valid(name)
        assert valid is not None
        assert valid.tolist() == expected[name].is_valid().to_pylist()
    assert part.arrow().equals(expected)


def test_nulls_are_those_of_the_window(frame: Frame, source: PlainFrameSource) -> None:
    for whole in (frame, Frame(source)):
        assert whole[4:13]["holed"].tolist() == list(range(4, 13))
        assert whole[4:13].valid("holed") is None
        with pytest.raises(UnsupportedTypeError, match=r"'holed' \(int64\) has 2 NULLs"):
            whole[4:24]["holed"]
        assert whole[3:6].values("holed").tolist()[1:] == [4, 5]


def test_text_of_a_slice(frame: Frame) -> None:
    part = frame[10:20]

    assert bytes(part.values("text")).decode() == "".join(part["text"])
    codes, texts = part.codes("text")
    assert [texts[code] for code in codes] == part["text"].tolist()


def test_bytes_of_a_slice_are_its_own(frame: Frame) -> None:
    assert frame.nbytes == frame.descriptor.nbytes
    assert frame.select("a")[:10].nbytes == 80
    assert frame.select("flag")[:10].nbytes == 2
    assert frame.select("holed")[:10].nbytes == 82
    assert frame.select("text")[:4].nbytes == 5 * 8 + len("t1" + "t2t2" + "t3t3t3")


def test_equal_rows_have_one_digest(memory: UnifiedMemory, source: PlainFrameSource) -> None:
    digests = set()
    for start in range(0, 80, 20):  # of a slice from within a byte, and of a block of those rows
        part = Frame(source)[start + 3 : start + 17]
        assert part.digest() == memory.share(_table().slice(start + 3, 14)).digest()
        digests.add(part.digest())
    assert len(digests) == 4


def test_what_lies_under_null_is_no_part_of_a_slice_s_digest(tmp_path: Path) -> None:
    bitmap = pa.py_buffer(bytes([0b1101]))
    frames = []
    for place, (number, text) in enumerate([(7, b"abXXc"), (9, b"abYYc")]):
        numbers = pa.py_buffer(np.array([1, number, 3, 4]))
        offsets = pa.py_buffer(np.array([0, 2, 4, 5, 5]))
        columns = {
            "x": pa.Array.from_buffers(pa.int64(), 4, [bitmap, numbers]),
            "t": pa.Array.from_buffers(pa.large_string(), 4, [bitmap, offsets, pa.py_buffer(text)]),
        }
        frames.append(Frame(write_source(tmp_path / f"{place}", pa.table(columns))))

    assert frames[0].digest() == frames[1].digest()
    assert frames[0][:3].digest() == frames[1][:3].digest() != frames[0].digest()


NESTED = {
    "list": pa.array([[1, 2], None, [], [3, None]] * 5, pa.list_(pa.int64())),
    "dictionary": pa.array(["b", None, "a", "b"] * 5).dictionary_encode(),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 2, "b": None}] * 5),
    "map": pa.array([[("k", 1)], None, [], [("l", 2)]] * 5, pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("kind", NESTED)
def test_nested_columns_show_their_values_and_one_digest(tmp_path: Path, kind: str) -> None:
    column = NESTED[kind]
    frame = Frame(write_source(tmp_path / "whole", pa.table({"x": column})))
    again = Frame(
        write_source(tmp_path / "part", pa.table({"x": column.take(pa.array(range(5, 18)))}))
    )

    assert frame[5:18]["x"].tolist() == column.to_pylist()[5:18]
    assert frame[5:18].digest() == again.digest() != frame[6:19].digest()
    assert frame[5:18].valid("x").tolist() == [value is not None for value in again["x"]]


def test_codes_of_a_dictionary_are_its_own(tmp_path: Path) -> None:
    texts = pa.array(["b", "a", "b", "c"]).dictionary_encode()
    holed = pa.array(["b", None, "b", "c"]).dictionary_encode()
    frame = Frame(write_source(tmp_path / "source", pa.table({"x": texts, "holed": holed})))

    assert frame[1:].codes("x")[1] == ["b", "a", "c"]
    assert frame[1:].codes("x")[0].tolist() == [1, 0, 2]
    assert frame.codes("holed")[0].tolist() == [0, -1, 0, 1]
    assert frame["holed"].tolist() == ["b", None, "b", "c"]


def test_a_matrix_is_no_copy(frame: Frame) -> None:
    matrix = frame[10:20].matrix("a", "b", "c")

    assert matrix.shape == (10, 3)
    assert np.array_equal(matrix, np.column_stack([NUMBERS[name][10:20] for name in "abc"]))
    assert _address(matrix[:, 2]) == _address(frame["c"][10:])
    assert not matrix.flags.writeable
    assert np.array_equal(frame[["c", "b"]].matrix(), frame.matrix("b", "c")[:, ::-1])
    assert frame.matrix("a").shape == (ROWS, 1)
    assert frame[:0].matrix("a", "b").shape == (0, 2)


def test_a_matrix_of_other_columns_is_refused_or_copied(memory: UnifiedMemory) -> None:
    columns = {name: np.arange(5_000.0) for name in "abcd"} | {"n": [1] * 5_000}
    frame = memory.share(columns)
    with pytest.raises(BadParameterError, match=r"not lie at equal distances.*\n.*copy=True"):
        frame.matrix("a", "b", "d")
    assert frame.matrix("a", "b", "d", copy=True)[3].tolist() == [3, 3, 3]
    with pytest.raises(BadParameterError, match=r"these columns have 2: .*'int64': 'n'"):
        frame.matrix()
    texts = memory.share({"t": ["a"]})
    with pytest.raises(UnsupportedTypeError, match="'t' is string, which is no number"):
        texts.matrix()


def test_another_library_takes_a_frame_for_its_matrix(frame: Frame) -> None:
    for version in ((1, 0), None):
        exported = _Exported(frame.select("a", "b"), version)
        matrix = np.from_dlpack(exported)
        assert np.array_equal(matrix, frame.matrix("a", "b"))
        assert not matrix.flags.writeable
    assert np.from_dlpack(frame[["a"]]).shape == (ROWS,)
    with pytest.raises(BadParameterError, match="a matrix has one type"):
        np.from_dlpack(frame)


class _Exported:
    """A frame for a consumer of that version of DLPack; None for one of before there were any."""

    def __init__(self, frame: Frame, version: tuple[int, int] | None) -> None:
        self._frame = frame
        self._version = version

    def __dlpack__(self, **_: Any) -> object:
        return self._frame.__dlpack__(max_version=self._version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._frame.__dlpack_device__()


def test_arrow_s_stream_has_the_schema_that_was_asked_for(frame: Frame) -> None:
    asked = pa.schema([("a", pa.float32()), ("text", pa.string())])
    reader = pa.RecordBatchReader.from_stream(frame[["a", "text"]][7:9], schema=asked)

    assert reader.schema == asked
    assert reader.read_all().to_pydict() == {"a": [7, 8], "text": ["t7t7t7", ""]}


def test_a_slice_is_pickled_by_where_it_lies(frame: Frame, source: PlainFrameSource) -> None:
    for whole in (frame, Frame(source)):
        part = whole[["b", "text"]][10:15]
        again = pickle.loads(pickle.dumps(part))
        assert again == part
        assert again.arrow().equals(part.arrow())
        assert hash(again) == hash(part)


def test_a_pickle_is_small_whatever_the_size(memory: UnifiedMemory) -> None:
    frame = memory.share({f"c{place}": np.zeros(200_000) for place in range(4)})

    assert len(pickle.dumps(frame)) < 1_100
    assert len(pickle.dumps(frame[5:])) < 1_100


def test_frames_tell_their_version_and_moment(frame: Frame, source: PlainFrameSource) -> None:
    assert (frame.version, frame[1:].version, Frame(source).version) == (1, 1, 7)
    assert frame.as_of.published_ns == frame.descriptor.created_ns
    assert Frame(source).as_of.lsn == "0/1"
    assert frame.is_block
    assert not frame[1:].is_block
    assert frame[list(frame)].is_block
    with pytest.raises(BadParameterError, match="of a test are no block"):
        Frame(source).descriptor  # noqa: B018


def test_a_slice_keeps_the_bytes(memory: UnifiedMemory) -> None:
    frame = memory.share({"x": np.arange(1_000)})
    file = memory.folder / frame.descriptor.path
    part = frame[990:]
    del frame
    gc.collect()

    assert file.exists()
    assert part["x"].tolist() == list(range(990, 1_000))
    del part
    gc.collect()
    assert not file.exists()


def test_writing_is_impossible_by_any_way_that_numpy_has(frame: Frame) -> None:
    """ray #37573: a record array silently became a private, writable copy."""
    column, part = frame["a"], frame[5:]["a"]
    for array in (
        column,
        part,
        frame.matrix("a", "b"),
        frame.values("flag"),
        column.view(np.recarray),
    ):
        with pytest.raises(ValueError, match=r"read-only|cannot set WRITEABLE flag"):
            array[0] = 1
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
            array.setflags(write=True)
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
            array.flags.writeable = True
    start = _address(frame.source.block_bytes)
    for kept in (np.ascontiguousarray(column), np.asarray(column), column.view(np.recarray)):
        assert start <= _address(kept) < start + frame.nbytes
        assert not kept.flags.writeable
    with pytest.raises(TypeError, match="underlying buffer is not writable"):
        ctypes.c_char.from_buffer(column)


def test_what_is_written_to_private_pages_stays_there(
    frame: Frame, source: PlainFrameSource
) -> None:
    for whole in (frame, Frame(source)):
        private = whole[5:].private()
        private["a"][0] = -1
        assert private["a"][:2].tolist() == [-1, 6]
        assert whole["a"][5] == whole.private()["a"][5] == 5


def test_private_pages_of_a_block_whose_file_is_gone_are_a_copy(memory: UnifiedMemory) -> None:
    frame = memory.put("x", {"x": np.arange(1_000)})
    memory.drop("x")
    private = frame[5:].private()
    private["x"][0] = -1

    assert private["x"][:2].tolist() == [-1, 6]
    assert frame["x"][5] == 5


def test_the_repr_of_a_slice_says_of_what(frame: Frame) -> None:
    lines = repr(frame[["a", "holed"]][12:52]).splitlines()

    assert lines[0] == "Frame 'bars' version 1, rows 12:52 of 100: 40 rows x 2 columns, 645 bytes"
    assert lines[1] == "  a      double          12.0, 13.0, 14.0, ..."
    assert lines[2] == "  holed  int64   4 NULL  12, NULL, 14, ..."


def test_a_notebook_shows_a_table_that_runs_nothing(memory: UnifiedMemory) -> None:
    frame = memory.put("<b>bars", {"<script>": ["<img src=x onerror=alert(1)>", None], "n": [1, 2]})
    html = frame._repr_html_()

    assert "<script>" not in html
    assert "<img" not in html
    assert "<th>&lt;script&gt;</th>" in html
    assert "<td>NULL</td><td>2</td>" in html
    assert "&lt;b&gt;bars&#x27; version 1: 2 rows x 2 columns" in html
    assert frame[:0]._repr_html_().count("<tr>") == 2


@pytest.mark.parametrize("zone", [None, "Mars/Base"])
def test_times_that_python_has_no_objects_for_are_an_error_with_a_way_out(
    tmp_path: Path, zone: str | None
) -> None:
    times = pa.array([[2**62], None], pa.list_(pa.timestamp("us", zone)))
    frame = Frame(write_source(tmp_path / "source", pa.table({"x": times})))
    with pytest.raises(UnsupportedTypeError, match=r"'x' .* no objects for: .*\n.*frame.arrow"):
        frame["x"]
    assert repr(frame).endswith("?, ?")
    assert frame.arrow()["x"].null_count == 1


def test_a_column_of_nothing_but_null(memory: UnifiedMemory, tmp_path: Path) -> None:
    table = pa.table({"x": pa.nulls(20), "n": range(20)})
    for frame in (memory.share(table), Frame(write_source(tmp_path / "source", table))):
        part = frame[3:9]
        assert part["x"].tolist() == [None] * 6
        assert part.valid("x").tolist() == [False] * 6
        assert part.arrow().equals(table.slice(3, 6))
        assert part.digest() == memory.share(table.slice(3, 6)).digest()
        assert "6 NULL" in repr(part)
        with pytest.raises(UnsupportedTypeError, match="'x' is null, which is no number"):
            part.values("x")
