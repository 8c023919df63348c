"""Rows into groups: one number a row, and each group's keys as Arrow columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.aggregates.condition_mask import TICKS_PER_S, where_true
from neural_gpu_bus.aggregates.numbering import Numbered, combined, number_column, number_ticks
from neural_gpu_bus.errors import BadParameterError

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.aggregates.columns import ArrowArray, Column
    from neural_gpu_bus.aggregates.request import Bucket, Request

    Codes = npt.NDArray[np.uint32]

#: Groups of one question: their records take 160 bytes for every four columns.
GROUPS_MAX = 4_000_000


class Numbers:
    """Numbers of columns, each made once: a condition and a key may want the same."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._known: dict[str, Numbered] = {}

    def of(self, column: Column) -> Numbered:
        """Its numbers."""
        if column.name not in self._known:
            self._known[column.name] = number_column(column, self._threads)
        return self._known[column.name]

    def texts(self, column: Column) -> tuple[Codes, list[Any]]:
        """Numbers, and the texts they stand for."""
        found = self.of(column)
        return found.codes, found.values.to_pylist()


@dataclass(frozen=True)
class Groups:
    """Groups of rows; some may have no rows."""

    #: (rows,); ``count`` for rows that a condition left out.
    codes: Codes
    count: int
    #: Key columns by name, each of length ``count``.
    keys: Mapping[str, ArrowArray]


def group_rows(
    request: Request, columns: Mapping[str, Column], rows: int, numbers: Numbers
) -> Groups:
    """Raises BadParameterError for more groups than there may be."""
    found = {name: numbers.of(columns[name]) for name in request.by}
    if request.bucket is not None:
        found[request.bucket.column] = _bucketed(columns[request.bucket.column], request.bucket)
    codes, count, keys = _grouped(found, rows)
    if count > GROUPS_MAX:
        raise BadParameterError(
            f"there are up to {count:,} groups, more than {GROUPS_MAX:,}",
            hint="group by fewer columns, or by wider buckets",
            parameter="by",
        )
    if request.where is not None:
        true = where_true(request.where, columns, numbers.texts)
        codes = np.where(true, codes, np.uint32(count))
    return Groups(codes, count, keys)


def _grouped(found: Mapping[str, Numbered], rows: int) -> tuple[Codes, int, dict[str, ArrowArray]]:
    if not found:
        return np.zeros(rows, np.uint32), 1, {}
    values = {
        name: pa.concat_arrays([one.values, pa.nulls(1, one.values.type)])
        for name, one in found.items()
    }
    if len(found) == 1:
        ((name, one),) = found.items()
        return one.codes, len(values[name]), values
    counts = [len(values[name]) for name in found]
    codes, numbers = combined([one.codes for one in found.values()], counts)
    keys = {
        name: values[name].take(pa.array(number))
        for name, number in zip(found, numbers, strict=True)
    }
    return codes, len(numbers[0]), keys


def _bucketed(column: Column, bucket: Bucket) -> Numbered:
    from neural_gpu_bus.aggregates import numbering_compiled as compiled

    ticks_per_s = TICKS_PER_S[column.type.unit]
    width, rest = divmod(bucket.width_us * ticks_per_s, 1_000_000)
    origin = bucket.origin_us * ticks_per_s // 1_000_000
    if rest or not -(2**62) < origin < 2**62 or width >= 2**62:
        raise BadParameterError(
            f"buckets of {bucket.width_us:,} us do not fit {column.name!r} ({column.type})",
            hint="take a width that is a multiple of the column's unit",
            parameter="bucket",
        )
    ticks = column.integers
    starts = np.empty(len(ticks), np.int64)
    compiled.floor_ticks(ticks, width, origin, starts)
    return number_ticks(column, starts, column.type)
