"""Rows as people give them, made ready to be written: typed, checked, split by partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError, BadValueError, UnsupportedTypeError
from neural_gpu_bus.memory.series import kernels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.layout.column_types import ColumnType
    from neural_gpu_bus.memory.series.directory import Key
    from neural_gpu_bus.memory.series.shape import Shape

    Numbers = npt.NDArray[np.int64]

#: Columns in one piece each, by name. No table: making one takes longer than using it.
Arrays = Mapping[str, Any]

#: Forms of columns as compiled loops know them; all others are of fixed width.
FORMS = {"bits": kernels.BITS, "text": kernels.TEXT}
#: NaN by the width of a float, as signed numbers.
_NAN = {8: 0x7FF8000000000000, 4: 0x7FC00000, 2: 0x7E00}
#: Codes of rows by several columns stay under it, so that they fit into 64 bits.
_CODES_MAX = 1 << 62
#: Their keys are looked at one by one.
FEW_ROWS = 32
#: Numbers of partitions that are counted to group rows; beyond, rows are sorted.
_NUMBERS_PER_ROW_MAX, _NUMBERS_MAX = 4, 1 << 14


def column_matrix(shape: Shape) -> Numbers:
    """What compiled loops know of the stored columns."""
    import numpy as np

    matrix = np.zeros((len(shape.stored), kernels.COLUMN_FIELDS), np.int64)
    for number, column in enumerate(shape.stored):
        width = column.kind.item_bytes
        filler = _NAN[width] if column.kind.null == "nan" else 0
        form = FORMS.get(column.kind.form, kernels.FIXED)
        matrix[number] = form, width, column.nullable, filler, column.text
    return matrix


def fitted(shape: Shape, columns: Any, names: Sequence[str], *, exact: bool = False) -> Arrays:
    """These columns, in this order, each in one piece and of the series' type; texts of the key in
    either width unless ``exact``. Columns with parts are given as their flat ones.

    Raises BadParameterError for columns that are missing or too many, BadValueError for values
    that do not fit and for NULLs where none may be, UnsupportedTypeError.
    """
    table = as_table(columns)
    if sorted(table.column_names) != sorted(names):
        raise BadParameterError(
            f"columns are {table.column_names} where {list(names)} are wanted",
            hint="give exactly these",
            parameter="columns",
        )
    found: dict[str, Any] = {}
    for name in names:
        field = shape.schema.field(name)
        if name in shape.nested:
            found.update(_nested(table[name], field, shape))
        else:
            found[name] = _column(table[name], field, shape, exact=exact)
    return found


def _nested(column: pa.ChunkedArray[Any], field: pa.Field[Any], shape: Shape) -> Arrays:
    """Its flat columns."""
    from neural_gpu_bus.memory.series.taking_apart import taken_apart

    _check_nulls(column, field.name, nullable=field.nullable)
    with _casting(column, field):
        parts = [taken_apart(chunk, field.type, field.name) for chunk in column.chunks]
    flat = [shape.by_name[name] for name in shape.flat_names[field.name]]
    return {one.name: _in_one([part[one.name] for part in parts], one.arrow) for one in flat}


def _column(
    column: pa.ChunkedArray[Any], field: pa.Field[Any], shape: Shape, *, exact: bool
) -> Any:

    stored = shape.by_name.get(field.name)
    # A key is looked up by its value, which a text of either width has; casting 100 takes 24 us.
    either = stored is None and not exact and _are_texts(column, field)
    as_it_is = column.type == field.type or either
    if not as_it_is:
        with _casting(column, field):
            column = column.cast(field.type)
    _check_nulls(column, field.name, nullable=stored is not None and stored.nullable)
    return _in_one(column.chunks, field.type)


@contextmanager
def _casting(column: pa.ChunkedArray[Any], field: pa.Field[Any]) -> Iterator[None]:
    """What does not fit is told as ours."""
    import pyarrow as pa

    try:
        yield
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


def _check_nulls(column: pa.ChunkedArray[Any], name: str, *, nullable: bool) -> None:
    if column.null_count and not nullable:
        raise BadValueError(
            f"column {name!r} has {column.null_count} NULLs where none may be",
            hint="leave these rows out; keys and the order column have no NULLs",
            column=name,
            row=0,
        )


def _in_one(chunks: Sequence[Any], kind: pa.DataType) -> Any:
    import pyarrow as pa

    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], kind)


def _are_texts(column: pa.ChunkedArray[Any], field: pa.Field[Any]) -> bool:
    import pyarrow as pa

    return pa.types.is_string(column.type) and pa.types.is_large_string(field.type)


def partition_codes(keys: Sequence[Any], rows: int) -> tuple[list[Key], Numbers]:
    """The different keys, and for each row which of them it has."""
    import numpy as np

    if not keys:
        return [()], np.zeros(rows, np.int64)
    if rows <= FEW_ROWS:
        return _few_codes(keys)
    if len(keys) == 1:
        encoded = keys[0].dictionary_encode()
        places_of_one = encoded.indices.to_numpy(zero_copy_only=False)
        return [(value,) for value in _plain(encoded.dictionary)], places_of_one
    codes, count = np.zeros(rows, np.int64), 1
    values: list[list[Any]] = []
    places: list[npt.NDArray[np.int32]] = []
    for column in keys:
        encoded = column.dictionary_encode()
        values.append(_plain(encoded.dictionary))
        places.append(encoded.indices.to_numpy(zero_copy_only=False))
        count *= len(values[-1])
        if count > _CODES_MAX:  # numbered anew: there are no more than rows
            codes = np.unique(codes, return_inverse=True)[1].reshape(rows)
            count = rows * len(values[-1])
        codes = codes * len(values[-1]) + places[-1]
    _, firsts, codes = np.unique(codes, return_index=True, return_inverse=True)
    parts = [
        [several[place] for place in of_row[firsts].tolist()]
        for several, of_row in zip(values, places, strict=True)
    ]
    return list(zip(*parts, strict=True)), codes.reshape(rows)


def _few_codes(keys: Sequence[Any]) -> tuple[list[Key], Numbers]:
    """The same row by row: Arrow takes 50 us to begin."""
    import numpy as np

    numbers: dict[Key, int] = {}
    codes = [
        numbers.setdefault(key, len(numbers))
        for key in zip(*(_plain(column) for column in keys), strict=True)
    ]
    return list(numbers), np.array(codes, np.int64)


def _plain(array: Any) -> list[Any]:
    """As Python has them; whole numbers by way of numpy, ten times as quick."""
    import pyarrow as pa

    if pa.types.is_integer(array.type):
        found: list[Any] = array.to_numpy().tolist()
        return found
    return list(array.to_pylist())


@dataclass(slots=True)
class Batch:
    """Rows of stored columns by address, in groups of one partition each.

    ``columns`` keep the bytes; ``order`` is empty where the rows stand grouped already. Group g has
    the rows at positions ``firsts[g]`` to ``firsts[g] + counts[g]`` of the order.
    """

    columns: Arrays
    sources: Numbers
    order: Numbers
    partitions: Numbers
    firsts: Numbers
    counts: Numbers
    #: Order values of the columns' rows; empty where the series has no order.
    values: Numbers
    #: Of each group rows that come in later batches; None where nobody knows.
    to_come: Numbers | None = None

    def left(self, group: int) -> int:
        """Rows that are known to come after this batch."""
        return 0 if self.to_come is None else int(self.to_come[group])

    def parts(self, rows_max: int) -> Iterator[Batch]:
        """The same rows in batches of about so many, no more than that of one partition."""
        firsts, counts, of_group, to_come = [], [], [], []
        held = 0
        for group, (first, count) in enumerate(
            zip(self.firsts.tolist(), self.counts.tolist(), strict=True)
        ):
            for at in range(0, count, rows_max):
                rows = min(rows_max, count - at)
                firsts.append(first + at)
                counts.append(rows)
                of_group.append(group)
                to_come.append(count - at - rows)
                held += rows
                if held >= rows_max:
                    yield self._part(firsts, counts, of_group, to_come)
                    firsts, counts, of_group, to_come = [], [], [], []
                    held = 0
        if held:
            yield self._part(firsts, counts, of_group, to_come)

    def _part(
        self, firsts: list[int], counts: list[int], groups: list[int], to_come: list[int]
    ) -> Batch:
        import numpy as np

        found = [np.array(numbers, np.int64) for numbers in (firsts, counts, groups, to_come)]
        partitions = self.partitions[found[2]]
        return Batch(
            self.columns,
            self.sources,
            self.order,
            partitions,
            found[0],
            found[1],
            self.values,
            found[3],
        )

    def order_values(self, positions: Numbers) -> Numbers:
        """Of rows by their position in the order."""
        return self.values[self.order[positions] if len(self.order) else positions]


def batch_of(
    shape: Shape, columns: Arrays, partitions: Numbers, rows: Numbers | None = None
) -> Batch:
    """Group rows of stored columns by partition, in order within each; equal ones stay as given.

    ``rows``: only these of the columns; ``partitions`` are of all.
    """
    values = order_values(shape, columns)
    if rows is not None:
        partitions, values = partitions[rows], values[rows] if len(values) else values
    order, firsts, counts = _grouped(partitions, values)
    begins = order[firsts] if len(order) else firsts
    of_groups = partitions[begins]
    if rows is not None:
        order = rows[order] if len(order) else rows
        values = order_values(shape, columns)
    sources = sources_of(shape, columns)
    return Batch(columns, sources, order, of_groups, firsts, counts, values)


def _grouped(partitions: Numbers, values: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Rows by partition, then value, then as they came; where groups begin in that order, and how
    many rows each has. The order is empty where rows stand like that.
    """
    import numpy as np

    from neural_gpu_bus.memory.series import grouping_kernels as loops

    if loops.is_grouped(partitions, values):
        return np.empty(0, np.int64), *_stretches(partitions)
    numbers = int(partitions.max()) + 1
    if numbers > max(_NUMBERS_PER_ROW_MAX * len(partitions), _NUMBERS_MAX):
        order = np.argsort(partitions, kind="stable")
        firsts, counts = _stretches(partitions[order])
        falls = np.ones(len(firsts), np.bool_)
    else:
        order, ends = np.empty(len(partitions), np.int64), np.zeros(numbers + 1, np.int64)
        falls = np.zeros(numbers, np.bool_)
        loops.group(partitions, values, ends, order, falls)
        counts = np.diff(ends[:-1], prepend=0)
        there = counts > 0
        firsts, counts, falls = (ends[:-1] - counts)[there], counts[there], falls[there]
    if len(values):
        loops.sort_groups(firsts[falls], counts[falls], values, order)
    return order, firsts, counts


