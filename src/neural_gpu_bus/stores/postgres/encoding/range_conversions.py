"""Structs of two bounds to ranges: ``lower``, ``upper`` (NULL: none), ``lower_inclusive``,
``upper_inclusive``, ``empty``, as ranges are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.stores.arrow_values import booleans
from neural_gpu_bus.stores.postgres.encoding.copy_kernels import put_column
from neural_gpu_bus.stores.postgres.encoding.nested_conversions import (
    Converter,
    Places,
    cell_bytes,
)
from neural_gpu_bus.stores.postgres.encoding.text_conversions import text
from neural_gpu_bus.stores.postgres.encoding.views import without_views
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import PostgresType

FIELDS = ("lower", "upper", "lower_inclusive", "upper_inclusive", "empty")

#: rangetypes.h.
_EMPTY = 0x01
_INCLUSIVE = (0x02, 0x04)
_INFINITE = (0x08, 0x10)


def as_range(source: Source, element: PostgresType, convert: Converter) -> WireColumn:
    """A byte of flags, then the cells of the bounds that there are (rangetypes.c)."""
    parts = dict(zip(FIELDS, _known(source).flatten(), strict=True))
    rows = len(parts["empty"])
    valid = source.valid
    owners = np.arange(rows) if valid is None else np.flatnonzero(valid)
    empty = booleans(parts["empty"])
    flags = np.where(empty, _EMPTY, 0)
    sizes = np.ones(rows, np.int64)
    bounds = []
    for number, name in enumerate(FIELDS[:2]):
        there = booleans(parts[name].is_valid()) & ~empty
        inclusive = booleans(parts[f"{name}_inclusive"]) & there
        flags |= np.where(inclusive, _INCLUSIVE[number], 0)
        flags |= np.where(there | empty, 0, _INFINITE[number])
        chosen = np.flatnonzero(there)
        values = without_views(parts[name]).take(pa.array(chosen))
        column = convert(source.inner(values, element, owners[chosen]))
        sizes[chosen] += cell_bytes(column, len(chosen))
        bounds.append((chosen, column))
    counts = np.zeros(len(source.array), np.int64)
    counts[owners] = 1
    places = Places(source, counts, sizes, np.zeros(len(counts), np.int64))
    places.out[places.inner] = flags
    places.inner += 1
    for chosen, column in bounds:
        cursor = places.inner[chosen]
        put_column(places.out, cursor, column, 0, len(chosen))
        places.inner[chosen] = cursor
    return places.column()


def as_text(source: Source) -> WireColumn:
    """Bounds that are texts, as the text that the range's own input function reads."""
    parts = dict(zip(FIELDS, source.array.flatten(), strict=True))
    lower, upper = (_quoted(parts[name]) for name in FIELDS[:2])
    begin = pc.if_else(parts["lower_inclusive"], "[", "(")
    end = pc.if_else(parts["upper_inclusive"], "]", ")")
    written = pc.binary_join_element_wise(begin, lower, ",", upper, end, "")
    written = pc.if_else(parts["empty"], "empty", written)
    known = source.array.is_valid()
    return text(source.of(pc.if_else(known, written, pa.scalar(None, written.type))))


def _known(source: Source) -> Any:
    array = source.array
    return without_views(array).filter(array.is_valid()) if array.null_count else array


def _quoted(bound: Any) -> Any:
    """In quotes, which hide what rangetypes.c would take for its own; nothing for no bound."""
    plain = bound.cast(pa.string())
    escaped = pc.replace_substring_regex(plain, r'(["\\])', r"\\\1")
    return pc.fill_null(pc.binary_join_element_wise('"', escaped, '"', ""), "")
