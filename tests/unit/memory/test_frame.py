"""What a frame shows for each type, with and without NULLs, and which of it is no copy."""

import gc
from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import ColumnNotFoundError, MissingDependencyError, UnsupportedTypeError
from neural_gpu_bus.memory import Frame, UnifiedMemory

COLUMNS: dict[str, Any] = {
    "i64": pa.array([1, -2, 3], pa.int64()),
    "u8": pa.array([1, 2, 255], pa.uint8()),
    "f32": pa.array([0.5, float("nan"), float("-inf")], pa.float32()),
    "f64": pa.array([0.5, float("nan"), float("inf")], pa.float64()),
    "flag": pa.array([True, False, True]),
    "day": pa.array([date(2024, 2, 29), date(1969, 12, 31), date(1970, 1, 1)]),
    "clock": pa.array([time(1, 2, 3, 4), time(0), time(23, 59, 59, 999_999)]),
    "second": pa.array([time(1, 2, 3), time(0), time(5)], pa.time32("s")),
    "ts": pa.array([0, 1, -1], pa.timestamp("us", "UTC")),
    "wait": pa.array([5, 6, 7], pa.duration("ns")),
    "text": pa.array(["", "ä", "abc"]),
    "bytes": pa.array([b"", b"\0", b"abc"]),
    "uuid": pa.array([b"a" * 16, b"b" * 16, b"c" * 16], pa.binary(16)),
}
#: Shown by numpy without a copy.
ADOPTED = {"i64", "u8", "f32", "f64", "clock", "ts", "wait", "uuid"}
#: No value in numpy stands for NULL.
REFUSED_WITH_NULLS = {"i64", "u8", "flag", "uuid"}


def _with_nulls(array: pa.Array) -> pa.Array:
    return pa.array([array[0].as_py(), None, array[2].as_py()], array.type)


@pytest.fixture
def frame(memory: UnifiedMemory) -> Frame:
    return memory.share(COLUMNS)


@pytest.fixture
def holed(memory: UnifiedMemory) -> Frame:
    return memory.share({name: _with_nulls(array) for name, array in COLUMNS.items()})


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_those_given(frame: Frame, name: str) -> None:
    shown = frame[name]
    expected = COLUMNS[name]
    if shown.dtype.kind in "mM":
        width = pa.int32() if expected.type.bit_width == 32 else pa.int64()
        assert shown.view("i8").tolist() == expected.view(width).to_pylist()
    elif shown.dtype.kind == "V":
        assert [bytes(value) for value in shown] == expected.to_pylist()
    else:
        assert str(shown.tolist()) == str(expected.to_pylist())
    assert str(frame.arrow()[name].to_pylist()) == str(COLUMNS[name].to_pylist())


@pytest.mark.parametrize("name", COLUMNS)
def test_only_the_documented_columns_are_copies(frame: Frame, name: str) -> None:
    start = _address(frame.source.block_bytes)
    inside = start <= _address(frame[name]) < start + frame.nbytes

    assert inside == (name in ADOPTED)
    if inside:
        assert not frame[name].flags.writeable
        assert _address(frame[name]) == _address(frame[name])


@pytest.mark.parametrize("name", COLUMNS)
def test_arrow_is_no_copy(frame: Frame, name: str) -> None:
    start = _address(frame.source.block_bytes)
    for buffer in frame.arrow()[name].chunk(0).buffers():
        assert buffer is None or start <= buffer.address < start + frame.nbytes


@pytest.mark.parametrize("name", COLUMNS)
def test_nulls_are_shown_or_refused(holed: Frame, name: str) -> None:
    assert holed.arrow()[name].to_pylist()[1] is None
    assert holed.valid(name).tolist() == [True, False, True]
    if name in REFUSED_WITH_NULLS:
        with pytest.raises(UnsupportedTypeError, match=rf"{name!r}.* has 1 NULLs.*\n.*frame.valid"):
            holed[name]
    elif COLUMNS[name].type in (pa.large_string(), pa.string(), pa.binary()):
        assert holed[name][1] is None
    else:
        assert np.isnan(holed[name][1]) if name[0] == "f" else np.isnat(holed[name][1])