def _stretches(partitions: Numbers) -> tuple[Numbers, Numbers]:
    """Where rows of one partition begin, and how many there are."""
    import numpy as np

    begins = np.ones(len(partitions), np.bool_)
    np.not_equal(partitions[1:], partitions[:-1], out=begins[1:])
    firsts = np.flatnonzero(begins)
    return firsts, lengths(firsts, len(partitions))


def lengths(firsts: Numbers, stop: int) -> Numbers:
    """Of stretches that begin there and follow each other; numpy's diff takes four times as long
    for few.
    """
    import numpy as np

    counts = np.empty_like(firsts)
    np.subtract(firsts[1:], firsts[:-1], out=counts[:-1])
    counts[-1:] = stop - firsts[-1:]
    return counts


def order_values(shape: Shape, columns: Arrays | pa.Table) -> Numbers:
    """Of the order column, as 64-bit numbers; none where the series has no order."""
    import numpy as np

    if shape.order is None:
        return np.empty(0, np.int64)
    array = one_array(columns[shape.order.name])
    if not len(array):
        return np.empty(0, np.int64)
    raw = np.frombuffer(
        array.buffers()[1],
        shape.order.kind.raw,
        len(array),
        array.offset * shape.order.kind.item_bytes,
    )
    return raw.astype(np.int64, copy=False)


