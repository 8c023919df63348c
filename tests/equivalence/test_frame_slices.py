"""A slice of a frame is what Arrow's slice of the same table is: any types, NULLs, any rows."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.memory import Frame
from plain_frame_source import write_source

TYPES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=5),
    pa.large_binary(): st.binary(max_size=5),
    pa.date32(): st.integers(-(10**6), 10**6),
    pa.timestamp("us"): st.integers(-(2**62), 2**62),
    pa.list_(pa.int32()): st.lists(st.integers(0, 9), max_size=3),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["a", "b", "c"]),
}


@st.composite
def _columns(draw: st.DrawFn) -> tuple[dict[str, Any], int, int]:
    rows = draw(st.integers(0, 40))
    kinds = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=4))
    columns: dict[str, Any] = {}
    for place, kind in enumerate(kinds):
        values = draw(st.lists(st.none() | TYPES[kind], min_size=rows, max_size=rows))
        columns[f"c{place}"] = pa.array(values, pa.string() if _is_dictionary(kind) else kind)
        if _is_dictionary(kind):
            columns[f"c{place}"] = columns[f"c{place}"].dictionary_encode()
    start = draw(st.integers(0, rows))
    return columns, start, draw(st.integers(start, rows))


def _is_dictionary(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind)


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(_columns())
def test_a_slice_is_arrow_s_slice(drawn: tuple[dict[str, Any], int, int]) -> None:
    columns, start, stop = drawn
    with tempfile.TemporaryDirectory() as folder:
        part = Frame(write_source(Path(folder) / "whole", pa.table(columns)))[start:stop]
        expected = pa.table(columns).slice(start, stop - start)
        alone = Frame(write_source(Path(folder) / "alone", _built_anew(expected)))

        assert part.arrow().equals(expected)
        assert part.digest() == alone.digest()
        for name in columns:
            _check_column(part, name, expected[name])


def _built_anew(table: pa.Table) -> pa.Table:
    """Without a trace of the rows around it."""
    rows = pa.array(np.arange(len(table)))
    return pa.table({name: table[name].combine_chunks().take(rows) for name in table.column_names})


def _check_column(part: Frame, name: str, expected: Any) -> None:
    valid = part.valid(name)
    is_valid = expected.is_valid().to_pylist()
    assert (is_valid if valid is not None else [True] * part.rows) == is_valid
    if valid is not None:
        assert valid.tolist() == is_valid
    if part.window(name).kind.shown == "O":
        assert part[name].tolist() == expected.to_pylist()
    elif pa.types.is_boolean(expected.type):
        shown = np.unpackbits(part.values(name), count=part.rows, bitorder="little")
        assert [bool(bit) for bit, known in zip(shown, is_valid, strict=True) if known] == [
            value for value in expected.to_pylist() if value is not None
        ]
    else:
        width = {4: pa.int32(), 8: pa.int64()}.get(expected.type.bit_width // 8, expected.type)
        raw = expected if pa.types.is_floating(expected.type) else expected.cast(width)
        values = part.values(name)[np.array(is_valid, bool)]
        assert values.tolist() == raw.drop_null().to_pylist()
