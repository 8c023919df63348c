"""Values as numbers: equal values get the same one, NULL the last.

Texts are numbered in parts side by side. What the first rows hold is known to all parts, so that
they agree where there are few different texts; where they do not, their numbers are matched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.aggregates.columns import ArrowArray, Column, from_floats, from_integers
from neural_gpu_bus.aggregates.threads import PART_ROWS, side_by_side

if TYPE_CHECKING:
    import numpy.typing as npt

    Codes = npt.NDArray[np.uint32]
    Integers = npt.NDArray[np.int64]

#: Rows numbered first, by one thread.
SEED_ROWS = 4096
#: Integers this close together are numbered by a table of them all, of four bytes each.
NEAR_MIN = 65_536
#: Integers this close together are numbers of groups as they are.
DIRECT_MAX = 1024


@dataclass(frozen=True)
class Numbered:
    """Numbers of a column's rows, and what they stand for."""

    #: (rows,); NULL is ``len(values)``.
    codes: Codes
    #: Without NULL; some may stand in no row.
    values: ArrowArray


def number_column(column: Column, threads: int) -> Numbered:
    """Any column that can be a key. -0.0 counts as 0.0, and NaN as equal to itself."""
    if pa.types.is_dictionary(column.type):
        return _hidden_nulls(column, *_number_dictionary(column, threads))
    if column.family == "text":
        return _hidden_nulls(column, *_number_texts(column.array, threads))
    if column.family == "float":
        return _hidden_nulls(column, *_number_floats(column))
    return number_ticks(column, column.integers, column.type)


def number_ticks(column: Column, ticks: Integers, kind: Any) -> Numbered:
    """Integers made of a column, which has its NULLs; ``kind``: Arrow's type of the values."""
    known = ticks if column.valid is None else ticks[column.valid]
    if len(known) and len(known) < len(ticks):  # what lies under NULL becomes a known value too
        ticks = np.where(np.asarray(column.valid), ticks, known[0])
    codes, values = _number_directly(ticks)
    return _hidden_nulls(column, codes, from_integers(values, np.ones(len(values), bool), kind))


def _number_directly(ticks: Integers) -> tuple[Codes, Integers]:
    """Numbers and values. Few close together are their distances from the lowest: 0.5 ms for 1M
    rows instead of 0.9; values that stand in no row are groups without rows.
    """
    from neural_gpu_bus.aggregates import numbering_compiled as compiled

    if not len(ticks):
        return np.empty(0, np.uint32), ticks
    low, high = _range(ticks)
    if high - low >= min(DIRECT_MAX, len(ticks)):
        codes, firsts = _number_between(ticks, low, high)
        return codes, ticks[firsts]
    codes = np.empty(len(ticks), np.uint32)
    compiled.subtract(ticks, low, codes)
    return codes, low + np.arange(high - low + 1)


def _range(values: Integers) -> tuple[int, int]:
    from neural_gpu_bus.aggregates import numbering_compiled as compiled

    ends = np.empty(2, np.int64)
    compiled.find_range(values, ends)
    return int(ends[0]), int(ends[1])


def combined(codes: list[Codes], counts: list[int]) -> tuple[Codes, list[Integers]]:
    """Numbers of several columns as one, and for each of these the numbers it is made of."""
    total, both = 1, np.zeros(len(codes[0]), np.int64)
    for one, count in zip(codes, counts, strict=True):
        if total * count >= 2**62:  # more than there can be rows: number them on the way
            found, firsts = _number_integers(both)
            both, total = found.astype(np.int64), len(firsts)
        both = both * count + one
        total *= count
    found, firsts = _number_integers(both)
    return found, [one[firsts].astype(np.int64) for one in codes]


def _hidden_nulls(column: Column, codes: Codes, values: ArrowArray) -> Numbered:
    if column.valid is not None:
        codes = np.where(column.valid, codes, np.uint32(len(values)))
    return Numbered(codes, values)


def _number_integers(values: Integers) -> tuple[Codes, Integers]:
    """Numbers, and the row in which each first stands."""
    if not len(values):
        return np.empty(0, np.uint32), np.empty(0, np.int64)
    return _number_between(values, *_range(values))


