"""Rows that go and rows that come, in one step: found by what they hold, put where the order wants.

A partition's chunks are written anew where something in them goes or comes between; rows that come
behind the last are appended in place. A row that comes for one that goes, with the same order
value, takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.memory.series import finding_kernels as finding
from neural_gpu_bus.memory.series import weaving_kernels as loops
from neural_gpu_bus.memory.series.appending import append
from neural_gpu_bus.memory.series.batches import (
    Arrays,
    batch_of,
    lengths,
    one_array,
    order_values,
    sources_of,
)
from neural_gpu_bus.memory.series.chunk_table import ChunkTable, chunk_table, order_facts
from neural_gpu_bus.memory.series.records import Chunk
from neural_gpu_bus.memory.series.rewriting import own_table, replace
from neural_gpu_bus.memory.series.states import SeriesState
from neural_gpu_bus.memory.series.weaving import Rows, Weaving, room_for

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Where rows lie, until the next change of their series.

    ``partitions``: of each row; ``values``: its order value, 0 without an order; ``places``: shape
    (rows, 2), its chunk in ``held`` and its row in that chunk's extent, -1 where there is none.
    """

    held: ChunkTable
    partitions: Numbers
    values: Numbers
    places: Numbers

    @property
    def missing(self) -> Numbers:
        """Rows that are not there."""
        return np.flatnonzero(self.places[:, 0] < 0)


def find(state: SeriesState, partitions: Numbers, values: Numbers, columns: Arrays) -> FoundRows:
    """Rows of these partitions (-1: of none) and order values that are equal in ``columns``.

    No row is found twice: of several that are wanted alike, each has one of its own or none.
    """
    places = np.full((len(partitions), 2), -1, np.int64)
    held = chunk_table(state, np.unique(partitions[partitions >= 0]))
    if len(held.raw):
        members, groups = _groups(held, partitions, values)
        on = np.array([state.shape.by_name[name].place for name in columns], np.int64)
        sources = sources_of(state.shape, columns, list(columns))
        rows = np.arange(len(partitions))
        finding.find_rows(
            *(state.columns, on, order_facts(state.shape), held.table, groups, members),
            *(values, rows, sources, places),
        )
    return FoundRows(held, partitions, values, places)


