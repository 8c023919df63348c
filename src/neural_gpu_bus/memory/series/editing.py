"""Updates, deletes and late rows: which rows of which chunks, and what stands there then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.series.batches import (
    Arrays,
    fitted,
    order_values,
    partition_codes,
)
from neural_gpu_bus.memory.series.exchanging import add_rows
from neural_gpu_bus.memory.series.records import Chunk
from neural_gpu_bus.memory.series.rewriting import own_table, replace
from neural_gpu_bus.memory.series.states import SeriesState

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.int64]

Edit = Literal["upsert", "update", "delete"]


def edit(
    state: SeriesState,
    columns: Any,
    on: Sequence[str] | None,
    kind: Edit,
    add: Callable[[SeriesState, Arrays], Numbers],
) -> int:
    """Do it to all partitions; how many rows were replaced, set or removed. ``add``: gives keys
    their partitions.
    """
    import numpy as np
    import pyarrow as pa

    shape = state.shape
    names = _names(state, columns, kind)
    arrays = fitted(shape, columns, names)
    table = pa.table(dict(arrays))
    on = _on(state, on, kind, names)
    if not table.num_rows:
        return 0
    numbers = add(state, arrays) if kind == "upsert" else _known(state, arrays)
    on = shape.flat(on)
    stored = table.select([name for name in table.column_names if name not in shape.key])
    partitions = np.unique(numbers[numbers >= 0])
    changed, without = 0, []
    with state.all_or_nothing(partitions):
        for partition in partitions.tolist():
            rows = np.flatnonzero(numbers == partition)
            found = _edit_partition(state, partition, stored, rows, on, kind)
            changed += found
            if kind == "upsert" and not found:
                without.append(rows[_last_of_each(stored.take(rows), on)])
        if without:
            kept = np.concatenate(without)
            _append_rows(state, stored.select(list(shape.by_name)).take(kept), numbers[kept])
    return changed


def _append_rows(state: SeriesState, table: pa.Table, numbers: Numbers) -> None:
    joined = table.combine_chunks()
    arrays = {name: joined[name].chunk(0) for name in joined.column_names}
    add_rows(state, arrays, numbers)


def _names(state: SeriesState, columns: Any, kind: Edit) -> list[str]:
    """Columns that are given; all for an upsert."""
    if kind == "upsert":
        return list(state.shape.schema.names)
    given = as_table(columns).column_names
    unknown = [name for name in given if name not in state.shape.schema.names]
    missing = [name for name in state.shape.key if name not in given]
    if unknown or missing:
        raise BadParameterError(
            f"columns are {given} where the series has {state.shape.schema.names} and key "
            f"{list(state.shape.key)}",
            hint="give the key, the columns to find rows by, and for an update those to set",
            parameter="columns",
        )
    return given


def _on(state: SeriesState, on: Sequence[str] | None, kind: Edit, names: list[str]) -> list[str]:
    """Columns besides the key that rows are found by."""
    shape = state.shape
    if on is None:
        if kind == "delete":
            return [name for name in names if name not in shape.key]
        if shape.order_by is None:
            raise BadParameterError(
                f"an {kind} of series {state.meta.name!r}, which has no order, needs `on`",
                hint="name the columns that rows are found by",
                parameter="on",
            )
        on = [shape.order_by]
    found = [name for name in on if name not in shape.key]
    if any(name not in names for name in found):
        raise BadParameterError(
            f"on={list(on)} is not among the columns given, {names}",
            hint="give values for each column that rows are found by",
            parameter="on",
        )
    if kind == "update" and shape.order_by in names and shape.order_by not in found:
        raise BadParameterError(
            f"the order column {shape.order_by!r} cannot be set",
            hint="delete the row and append it anew, or find rows by that column",
            parameter="columns",
        )
    return found


def _known(state: SeriesState, arrays: Arrays) -> Numbers:
    """Partition of each row; -1 where there is none."""
    import numpy as np

    rows = len(next(iter(arrays.values())))
    keys, codes = partition_codes([arrays[name] for name in state.shape.key], rows)
    ids = state.directory.ids
    return np.array([ids.get(key, -1) for key in keys], np.int64)[codes]


def _edit_partition(  # noqa: PLR0917  one partition of `edit`
    state: SeriesState,
    partition: int,
    stored: pa.Table,
    rows: Numbers,
    on: list[str],
    kind: Edit,
) -> int:
    """Changed rows; of an upsert without any, nothing is done."""
    slot = state.slot(partition)
    if not slot.rows:
        return 0
    if not on and kind == "delete":
        replace(state, partition, [])
        return slot.rows
    given = stored.take(rows)
    given = given.take(_last_of_each(given, on)).combine_chunks()
    changed, pieces = 0, []
    for chunk in state.chunks(slot):
        piece, found = _edited(state, chunk, given, on, kind)
        pieces.append(piece)
        changed += found
    if changed and kind == "upsert":
        pieces = _merged(state, pieces, given.select(list(state.shape.by_name)))
    if changed:
        replace(state, partition, pieces)
    return changed


def _edited(
    state: SeriesState, chunk: Chunk, given: pa.Table, on: list[str], kind: Edit
) -> tuple[Chunk | pa.Table, int]:
    """The chunk as it is, or its rows with the change."""
    import numpy as np

    if not chunk.own_rows or not _may_hold(state, chunk, given, on):
        return chunk, 0
    table = own_table(state, chunk)
    first, stop = _stretch(state, table, given, on)
    positions, sources = _matches(table.slice(first, stop - first), given, on)
    positions += first
    if not len(positions):
        return chunk, 0
    if kind == "update":
        return _updated(table, given, on, positions, sources), len(positions)
    kept = np.ones(table.num_rows, np.bool_)
    kept[positions] = False
    return table.take(np.flatnonzero(kept)), len(positions)


def _may_hold(state: SeriesState, chunk: Chunk, given: pa.Table, on: list[str]) -> bool:
    """Whether a row may be in a chunk, by the order of its first and last."""
    if state.shape.order_by not in on:
        return True
    first, last = (state.order_value(chunk, row) for row in (chunk.overlap, chunk.rows - 1))
    wanted = order_values(state.shape, given)
    return bool(((wanted >= first) & (wanted <= last)).any())


def _stretch(
    state: SeriesState, table: pa.Table, given: pa.Table, on: list[str]
) -> tuple[int, int]:
    """Between which rows the order lets any match be."""
    if state.shape.order_by not in on:
        return 0, table.num_rows
    held, wanted = order_values(state.shape, table), order_values(state.shape, given)
    first, stop = held.searchsorted(wanted.min()), held.searchsorted(wanted.max(), "right")
    return int(first), int(stop)


def _updated(
    table: pa.Table, given: pa.Table, on: list[str], positions: Numbers, sources: Numbers
) -> pa.Table:
    """Set all given columns in some rows, which are in order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = np.zeros(table.num_rows, np.bool_)
    chosen[positions] = True
    mask = pa.array(chosen)
    arrays = []
    for name in table.column_names:
        column = table[name]
        if name in given.column_names and name not in on:
            new = given[name].take(sources).combine_chunks()
            column = pc.replace_with_mask(column, mask, new)
        arrays.append(column)
    return pa.table(arrays, names=table.column_names)


