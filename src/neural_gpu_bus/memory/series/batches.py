"""Rows as people give them, made ready to be written: typed, checked, split by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, BadValueError, UnsupportedTypeError
from neural_gpu_bus.memory.series import kernels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.directory import Key
    from neural_gpu_bus.memory.series.shape import Shape

    Numbers = npt.NDArray[np.int64]

_FORMS = {"bits": kernels.BITS, "text": kernels.TEXT}
#: NaN by the width of a float, as signed numbers.
_NAN = {8: 0x7FF8000000000000, 4: 0x7FC00000, 2: 0x7E00}


def column_matrix(shape: Shape) -> Numbers:
    """What compiled loops know of the stored columns."""
    import numpy as np

    matrix = np.zeros((len(shape.stored), kernels.COLUMN_FIELDS), np.int64)
    for number, column in enumerate(shape.stored):
        width = column.kind.item_bytes
        filler = _NAN[width] if column.kind.null == "nan" else 0
        form = _FORMS.get(column.kind.form, kernels.FIXED)
        matrix[number] = form, width, column.nullable, filler, column.text
    return matrix


def fitted(shape: Shape, columns: Any, names: Sequence[str]) -> pa.Table:
    """These columns, in this order, each in one piece and of the series' type.

    Raises BadParameterError for columns that are missing or too many, BadValueError for values
    that do not fit and for NULLs where none may be, UnsupportedTypeError.
    """
    import pyarrow as pa

    table = as_table(columns)
    if sorted(table.column_names) != sorted(names):
        raise BadParameterError(
            f"columns are {table.column_names} where {list(names)} are wanted",
            hint="give exactly these",
            parameter="columns",
        )
    fields = [shape.schema.field(name) for name in names]
    return pa.table([_column(table[field.name], field, shape) for field in fields], names=[*names])


def _column(column: pa.ChunkedArray[Any], field: pa.Field[Any], shape: Shape) -> Any:
    import pyarrow as pa

    try:
        if column.type != field.type:
            column = column.cast(field.type)
    except pa.ArrowNotImplementedError as error:
        raise UnsupportedTypeError(
            f"column {field.name!r} is {column.type} where {field.type} is wanted: {error}",
            hint="cast it",
            column=field.name,
            type=str(column.type),
        ) from None
    except pa.ArrowInvalid as error:
        raise BadValueError(
            f"column {field.name!r} does not fit into {field.type}: {error}",
            hint="cast it, or declare the series with a wider type",
            column=field.name,
            row=0,
        ) from None
    stored = shape.by_name.get(field.name)
    if column.null_count and (stored is None or not stored.nullable):
        raise BadValueError(
            f"column {field.name!r} has {column.null_count} NULLs where none may be",
            hint="leave these rows out; keys and the order column have no NULLs",
            column=field.name,
            row=0,
        )
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.array([], field.type)
    return pa.concat_arrays(column.chunks)


def partition_codes(keys: pa.Table, rows: int) -> tuple[list[Key], Numbers]:
    """The different keys, and for each row which of them it has."""
    import numpy as np

    if not keys.num_columns:
        return [()], np.zeros(rows, np.int64)
    codes = np.zeros(rows, np.int64)
    values: list[list[Any]] = []
    for column in keys.columns:
        encoded: Any = column.chunk(0).dictionary_encode() if column.num_chunks else None
        if encoded is None:
            return [], codes
        values.append(encoded.dictionary.to_pylist())
        codes = codes * len(values[-1]) + encoded.indices.to_numpy(zero_copy_only=False)
    if len(values) == 1:
        return [(value,) for value in values[0]], codes
    found, codes = np.unique(codes, return_inverse=True)
    parts: list[list[Any]] = []
    for several in reversed(values):
        parts.insert(0, [several[code] for code in (found % len(several)).tolist()])
        found = found // len(several)
    return list(zip(*parts, strict=True)), codes.reshape(rows)


@dataclass(slots=True)
class Batch:
    """Rows of stored columns by address, in groups of one partition each.

    ``table`` keeps the bytes; ``order`` is empty where the rows stand grouped already. Group g has
    the rows at positions ``firsts[g]`` to ``firsts[g] + counts[g]`` of the order.
    """

    table: pa.Table
    sources: Numbers
    order: Numbers
    partitions: Numbers
    firsts: Numbers
    counts: Numbers
    #: Of each position; empty where the series has no order.
    order_values: Numbers

    def group_table(self, group: int) -> pa.Table:
        """Rows of one group, in order."""
        first, count = int(self.firsts[group]), int(self.counts[group])
        if not len(self.order):
            return self.table.slice(first, count)
        return self.table.take(self.order[first : first + count])


def batch_of(shape: Shape, table: pa.Table, partitions: Numbers) -> Batch:
    """Group rows of stored columns by partition, in order within each; equal ones stay as given."""
    import numpy as np

    values = order_values(shape, table)
    order = _order(partitions, values)
    if len(order):
        partitions = partitions[order]
        values = values[order] if len(values) else values
    begins = np.flatnonzero(partitions[1:] != partitions[:-1]) + 1
    firsts = np.concatenate([np.zeros(min(1, len(partitions)), np.int64), begins])
    counts = np.diff(firsts, append=len(partitions))
    return Batch(table, sources_of(shape, table), order, partitions[firsts], firsts, counts, values)


def _order(partitions: Numbers, values: Numbers) -> Numbers:
    import numpy as np

    step = partitions[1:] - partitions[:-1]
    grouped = bool((step >= 0).all())
    if grouped and (not len(values) or bool(((values[1:] >= values[:-1]) | (step > 0)).all())):
        return np.empty(0, np.int64)
    if len(values):
        return np.lexsort((values, partitions))
    return np.argsort(partitions, kind="stable")


def order_values(shape: Shape, table: pa.Table) -> Numbers:
    """Of the order column, as 64-bit numbers; none where the series has no order."""
    import numpy as np

    if shape.order is None or not table.num_rows:
        return np.empty(0, np.int64)
    array = _one(table[shape.order.name])
    raw = np.frombuffer(
        array.buffers()[1],
        shape.order.kind.raw,
        len(array),
        array.offset * shape.order.kind.item_bytes,
    )
    return raw.astype(np.int64, copy=False)


def sources_of(shape: Shape, table: pa.Table) -> Numbers:
    """Where the stored columns of a table lie."""
    import numpy as np

    sources = np.zeros((len(shape.stored), kernels.SOURCE_FIELDS), np.int64)
    for number, column in enumerate(shape.stored):
        if not table.num_rows:
            continue
        array = _one(table[column.name])
        validity, values, *data = array.buffers()
        form, at = column.kind.form, array.offset
        if array.null_count:
            sources[number, kernels.VALIDITY] = validity.address
            sources[number, kernels.VALIDITY_BIT] = at
        width = {"bits": 0, "text": 8}.get(form, column.kind.item_bytes)
        sources[number, kernels.VALUES] = values.address + at * width
        if form == "bits":
            sources[number, kernels.VALUES_BIT] = at
        if data and data[0] is not None:
            sources[number, kernels.DATA] = data[0].address
    return sources


def _one(column: pa.ChunkedArray[Any]) -> Any:
    assert column.num_chunks == 1  # noqa: S101  ``fitted`` joins them
    return column.chunk(0)
