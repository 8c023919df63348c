"""Random Arrow columns of any type: NULLs with junk below them, slices, chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

ZONE = "Europe/Berlin"
NUMBERS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
]
DECIMALS = [pa.decimal32(9, 2), pa.decimal64(18), pa.decimal128(38, 5), pa.decimal256(70, 7)]
MOMENTS = [
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp("ms"), pa.timestamp("us", ZONE), pa.timestamp("ns"), pa.duration("us")),
]
TEXTS = [pa.string(), pa.binary(), pa.large_string(), pa.large_binary(), pa.binary(3)]
FLAT = [*NUMBERS, *DECIMALS, *MOMENTS, *TEXTS, pa.month_day_nano_interval(), pa.null()]
INDICES = [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64()]


def random_type(random: np.random.Generator, depth: int) -> pa.DataType:
    """Any type that a block holds, nested up to ``depth`` times."""
    shape = random.integers(8) if depth else random.integers(2)
    if shape == 0:
        values = random.choice([pa.string(), pa.large_string(), pa.int32(), pa.date32()])
        return pa.dictionary(random.choice(INDICES), values, ordered=bool(random.integers(2)))
    if shape in (1, 2):
        return random.choice(FLAT)
    child = pa.field("any.one", random_type(random, depth - 1))
    other = pa.field("other", random_type(random, depth - 1))
    return [
        pa.list_(child),
        pa.large_list(child),
        pa.list_(child, int(random.integers(1, 4))),
        pa.struct([child, other]),
        pa.map_(pa.string(), other),
    ][shape - 3]


def random_column(random: np.random.Generator, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    """``rows`` rows in up to three chunks, each a slice."""
    cuts = np.sort(random.integers(0, rows + 1, random.integers(3)))
    lengths = np.diff([0, *cuts, rows])
    chunks = []
    for length in lengths:
        before, behind = (int(n) for n in random.integers(0, 10, 2))
        whole = random_array(random, kind, before + int(length) + behind)
        chunks.append(whole.slice(before, length))
    return pa.chunked_array(chunks if rows or random.integers(2) else [], kind)


def random_array(random: np.random.Generator, kind: Any, rows: int) -> Any:
    """An array whose NULL rows hold as random things as the others."""
    if pa.types.is_null(kind):
        return pa.nulls(rows)
    validity = _validity(random, rows)
    if pa.types.is_dictionary(kind):
        return _dictionary(random, kind, rows, validity)
    buffers, children = [validity], []
    if pa.types.is_struct(kind):
        children = [random_array(random, kind.field(i).type, rows) for i in range(kind.num_fields)]
    elif pa.types.is_fixed_size_list(kind):
        children = [random_array(random, kind.value_type, rows * kind.list_size)]
    elif kind.num_fields or kind in (pa.string(), pa.binary(), *TEXTS[2:4]):
        large = kind in TEXTS[2:4] or pa.types.is_large_list(kind)
        offsets = np.cumsum([0, *random.integers(0, 4, rows)]).astype("<i8" if large else "<i4")
        buffers.append(pa.py_buffer(offsets))
        if kind.num_fields:
            children = [_child(random, kind, int(offsets[-1]))]
        else:
            letters = random.integers(ord("a"), ord("z"), offsets[-1]).astype("u1")
            buffers.append(pa.py_buffer(letters))
    else:
        buffers.append(pa.py_buffer(_fixed(random, kind, rows)))
    return pa.Array.from_buffers(kind, rows, buffers, children=children or None)


def _child(random: np.random.Generator, kind: Any, rows: int) -> Any:
    if not pa.types.is_map(kind):
        return random_array(random, kind.value_type, rows)
    keys = pa.array([f"key {row}" for row in range(rows)], kind.key_type)
    items = random_array(random, kind.item_type, rows)
    return pa.Array.from_buffers(kind.field(0).type, rows, [None], 0, children=[keys, items])


def _validity(random: np.random.Generator, rows: int) -> pa.Buffer | None:
    share = random.choice([0, 0.3, 1])
    if not share:
        return None
    return pa.py_buffer(np.packbits(random.random(rows) > share, bitorder="little"))


def _dictionary(random: np.random.Generator, kind: Any, rows: int, validity: Any) -> Any:
    words = np.unique(random.integers(0, 100, 5))
    if pa.types.is_integer(kind.value_type):
        values = pa.array(words, kind.value_type)
    elif pa.types.is_date(kind.value_type):
        values = pa.array(words.astype("i4"), kind.value_type)
    else:
        values = pa.array([f"word {word}" for word in words], kind.value_type)
    raw = random.integers(0, len(values), rows).astype(kind.index_type.to_pandas_dtype())
    indices = pa.Array.from_buffers(kind.index_type, rows, [validity, pa.py_buffer(raw)])
    return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)


def _fixed(random: np.random.Generator, kind: Any, rows: int) -> Any:
    """Bytes of values that are valid in their type."""
    if pa.types.is_floating(kind):
        return random.normal(size=rows).astype(kind.to_pandas_dtype())
    if pa.types.is_boolean(kind):
        return random.integers(0, 256, (rows + 7) // 8).astype("u1")
    width = kind.bit_width // 8
    raw = random.integers(0, 256, (rows, width)).astype("u1")
    if kind in MOMENTS:
        raw = random.integers(0, 86_400, rows).astype(f"<i{width}")
        return raw * 86_400_000 if kind == pa.date64() else raw
    if kind in DECIMALS:
        raw[:, 3:] = 0
    return np.ascontiguousarray(raw)