def _matches(table: pa.Table, given: pa.Table, on: list[str]) -> tuple[Numbers, Numbers]:
    """Rows of ``table`` that equal one of ``given`` in all of ``on``, and which one that is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not on:
        rows = np.arange(table.num_rows)
        return rows, np.full(len(rows), given.num_rows - 1)
    found = pc.index_in(table[on[0]], value_set=pa.concat_arrays(given[on[0]].chunks))
    if len(on) == 1:
        rows = np.flatnonzero(found.is_valid().to_numpy())
        return rows, found.take(rows).to_numpy().astype(np.int64)
    candidates = np.flatnonzero(found.is_valid().to_numpy())
    wanted = {values: row for row, values in enumerate(_tuples(given, on))}
    pairs = [
        (row, wanted[values])
        for row, values in zip(
            candidates.tolist(), _tuples(table.take(candidates), on), strict=True
        )
        if values in wanted
    ]
    both = np.array(pairs, np.int64).reshape(len(pairs), 2)
    return both[:, 0], both[:, 1]


def _last_of_each(given: pa.Table, on: list[str]) -> Numbers:
    """Rows without those that a later one replaces."""
    import numpy as np

    last = {values: row for row, values in enumerate(_tuples(given, on))}
    return np.array(sorted(last.values()), np.int64)


def _tuples(table: pa.Table, on: list[str]) -> list[tuple[Any, ...]]:
    if not on:
        return [()] * table.num_rows
    return list(zip(*(_values(table[name]) for name in on), strict=True))


def _values(column: pa.ChunkedArray[Any]) -> list[Any]:
    """As Python has them; moments as numbers, because Python's have no nanoseconds."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
    found: list[Any] = column.to_pylist()
    return found


def _merged(
    state: SeriesState, pieces: Sequence[Chunk | pa.Table], new: pa.Table
) -> list[Chunk | pa.Table]:
    """Put rows into the pieces that their order wants; without an order behind the last."""
    import numpy as np
    import pyarrow as pa

    filled = [piece for piece in pieces if _count(piece)]
    if not filled:
        return [_sorted(state, new)]
    if state.shape.order is None:
        return [*filled[:-1], pa.concat_tables([_table(state, filled[-1]), new])]
    values = order_values(state.shape, new)
    firsts = [_first_value(state, piece) for piece in filled]
    places = np.maximum(np.searchsorted(firsts, values, side="right") - 1, 0)
    found: list[Chunk | pa.Table] = []
    for place, piece in enumerate(filled):
        rows = np.flatnonzero(places == place)
        if len(rows):
            piece = _sorted(state, pa.concat_tables([_table(state, piece), new.take(rows)]))  # noqa: PLW2901
        found.append(piece)
    return found


def _first_value(state: SeriesState, piece: Chunk | pa.Table) -> int:
    if isinstance(piece, Chunk):
        return state.order_value(piece, piece.overlap)
    return int(order_values(state.shape, piece.slice(0, 1).combine_chunks())[0])


def _sorted(state: SeriesState, table: pa.Table) -> pa.Table:
    import numpy as np

    table = table.combine_chunks()
    values = order_values(state.shape, table)
    return table.take(np.argsort(values, kind="stable")) if len(values) else table


def _count(piece: Chunk | pa.Table) -> int:
    return piece.own_rows if isinstance(piece, Chunk) else piece.num_rows


def _table(state: SeriesState, piece: Chunk | pa.Table) -> pa.Table:
    return (own_table(state, piece) if isinstance(piece, Chunk) else piece).combine_chunks()