def _number_between(values: Integers, low: int, high: int) -> tuple[Codes, Integers]:
    from neural_gpu_bus.aggregates import numbering_compiled as compiled

    codes, firsts = np.empty(len(values), np.uint32), np.empty(len(values), np.int64)
    if high - low <= max(NEAR_MIN, 4 * len(values)):
        count = compiled.number_near(values, low, high, codes, firsts)
    else:
        count = compiled.number_words(values, codes, firsts)
    return codes, firsts[:count]


def _number_floats(column: Column) -> tuple[Codes, ArrowArray]:
    floats = column.floats + 0.0  # -0.0 becomes 0.0
    floats[np.isnan(floats)] = np.nan
    codes, firsts = _number_integers(floats.view(np.int64))
    values = floats[firsts]
    return codes, from_floats(values, np.ones(len(values), bool), column.type)


def _number_dictionary(column: Column, threads: int) -> tuple[Codes, ArrowArray]:
    """Its indices, unless it holds a value twice, NULL, or more values than rows."""
    array: Any = column.array
    if array.dictionary.null_count:
        found = number_column(Column(column.name, array.dictionary_decode()), threads)
        return found.codes, found.values
    indices, values = array.indices, array.dictionary
    codes = Column(column.name, indices).small_integers
    if column.valid is not None:
        codes = np.where(column.valid, codes, np.int32(0))
    if not len(values):
        return np.zeros(len(codes), np.uint32), values
    numbers, different = _number_texts(values, threads)
    if len(different) == len(values) and len(values) <= NEAR_MIN:
        return codes.view(np.uint32), values
    return numbers[codes], different


def _number_texts(array: Any, threads: int) -> tuple[Codes, ArrowArray]:
    """Whatever lies under NULL is numbered too, as a text."""
    from neural_gpu_bus.aggregates import numbering_compiled as compiled

    rows = len(array)
    if not rows:
        return np.empty(0, np.uint32), array
    if array.null_count:
        buffers = [None, *array.buffers()[1:]]
        array = pa.Array.from_buffers(array.type, rows, buffers, offset=array.offset)
    wide = pa.types.is_large_string(array.type)
    number = compiled.number_texts if wide else compiled.number_short_texts
    offsets = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32)
    offsets = offsets[array.offset : array.offset + rows + 1]
    data = array.buffers()[2]
    base = np.uint64(data.address if data is not None else 0)
    codes = np.empty(rows, np.uint32)
    seed_rows = min(rows, SEED_ROWS)
    seeds = np.empty(seed_rows, np.int64)
    count = number(offsets, base, 0, codes[:seed_rows], seeds, 0)
    seeds = seeds[:count]

    def work(part: slice) -> Integers:
        firsts = np.empty(count + part.stop - part.start, np.int64)
        firsts[:count] = seeds
        found = number(offsets, base, part.start, codes[part], firsts, count)
        return firsts[count:found]

    # Small parts, so that a thread that is put off has one of them; where texts are many, as few
    # parts as threads, because each learns them anew.
    share = -(-(rows - seed_rows) // threads)
    size = PART_ROWS if 4 * count <= seed_rows else max(PART_ROWS, share)
    parts = [slice(at, min(at + size, rows)) for at in range(seed_rows, rows, size)]
    new = side_by_side(work, parts, threads)
    firsts = np.concatenate([seeds, *new])
    values = array.take(pa.array(firsts))
    if sum(1 for one in new if len(one)) < 2:
        return codes, values
    return _matched(codes, values, count, parts, new)


def _matched(
    codes: Codes, values: ArrowArray, seeds: int, parts: list[slice], new: list[Integers]
) -> tuple[Codes, ArrowArray]:
    """What each part numbered by itself, numbered the same for all."""
    numbers, different = _number_texts(values, 1)
    start = seeds
    for part, found in zip(parts, new, strict=True):
        own = np.concatenate([numbers[:seeds], numbers[start : start + len(found)]])
        if len(found):
            codes[part] = own[codes[part]]
        start += len(found)
    return codes, different
