"""What people hand in becomes flat columns, or is refused with the column's name."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.errors import BadParameterError, BadValueError, UnsupportedTypeError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.writing.given_columns import given_columns

CATEGORIES = pa.array(["a", None]).dictionary_encode()


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"n": [1, 2], "t": ["a", None]}, "string"),
        ({"n": np.array([1, 2]), "t": np.array(["a", None], dtype=object)}, "string"),
        ({"n": np.array([1, 2], ">i8"), "t": pa.array(["a", None])}, "string"),
        ({"n": pa.chunked_array([[1], [2]]), "t": CATEGORIES}, str(CATEGORIES.type)),
        (pa.table({"n": [1, 2], "t": pa.array(["a", None], pa.string_view())}), "large_string"),
        (pl.DataFrame({"n": [1, 2], "t": ["a", None]}), "large_string"),
        (pd.DataFrame({"n": [1, 2], "t": pd.Series(["a", None], dtype=object)}), "string"),
    ],
    ids=["lists", "numpy", "big endian", "arrow", "table", "polars", "pandas"],
)
def test_all_these_are_the_same_columns(memory: UnifiedMemory, columns: Any, kind: str) -> None:
    table = memory.share(columns).arrow()

    assert table.to_pydict() == {"n": [1, 2], "t": ["a", None]}
    assert [str(field.type) for field in table.schema] == ["int64", kind]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series(["b", "a", None], dtype="category"), "large_string, indices=int8, ordered=0"),
        (
            pd.Series(pd.Categorical(["b", "a", None], ["c", "b", "a"], ordered=True)),
            "large_string, indices=int8, ordered=1",
        ),
        (
            pl.Series(["b", "a", None], dtype=pl.Categorical),
            "large_string, indices=uint32, ordered=0",
        ),
        (
            pl.Series(["b", "a", None], dtype=pl.Enum(["a", "b"])),
            "large_string, indices=uint8, ordered=1",
        ),
    ],
    ids=["pandas", "pandas ordered", "polars", "polars enum"],
)
def test_categories_stay_categories(memory: UnifiedMemory, column: Any, kind: str) -> None:
    library = pd if isinstance(column, pd.Series) else pl
    table = memory.share(library.DataFrame({"c": column})).arrow()

    assert str(table["c"].type) == f"dictionary<values={kind}>"
    assert table["c"].to_pylist() == ["b", "a", None]
    if library is pl:
        assert pl.DataFrame(table)["c"].dtype == column.dtype


def test_views_in_lists_and_structs_become_texts(memory: UnifiedMemory) -> None:
    frame = pl.DataFrame(
        {
            "list": [["a", None], None, []],
            "struct": [{"t": "x", "c": "b"}] * 3,
            "category": pl.Series([["a"], None, ["b", "a"]], dtype=pl.List(pl.Categorical)),
        }
    )
    table = memory.share(frame).arrow()

    assert table.to_pylist() == frame.to_dicts()
    assert str(table["list"].type) == "large_list<item: large_string>"


def test_dictionaries_of_all_chunks_become_one(memory: UnifiedMemory) -> None:
    small = pa.dictionary(pa.int8(), pa.string())
    chunks = [
        pa.array([f"{letter}{number}" for number in range(100)] + [None]).dictionary_encode()
        for letter in "aba"
    ]
    column = pa.chunked_array([chunk.cast(small) for chunk in chunks])
    same = pa.chunked_array([column.chunk(0), column.chunk(2)])
    table = memory.share({"c": column}).arrow()

    assert str(table["c"].type) == "dictionary<values=string, indices=int32, ordered=0>"
    assert table["c"].to_pylist() == column.to_pylist()
    assert memory.share({"c": same}).arrow()["c"].type == small

    nested = pa.chunked_array([pa.ListArray.from_arrays([0, 101], c) for c in column.chunks])
    with pytest.raises(UnsupportedTypeError, match=r"dictionaries of column 'c\.item' .* not one"):
        memory.share({"c": nested})


def test_no_value_of_a_dictionary_is_null(memory: UnifiedMemory) -> None:
    values = pa.array(["a", None, "b"])
    column = pa.DictionaryArray.from_arrays(pa.array([1, 2, 0], pa.int8()), values, ordered=True)
    stored = memory.share({"c": column}).arrow()["c"]

    assert stored.type == column.type
    assert (stored.null_count, stored.to_pylist()) == (1, [None, "b", "a"])


def test_extension_types_come_back(memory: UnifiedMemory) -> None:
    storage = pa.array([b"a" * 16, None], pa.binary(16))
    frame = memory.share({"id": pa.ExtensionArray.from_storage(pa.uuid(), storage)})

    assert frame.descriptor.columns[0].type == "fixed_size_binary[16]"
    assert frame.arrow()["id"].type == pa.uuid()
    assert frame.arrow()["id"].chunk(0).storage.equals(storage)


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        ({"a": [1], "b": [1, 2]}, BadParameterError, r"different lengths \(a: 1, b: 2\)"),
        ({"a": np.zeros((2, 2))}, BadParameterError, "column 'a' has 2 dimensions"),
        ({"a": pa.array([[1]], pa.list_view(pa.int8()))}, UnsupportedTypeError, "type list_view"),
        ({"a": [1, "x"]}, UnsupportedTypeError, "column 'a' .* is no column of one type"),
        ({"a": 5}, UnsupportedTypeError, "column 'a' .* is no column of one type"),
        ([1, 2], BadParameterError, "columns cannot be taken from a list"),
        ({}, BadParameterError, "there are no columns"),
    ],
)
def test_what_does_not_fit_is_refused(
    memory: UnifiedMemory, columns: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        memory.share(columns)
    assert memory.statistics().blocks == 0


CELLS = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.large_string(): st.text(max_size=5),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): st.dates(),
}


@st.composite
def _sliced_chunks(draw: st.DrawFn) -> pa.ChunkedArray:
    """Chunks that start in the middle of a byte of their bitmaps, as slices do."""
    kind = draw(st.sampled_from(list(CELLS)))
    cells = st.lists(st.none() | CELLS[kind], max_size=20)
    chunks = []
    for _ in range(draw(st.integers(0, 3))):
        values = draw(cells)
        start = draw(st.integers(0, len(values)))
        chunks.append(pa.array(values, kind).slice(start, draw(st.integers(0, 20))))
    return pa.chunked_array(chunks, kind)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(column=_sliced_chunks())
def test_every_slice_and_chunk_is_copied_whole(shared: UnifiedMemory, column: Any) -> None:
    frame = shared.share({"c": column})

    frame.arrow().validate(full=True)
    assert frame.arrow()["c"].to_pylist() == column.to_pylist()


NULL_MIDDLE = pa.py_buffer(b"\x05")
HIDDEN = {
    "int64": (pa.int64(), np.array([1, 77, 3])),
    "double": (pa.float64(), np.array([1, 7.0, 3])),
    "bool": (pa.bool_(), np.array([0b111], "u1")),
    "date": (pa.date32(), np.array([1, 77, 3], "i4")),
    "binary": (pa.binary(2), np.array([b"aa", b"bb", b"cc"])),
}


@pytest.mark.parametrize(("kind", "values"), HIDDEN.values(), ids=HIDDEN)
def test_what_lies_under_null_is_no_part_of_the_values(
    memory: UnifiedMemory, kind: Any, values: Any
) -> None:
    given_ = pa.Array.from_buffers(kind, 3, [NULL_MIDDLE, pa.py_buffer(values)])
    clean = pa.array(given_.to_pylist(), kind)
    assert given_.equals(clean)

    assert memory.share({"c": given_}).digest() == memory.share({"c": clean}).digest()


@pytest.mark.parametrize("kind", [pa.large_string(), pa.large_binary(), pa.string()], ids=str)
@pytest.mark.parametrize("start", [0, 1])
def test_text_under_null_is_left_out(memory: UnifiedMemory, kind: Any, start: int) -> None:
    width = "i4" if kind == pa.string() else "i8"
    buffers = [NULL_MIDDLE, pa.py_buffer(np.array([0, 1, 7, 9], width)), pa.py_buffer(b"ahiddenbc")]
    given_ = pa.Array.from_buffers(kind, 3, buffers).slice(start)
    clean = pa.array(given_.to_pylist(), kind)
    frame = memory.share({"c": pa.chunked_array([given_, clean])})

    assert frame.arrow()["c"].to_pylist() == given_.to_pylist() * 2
    assert b"hidden" not in frame.values("c").tobytes()
    assert memory.share({"c": given_}).digest() == memory.share({"c": clean}).digest()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> UnifiedMemory:
    folder = tmp_path_factory.mktemp("memory")
    folder.chmod(0o700)
    return UnifiedMemory(folder, 64 << 20)


LATIN = [b"fine", None, b"caf\xe9", b"fine"]


def _latin(kind: pa.DataType) -> Any:
    """Text whose bytes are Latin-1, as Arrow takes it from files and other libraries."""
    held = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
    return pa.array(LATIN, held).view(kind)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_that_is_no_utf8_is_told_by_column_and_row(
    memory: UnifiedMemory, kind: pa.DataType
) -> None:
    text = _latin(kind)
    chunked = pa.chunked_array([text[:2], text[2:]])
    for given_text, row in ((text, 2), (text[1:], 1), (chunked, 2)):
        message = rf"column 'x' row {row} \(.*string\) is no UTF-8: b'caf\\xe9'.*\nhint: .*binary"
        with pytest.raises(BadValueError, match=message) as caught:
            memory.share({"fine": np.arange(len(given_text)), "x": given_text})
        assert caught.value.column == "x"

    assert memory.share({"x": text[:2]})["x"].tolist() == ["fine", None]


def test_text_within_others_is_looked_at_too(memory: UnifiedMemory) -> None:
    text = _latin(pa.string())
    indices = pa.array([0, 1], pa.int8())
    for column in (
        pa.ListArray.from_arrays(pa.array([0, 4], pa.int32()), text),
        pa.StructArray.from_arrays([text], ["x"]),
        pa.DictionaryArray.from_arrays(indices, text[2:]),
    ):
        with pytest.raises(BadValueError, match=r"column 'y.*is no UTF-8.*\nhint: "):
            memory.share({"y": column})


def test_numbers_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(
        "neural_gpu_bus.memory.writing.given_texts._validate",
        lambda texts: looked_at.append(str(texts.type)),
    )
    given_columns({"n": np.arange(3), "f": np.zeros(3), "b": [b"\xff"] * 3, "s": ["a"] * 3})

    assert looked_at == ["string"]


def test_a_dictionary_of_dictionaries_is_refused(memory: UnifiedMemory) -> None:
    once = pa.array(["a", "b"]).dictionary_encode()
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1]), once)
    with pytest.raises(UnsupportedTypeError, match=r"'x' is a dictionary of dictionaries.*\nhint:"):
        memory.share({"x": twice})


def test_of_several_datasets_the_one_that_fails_is_named() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"^dataset 'ticks': column 'a' ") as caught:
        given_columns({"a": [1, "x"]}, "ticks")

    assert (caught.value.dataset, caught.value.column) == ("ticks", "a")