def test_a_float_column_shows_nan_for_null_without_a_copy(holed: Frame) -> None:
    assert np.isnan(holed["f64"]).tolist() == [False, True, False]
    assert np.shares_memory(holed["f64"], holed.source.block_bytes)


def test_raw_values_have_fillers(holed: Frame) -> None:
    assert holed.values("i64").tolist() == [1, 0, 3]
    assert holed.values("day").dtype == np.int32
    assert holed.values("flag").tolist() == [0b101]
    assert bytes(holed.values("text")) == b"abc"
    assert all(
        np.shares_memory(holed.values(name), holed.source.block_bytes)
        for name in ("i64", "day", "text")
    )


def test_valid_is_none_without_nulls(frame: Frame) -> None:
    assert frame.valid("i64") is None


def test_codes_number_texts(memory: UnifiedMemory) -> None:
    frame = memory.share({"text": ["b", None, "a", "b"], "n": [1, 2, 3, 4]})
    codes, texts = frame.codes("text")

    assert codes.dtype == np.int32
    assert codes.tolist() == [0, -1, 1, 0]
    assert texts == ["b", "a"]
    codes, texts = memory.share({"text": pa.array([], pa.string())}).codes("text")
    assert (codes.tolist(), codes.dtype, texts) == ([], np.int32, [])
    with pytest.raises(UnsupportedTypeError, match="'n' is int64, not text"):
        frame.codes("n")


def test_it_is_a_mapping(frame: Frame) -> None:
    assert isinstance(frame, Mapping)
    assert list(frame) == list(frame.keys()) == list(COLUMNS)
    assert len(frame) == len(COLUMNS)
    assert frame.rows == 3
    assert "i64" in frame
    assert "nobody" not in frame
    assert [len(array) for array in frame.values()] == [3] * len(COLUMNS)
    assert {name: len(array) for name, array in frame.items()} == dict.fromkeys(COLUMNS, 3)


@pytest.mark.parametrize("method", ["__getitem__", "values", "valid", "codes"])
def test_an_unknown_column_is_an_error_that_lists_them(frame: Frame, method: str) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"no column 'price'.*\n.*'i64'"):
        getattr(frame, method)("price")


def test_other_libraries_get_the_same_values(frame: Frame, holed: Frame) -> None:
    assert frame.polars()["i64"].to_list() == [1, -2, 3]
    assert holed.polars()["text"].to_list() == ["", None, "abc"]
    assert frame.pandas()["i64"].tolist() == [1, -2, 3]
    assert frame.duckdb().aggregate("sum(i64)").fetchall() == [(2,)]
    assert str(pa.table(frame).to_pylist()) == str(frame.arrow().to_pylist())


@pytest.mark.parametrize("library", ["polars", "pandas", "duckdb"])
def test_a_missing_library_is_named(
    frame: Frame, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(MissingDependencyError, match=f"{library} is not installed"):
        getattr(frame, library)()


DERIVED: dict[str, Callable[[Frame], Any]] = {
    "numpy": lambda frame: frame["x"],
    "slice": lambda frame: frame["x"][5:],
    "arrow": lambda frame: frame.arrow().slice(5)["x"].chunk(0).to_numpy(),
    "polars": lambda frame: frame.polars()["x"],
}


@pytest.mark.parametrize("derive", DERIVED)
def test_whatever_is_derived_keeps_the_bytes(memory: UnifiedMemory, derive: str) -> None:
    frame = memory.share({"x": np.arange(100_000)})
    file = memory.folder / frame.descriptor.path
    derived = DERIVED[derive](frame)
    del frame
    gc.collect()

    assert file.exists()
    assert derived[-1] == 99_999
    del derived
    gc.collect()
    assert not file.exists()


def test_frames_of_one_block_are_equal(memory: UnifiedMemory) -> None:
    frame = memory.put("a", {"x": [1]})

    assert frame == memory.get("a")
    assert len({frame, memory.get("a")}) == 1
    assert frame != memory.put("a", {"x": [1]})


def test_the_repr_tells_a_person_what_it_is(memory: UnifiedMemory) -> None:
    frame = memory.put("bars", {"close": [1.5, 2.5, 3.5, 4.5], "who": ["a" * 40, None, "b", "c"]})
    lines = repr(frame).splitlines()

    assert lines[0] == "Frame 'bars' version 1: 4 rows x 2 columns, 80.3 KiB"
    assert lines[1] == "  close  double          1.5, 2.5, 3.5, ..."
    assert lines[2] == "  who    string  1 NULL  aaaaaaaaaaaaaaaaaaaaa..., NULL, b, ..."


@pytest.mark.parametrize(
    ("ordered", "shown"),
    [(False, "large_string, dictionary"), (True, "large_string, ordered dictionary")],
)
def test_the_repr_names_a_dictionary_in_two_words(
    memory: UnifiedMemory, ordered: bool, shown: str
) -> None:
    values = pa.array(["a"], pa.large_string())
    column = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), values, ordered=ordered)

    assert f"  side  {shown}    a" in repr(memory.share({"side": column}))


