"""Compaction: extents of arenas that are mostly dead move, so that the arenas can go."""

from __future__ import annotations

from collections.abc import Sequence

from neural_gpu_bus.errors import SharedMemoryFullError
from neural_gpu_bus.memory.series.arenas import WritableArenas
from neural_gpu_bus.memory.series.records import Chunk
from neural_gpu_bus.memory.series.states import SeriesState

#: Nothing is moved while fewer bytes than that are dead.
DEAD_BYTES_MIN = 1 << 20
#: Bytes moved before a publication, at most one extent more: about a millisecond.
MOVED_BYTES_MAX = 8 << 20


def compact(
    states: Sequence[SeriesState],
    arenas: WritableArenas,
    dead_bytes_min: int = DEAD_BYTES_MIN,
    moved_bytes_max: int = MOVED_BYTES_MAX,
) -> int:
    """Where over half of all bytes given out are dead, move what lives in the worst arena.

    Bytes moved. Part of the generation about to be published; where there is no room for it,
    nothing is moved.
    """
    worst = _worst(arenas, dead_bytes_min)
    if worst is None:
        return 0
    moved = 0
    for state in states:
        there = (state.slots["arena"] == worst) | (state.slots["spine_count"] > 0)
        for partition in there.nonzero()[0].tolist():
            if moved >= moved_bytes_max:
                return moved
            moved += _moved(state, partition, worst)
    return moved


def _worst(arenas: WritableArenas, dead_bytes_min: int) -> int | None:
    dead = arenas.total_used_bytes - arenas.total_live_bytes
    if dead < dead_bytes_min or 2 * dead < arenas.total_used_bytes:
        return None
    used = {number: arenas.used(number) for number in arenas.arrays}
    live = {number: arenas.live_bytes.get(number, 0) for number in used}
    candidates = [number for number in used if live[number] and not arenas.is_current(number)]
    worst = min(candidates, key=lambda number: live[number] / used[number], default=None)
    return worst if worst is not None and 2 * live[worst] < used[worst] else None


def _moved(state: SeriesState, partition: int, arena: int) -> int:
    """Move what one partition has in an arena; bytes."""
    import numpy as np

    slot = state.slot(partition)
    chunks = state.chunks(slot)
    spine_there = slot.spine_count and slot.spine_arena == arena
    if not spine_there and all(chunk.arena != arena for chunk in chunks):
        return 0
    moved = 0
    try:
        with state.all_or_nothing(np.array([partition])):
            *spine, head = chunks
            there = [chunk for chunk in spine if chunk.arena == arena]
            if there or spine_there:
                spine = [_copied(state, c) if c.arena == arena else c for c in spine]
                place = state.extents.write_spine(spine)
                state.extents.drop_spine(slot.spine_arena, slot.spine_count)
                slot = slot._replace(spine_arena=place[0], spine_offset=place[1])
            if head.arena == arena:
                there.append(head)
                copy = _copied(state, head)
                slot = slot._replace(arena=copy.arena, offset=copy.offset)
            for chunk in there:
                moved += state.extents.nbytes(chunk.arena, chunk.offset)
                state.extents.drop(chunk.arena, chunk.offset)
            state.set(partition, slot)
    except SharedMemoryFullError:
        return 0
    state.counts.compacted_bytes += moved
    return max(moved, 1)


def _copied(state: SeriesState, chunk: Chunk) -> Chunk:
    """The same rows in an extent of the same size elsewhere."""
    _, room = state.extents.text_use(chunk, chunk.rows)
    arena, offset = state.extents.make(chunk.capacity, room)
    copy = chunk._replace(arena=arena, offset=offset)
    state.extents.move(chunk, 0, copy, 0, chunk.rows)
    return copy
