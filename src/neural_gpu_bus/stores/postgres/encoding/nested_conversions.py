"""Lists, structs and maps to arrays, rows, vectors and hstore: cells inside of one cell.

What is inside becomes a column of its own first; then its cells are written at their places in
the bytes of the outer column by the same loops that write rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.stores.postgres.encoding.copy_kernels import put_column, put_words
from neural_gpu_bus.stores.postgres.encoding.text_conversions import text
from neural_gpu_bus.stores.postgres.encoding.views import without_views
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import PostgresType

Converter = Callable[[Source], WireColumn]
Integers = npt.NDArray[np.int64]

#: arrayfuncs.c, ``array_recv``: dimensions, whether an element is NULL, the element's type; then
#: for each dimension its length and its lower bound.
_ARRAY_WORDS = 3
#: array.h, MAXDIM.
DIMENSIONS_MAX = 6

_TEXT = PostgresType("text", "text")


def array(source: Source, dimensions: int, element: PostgresType, convert: Converter) -> WireColumn:
    """Lists, nested ``dimensions`` deep, to an array of that element; a row's lists on one level
    have one length, as PostgreSQL's arrays do.
    """
    rows = len(source.array)
    shape = np.zeros((rows, dimensions), np.int64)
    lengths, items = _flat(source.array)
    shape[:, 0] = lengths
    owners = np.repeat(np.arange(rows), lengths)
    for level in range(1, dimensions):
        lengths, items = _inner_level(source, items, owners, shape, level)
        owners = np.repeat(owners, lengths)
    column = convert(source.inner(items, element, owners))
    counts = shape.prod(axis=1)
    header_words = np.where(counts > 0, _ARRAY_WORDS + 2 * dimensions, _ARRAY_WORDS)
    places = Places(source, counts, cell_bytes(column, len(items)), 4 * header_words)
    nulls = np.zeros(rows, np.int64)
    if column.valid is not None:
        nulls = np.bincount(owners, ~column.valid, rows).astype(np.int64)
    words = np.ones((rows, _ARRAY_WORDS + 2 * dimensions), np.int64)
    words[:, 0] = np.where(counts > 0, dimensions, 0)
    words[:, 1] = nulls > 0
    words[:, 2] = element.oid
    words[:, _ARRAY_WORDS::2] = shape
    put_words(places.out, places.starts, words, np.where(places.known, header_words, 0))
    put_column(places.out, places.inner, column, 0, len(items))
    return places.column()


def vector(source: Source) -> WireColumn:
    """Lists of float32 to pgvector's vector: int16 length, int16 unused, the floats (vector.c)."""
    lengths, items = _flat(source.array)
    owners = np.repeat(np.arange(len(source.array)), lengths)
    numbers = source.inner(items, source.target.type, owners)
    why = f"is no element of a {source.target.type.text}"
    if items.null_count:
        bad = items.is_null().to_numpy(zero_copy_only=False)
        raise numbers.refusal(int(np.argmax(bad)), why, "give every element a value")
    values = numbers.fixed("f4")
    numbers.refuse_where(~np.isfinite(values), why, "a vector holds finite numbers alone")
    wanted = source.target.type.modifier
    bad_length = (lengths != wanted) if wanted > 0 else (lengths < 1) | (lengths > 16_000)
    source.refuse_where(
        bad_length, f"does not have the length of a {source.target.type.text}", "mend the list"
    )
    places = Places(source, lengths, np.full(len(values), 4), np.full(len(lengths), 4))
    put_words(places.out, places.starts, (lengths << 16)[:, None], places.known.astype(np.int64))
    bits = values.view(np.int32).astype(np.int64)[:, None]
    put_words(places.out, places.inner, bits, np.ones(len(values), np.int64))
    return places.column()


def composite(source: Source, fields: Sequence[tuple[int, PostgresType, Converter]]) -> WireColumn:
    """Structs to rows: int32 fields, and for each its type and its cell (rowtypes.c). ``fields``:
    for each of PostgreSQL's the struct's own, in PostgreSQL's order.
    """
    whole, owners, valid = source.array, None, source.valid
    if valid is not None:
        owners = np.flatnonzero(valid)
        whole = without_views(whole).filter(whole.is_valid())
    children = whole.flatten()
    columns = [
        convert(source.inner(children[index], type_, owners)) for index, type_, convert in fields
    ]
    sizes = np.full(len(whole), 4, np.int64)
    for column in columns:
        sizes += 4 + cell_bytes(column, len(whole))
    counts = np.zeros(len(source.array), np.int64)
    counts[:] = 1 if owners is None else 0
    if owners is not None:
        counts[owners] = 1
    places = Places(source, counts, sizes, np.zeros(len(counts), np.int64))
    one = np.ones(len(whole), np.int64)
    put_words(places.out, places.inner, np.full((len(whole), 1), len(fields)), one)
    for column, (_, type_, _) in zip(columns, fields, strict=True):
        put_words(places.out, places.inner, np.full((len(whole), 1), type_.oid), one)
        put_column(places.out, places.inner, column, 0, len(whole))
    return places.column()