def test_the_repr_shows_times_that_python_has_no_dates_for(memory: UnifiedMemory) -> None:
    times = [-(2**62), 0, 1_500]
    columns = {
        "ts": pa.array(times, pa.timestamp("us", "UTC")),
        "ms": pa.array([None, 0, 1_500], pa.timestamp("ms", "Mars/Base")),
        "day": pa.array([2**31 - 1, 0, None], pa.int32()).view(pa.date32()),
        "clock": pa.array([86_400_000_000, 0, 5_000_000]).view(pa.time64("us")),
        "wait": pa.array(times, pa.duration("s")),
    }
    lines = [line.split(maxsplit=1) for line in repr(memory.share(columns)).splitlines()[1:]]
    shown = {name: text.split("  ")[-1].strip() for name, text in lines}

    assert shown["ts"].endswith("Z, 1970-01-01 00:00:00Z, 1970-01-01 00:00:00.001500Z")
    assert shown["ms"] == "NULL, 1970-01-01 00:00:00Z, 1970-01-01 00:00:01.500Z"
    assert shown["day"] == "<value out of range: 2147483647>, 1970-01-01, NULL"
    assert shown["clock"] == "<value out of range: 86400000000>, 00:00:00, 00:00:05"
    assert shown["wait"] == "-4611686018427387904, 0, 1500"


def test_the_repr_gives_a_terminal_no_orders(memory: UnifiedMemory) -> None:
    text = repr(memory.share({"a\x1b[2J" + "b" * 100: ["\x1b[31m\n\u202e" + "c" * 100_000]}))

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "a\\x1b[2Jbbb" in text
    assert r"\x1b[31m\n\u202eccc" in text
    assert max(len(line) for line in text.splitlines()) < 150


def test_equal_columns_have_one_digest_in_whatever_block(memory: UnifiedMemory) -> None:
    holed = {name: _with_nulls(array) for name, array in COLUMNS.items()}
    digests = [memory.share(columns).digest() for columns in (COLUMNS, holed, COLUMNS, holed)]

    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]
    assert memory.put("named", COLUMNS).digest() == digests[0]


@pytest.mark.parametrize(
    "other", [{"a": [1.0, 3.0]}, {"b": [1.0, 2.0]}, {"a": [1, 2]}, {"a": [1.0, 2.0, 0.0]}]
)
def test_other_columns_have_another_digest(memory: UnifiedMemory, other: dict[str, Any]) -> None:
    assert memory.share(other).digest() != memory.share({"a": [1.0, 2.0]}).digest()


def test_the_repr_of_many_columns_and_of_no_rows_is_short(memory: UnifiedMemory) -> None:
    frame = memory.share({f"c{index}": np.empty(0) for index in range(100)})
    lines = repr(frame).splitlines()

    assert lines[0].startswith("Frame without a name: 0 rows x 100 columns")
    assert lines[-1] == "  ... and 70 more columns"
    assert len(lines) == 32


def test_intervals_are_told(memory: UnifiedMemory) -> None:
    spans = pa.array([pa.MonthDayNano([1, 2, 3]), None], pa.month_day_nano_interval())

    assert "MonthDayNano(months=1..., NULL" in repr(memory.share(pa.table({"span": spans})))


def test_nobody_changes_the_shape_that_others_are_shown(memory: UnifiedMemory) -> None:
    memory.put("a", {"x": np.arange(10)})
    taken = memory.get("a")["x"]
    taken.shape = (5, 2)
    taken.dtype = np.dtype("f8")

    assert memory.get("a")["x"].tolist() == list(range(10))