def _groups(held: ChunkTable, partitions: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Rows of known partitions by partition and value, and where each such group begins."""
    order = np.lexsort((values, partitions))
    members = order[np.searchsorted(partitions[order], 0) :]
    by_partition, by_value = partitions[members], values[members]
    begins = np.ones(len(members), np.bool_)
    begins[1:] = (by_partition[1:] != by_partition[:-1]) | (by_value[1:] != by_value[:-1])
    firsts = np.flatnonzero(begins)
    return members, _group_table(held, by_partition[firsts], firsts, len(members))


def _group_table(held: ChunkTable, partitions: Numbers, firsts: Numbers, stop: int) -> Numbers:
    groups = np.empty((len(firsts), finding.GROUP_FIELDS), np.int64)
    groups[:, finding.GROUP_FIRST] = firsts
    groups[:, finding.GROUP_COUNT] = lengths(firsts, stop)
    at = held.places(partitions)
    groups[:, finding.GROUP_CHUNK] = held.firsts[at]
    groups[:, finding.GROUP_CHUNKS] = held.counts[at]
    return groups


def take(state: SeriesState, found: FoundRows, rows: Numbers, names: Sequence[str]) -> pa.Table:
    """Columns of some rows that were found, in this order, none of the key; a copy."""
    import pyarrow as pa

    shape, flat = state.shape, state.shape.flat(names)
    chunks, at = found.places[rows].T
    order = np.argsort(chunks, kind="stable")
    tables = [pa.schema([(name, shape.by_name[name].arrow) for name in flat]).empty_table()]
    for number in np.unique(chunks).tolist():
        chunk = Chunk._make(found.held.raw[number].item())
        inside = at[order][chunks[order] == number] - chunk.overlap
        tables.append(own_table(state, chunk).select(flat).take(inside))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    held = pa.concat_tables(tables).take(back).combine_chunks()
    return pa.table({name: _whole(state, held, name) for name in names})


def _whole(state: SeriesState, table: pa.Table, name: str) -> Any:
    """A column of a table of flat ones."""
    from neural_gpu_bus.memory.series.putting_together import put_together

    kind = state.shape.nested.get(name)
    if kind is None:
        return table[name]
    return put_together(kind, name, lambda flat: one_array(table[flat]))


def is_late(state: SeriesState, columns: Arrays, partitions: Numbers) -> bool:
    """Whether a row comes before the last of its partition."""
    return bool(late_rows(state, columns, partitions).any())


def late_rows(state: SeriesState, columns: Arrays, partitions: Numbers) -> Bools:
    """Which rows come before the last of their partition."""
    return _late(state, order_values(state.shape, columns), partitions)


def add_rows(state: SeriesState, columns: Arrays, partitions: Numbers) -> None:
    """Rows of partitions that are known, wherever the order wants them. All of it or nothing."""
    if not is_late(state, columns, partitions):
        batch = batch_of(state.shape, columns, partitions)
        with state.all_or_nothing(batch.partitions):
            append(state, batch)
        return
    nothing = np.empty(0, np.int64)
    found = FoundRows(chunk_table(state, nothing), nothing, nothing, np.empty((0, 2), np.int64))
    exchange(state, found, columns, partitions, np.full(len(partitions), -1))


def exchange(
    state: SeriesState, found: FoundRows, columns: Arrays, partitions: Numbers, takes: Numbers
) -> None:
    """Rows that were found go, and these come. All of it or nothing.

    ``columns``: all that are stored, as ``fitted`` gives them. ``takes``: for each row that comes
    which one of those that go it takes the place of, if partition and order value are the same; -1
    none.
    """
    values = order_values(state.shape, columns)
    comes, loose = _pairs(found, values, partitions, takes)
    late = loose & _late(state, values, partitions)
    touched = np.unique(np.concatenate([found.partitions, partitions[late]]))
    with state.all_or_nothing(np.unique(np.concatenate([touched, np.unique(partitions)]))):
        if len(touched):
            rows = np.flatnonzero(late)
            _rewrite(state, _at(state, found, touched), comes, rows, columns, values, partitions)
        rows = np.flatnonzero(loose & ~late)
        if len(rows):
            chosen = None if len(rows) == len(partitions) else rows
            append(state, batch_of(state.shape, columns, partitions, chosen))


def _pairs(
    found: FoundRows, values: Numbers, partitions: Numbers, takes: Numbers
) -> tuple[Numbers, Bools]:
    """Which row comes for each that goes (-1: none), and which rows come for none."""
    comes = np.full(len(found.partitions), -1, np.int64)
    loose = np.ones(len(partitions), np.bool_)
    new = np.flatnonzero(takes >= 0)
    old = takes[new]
    same = found.partitions[old] == partitions[new]
    if len(values):
        same &= found.values[old] == values[new]
    comes[old[same]] = new[same]
    loose[new[same]] = False
    return comes, loose


def _late(state: SeriesState, values: Numbers, partitions: Numbers) -> Bools:
    """Rows that come before the last of their partition."""
    if not len(values) or not state.slots["rows"].any():
        return np.zeros(len(partitions), np.bool_)
    late: Bools = values < state.last_values[partitions]
    if late.any():
        late &= state.slots["rows"][partitions] > 0
    return late


def _at(state: SeriesState, found: FoundRows, partitions: Numbers) -> FoundRows:
    """The same rows, counted in a table of the chunks of more partitions."""
    if len(partitions) == len(found.held.partitions):
        return found
    held, before = chunk_table(state, partitions), found.held
    places = found.places.copy()
    if len(places):
        shift = held.firsts[held.places(before.partitions)] - before.firsts
        places[:, 0] += shift[before.places(found.partitions)]
    return FoundRows(held, found.partitions, found.values, places)


def _rewrite(  # noqa: PLR0917  one step of `exchange`
    state: SeriesState,
    found: FoundRows,
    comes: Numbers,
    late: Numbers,
    columns: Arrays,
    values: Numbers,
    partitions: Numbers,
) -> None:
    held = found.held
    late = late[np.lexsort((values[late], partitions[late]))] if len(late) else late
    events = _events(state, found, comes, late, values, partitions)
    runs = np.empty((2 * len(events) + len(held.raw), loops.RUN_FIELDS), np.int64)
    firsts = np.empty(len(held.raw) + 1, np.int64)
    chunks = np.column_stack(
        [np.arange(len(held.raw)), held.table[:, finding.OVERLAP], held.table[:, finding.ROWS]]
    )
    runs = runs[: loops.plan_runs(events, chunks, runs, firsts)]
    rows = np.diff(np.concatenate([[0], np.cumsum(runs[:, loops.RUN_ROWS])])[firsts])
    weaving = Weaving(state, held, sources_of(state.shape, columns))
    alone = held.counts == 1
    alone[alone] = _fit_alone(state, held, rows, held.firsts[alone])
    _rewrite_heads(state, weaving, held, np.flatnonzero(alone), (runs, firsts, rows))
    changed = np.bincount(events[:, loops.CHUNK], minlength=len(held.raw)) > 0
    for place in np.flatnonzero(~alone).tolist():
        first = int(held.firsts[place])
        pieces = [
            Rows(runs[firsts[number] : firsts[number + 1]]) if changed[number] else chunk
            for number, chunk in enumerate(held.chunks(place), first)
        ]
        replace(state, int(held.partitions[place]), pieces, weaving)


def _events(  # noqa: PLR0917  one step of `exchange`
    state: SeriesState,
    found: FoundRows,
    comes: Numbers,
    late: Numbers,
    values: Numbers,
    partitions: Numbers,
) -> Numbers:
    """What happens at which rows of which chunks, in their order."""
    gone = np.empty((len(found.places), loops.EVENT_FIELDS), np.int64)
    gone[:, :2] = found.places
    gone[:, loops.IS_GONE] = 1
    gone[:, loops.COMES] = comes
    inserted = np.empty((len(late), loops.EVENT_FIELDS), np.int64)
    inserted[:, loops.IS_GONE] = 0
    inserted[:, loops.COMES] = late
    if len(late):
        of_late = partitions[late]
        firsts = np.flatnonzero(np.diff(of_late, prepend=-1))
        groups = _group_table(found.held, of_late[firsts], firsts, len(late))
        places = np.empty((len(late), 2), np.int64)
        finding.find_places(
            *(state.columns, order_facts(state.shape), found.held.table, groups),
            *(values[late], places),
        )
        inserted[:, :2] = places
    events = np.concatenate([inserted, gone])
    return events[np.lexsort((events[:, loops.IS_GONE], events[:, 1], events[:, 0]))]


def _fit_alone(state: SeriesState, held: ChunkTable, rows: Numbers, chunks: Numbers) -> Bools:
    """Only chunks of their partitions whose new rows are some, and not too many for one."""
    counts = rows[chunks]
    found: Bools = (counts > 0) & (counts <= state.meta.chunk_rows_max)
    found &= held.table[chunks, finding.OVERLAP] == 0
    return found


def _rewrite_heads(
    state: SeriesState,
    weaving: Weaving,
    held: ChunkTable,
    places: Numbers,
    planned: tuple[Numbers, Numbers, Numbers],
) -> None:
    """Of partitions with one chunk; all are written in one call."""
    if not len(places):
        return
    runs, firsts, rows = planned
    chunks, partitions = held.firsts[places], held.partitions[places]
    counts = rows[chunks]
    capacities = room_for(counts, state.meta.chunk_rows_max)
    stretches = np.column_stack([firsts[chunks], firsts[chunks + 1] - firsts[chunks]])
    arenas, offsets, nulls = weaving.fill(runs, stretches, counts, capacities, grows=True)
    for arena, offset in zip(
        held.raw["arena"][chunks].tolist(), held.raw["offset"][chunks].tolist(), strict=True
    ):
        state.extents.drop(arena, offset)
    slots = state.slots[partitions]
    slots["arena"], slots["offset"], slots["capacity"] = arenas, offsets, capacities
    slots["rows"] = slots["head_rows"] = counts
    slots["nulls"] = nulls
    state.slots[partitions] = slots
    state.touched[partitions] = True
    state.last_values[partitions] = _last_values(state, slots)


def _last_values(state: SeriesState, slots: npt.NDArray[np.void]) -> Numbers:
    found = np.zeros(len(slots), np.int64)
    if state.shape.order is not None:
        addresses = state.extents.arenas.addresses[slots["arena"]] + slots["offset"]
        rows = np.column_stack([addresses, slots["capacity"], slots["head_rows"] - 1])
        finding.order_values_at(
            state.columns, order_facts(state.shape), rows.astype(np.int64), found
        )
    return found