def sources_of(
    shape: Shape, columns: Arrays | pa.Table, names: Sequence[str] | None = None
) -> Numbers:
    """Where the stored columns of a table lie; ``names``: only these are there."""
    import numpy as np

    sources = np.zeros((len(shape.stored), kernels.SOURCE_FIELDS), np.int64)
    for number, column in enumerate(shape.stored):
        if names is None or column.name in names:
            sources[number] = source_of(one_array(columns[column.name]), column.kind)
    return sources


def source_of(array: Any, kind: ColumnType) -> Numbers:
    """Where the rows of one array lie; zeros for no rows."""
    import numpy as np

    source = np.zeros(kernels.SOURCE_FIELDS, np.int64)
    if not len(array):
        return source
    validity, values, *data = array.buffers()
    form, at = kind.form, array.offset
    if array.null_count:
        source[kernels.VALIDITY] = validity.address
        source[kernels.VALIDITY_BIT] = at
    width = {"bits": 0, "text": 8}.get(form, kind.item_bytes)
    source[kernels.VALUES] = values.address + at * width
    if form == "bits":
        source[kernels.VALUES_BIT] = at
    if data and data[0] is not None:
        source[kernels.DATA] = data[0].address
    return source


def one_array(column: Any) -> Any:
    """A column as one array; those of tables are joined by their makers, or empty."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column