def hstore(source: Source) -> WireColumn:
    """Maps of texts: int32 pairs, and for each the cells of key and value (hstore_io.c)."""
    lengths, entries = _flat(source.array)
    owners = np.repeat(np.arange(len(source.array)), lengths)
    keys, values = entries.flatten()
    _refuse_repeated_keys(source, keys, owners)
    columns = [text(source.inner(part, _TEXT, owners)) for part in (keys, values)]
    sizes = sum(cell_bytes(column, len(keys)) for column in columns)
    places = Places(source, lengths, np.asarray(sizes), np.full(len(lengths), 4))
    put_words(places.out, places.starts, lengths[:, None], places.known.astype(np.int64))
    for column in columns:
        put_column(places.out, places.inner, column, 0, len(keys))
    return places.column()


def cell_bytes(column: WireColumn, rows: int) -> Integers:
    """Size of each value's cell, its length included."""
    if column.offsets is None:
        sizes = np.full(rows, 4 + column.width, np.int64)
    else:
        sizes = np.diff(column.offsets) + (4 + len(column.lead))
    return sizes if column.valid is None else np.where(column.valid, sizes, 4)


class Places:
    """Where the cells of inner values lie in the bytes of the outer column."""

    def __init__(
        self, source: Source, counts: Integers, inner_bytes: Integers, header_bytes: Integers
    ) -> None:
        valid = source.valid
        self._valid = valid
        self.known = np.ones(len(counts), np.bool_) if valid is None else valid
        first = _starts(counts)
        inner_starts = _starts(inner_bytes)
        body = inner_starts[first[1:]] - inner_starts[first[:-1]]
        self._offsets = _starts(np.where(self.known, header_bytes + body, 0))
        self.out = np.empty(int(self._offsets[-1]), np.uint8)
        #: Of each outer value; moved on by what is written there.
        self.starts = self._offsets[:-1].copy()
        shift = self.starts + header_bytes - inner_starts[first[:-1]]
        #: Of each inner value.
        self.inner = inner_starts[:-1] + np.repeat(shift, counts)

    def column(self) -> WireColumn:
        """The outer column."""
        return WireColumn(0, self.out, self._valid, self._offsets)


def _starts(sizes: Integers) -> Integers:
    """Running sum, beginning with zero."""
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _flat(lists: Any) -> tuple[Integers, Any]:
    """Lengths of lists or maps, 0 for NULL, and what is in them, without what lies under NULL."""
    if pa.types.is_list_view(lists.type) or pa.types.is_large_list_view(lists.type):
        # pyarrow's own cast to lists takes the sizes that lie under NULL (26.0).
        sizes = lists.sizes.to_numpy().astype(np.int64)
        return _without_null(lists, sizes), lists.flatten()
    if pa.types.is_map(lists.type):
        lists = lists.cast(pa.list_(lists.type.field(0)))
    elif not pa.types.is_large_list(lists.type):
        lists = lists.cast(pa.large_list(lists.type.value_type))
    width = "i8" if pa.types.is_large_list(lists.type) else "i4"
    offsets = np.frombuffer(lists.buffers()[1] or bytes(8), width)
    lengths = np.diff(offsets[lists.offset : lists.offset + len(lists) + 1]).astype(np.int64)
    return _without_null(lists, lengths), lists.flatten()


def _without_null(lists: Any, lengths: Integers) -> Integers:
    if not lists.null_count:
        return lengths
    return np.where(lists.is_valid().to_numpy(zero_copy_only=False), lengths, 0)


def _inner_level(
    source: Source, items: Any, owners: Integers, shape: Integers, level: int
) -> tuple[Integers, Any]:
    """Lengths and items of the lists of one level; its length in ``shape``."""
    lists = source.inner(items, source.target.type, owners)
    why = "is a list that PostgreSQL's array does not have there: all of a row have one length"
    hint = "give the lists of a row one length, or store them as text"
    if items.null_count:
        bad = items.is_null().to_numpy(zero_copy_only=False)
        raise lists.refusal(int(np.argmax(bad)), why, hint)
    lengths, inner = _flat(items)
    if len(owners):
        begins = np.flatnonzero(np.diff(owners, prepend=-1))
        shape[owners[begins], level] = lengths[begins]
        lists.refuse_where(lengths != shape[owners, level], why, hint)
    return lengths, inner


def _refuse_repeated_keys(source: Source, keys: Any, owners: Integers) -> None:
    """hstore would keep one of them in silence."""
    if not len(keys):
        return
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    pairs = owners * (int(codes.max()) + 1) + codes
    order = np.argsort(pairs, kind="stable")
    again = order[1:][pairs[order[1:]] == pairs[order[:-1]]]
    if again.size:
        index = int(again.min())
        keyed = source.inner(keys, _TEXT, owners)
        raise keyed.refusal(index, "is a key twice in one map", "leave one of them out")
