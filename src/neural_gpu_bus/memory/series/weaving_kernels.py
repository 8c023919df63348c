# ruff: noqa: PLR0917
"""Compiled loops that write an extent out of runs of rows: of older extents, and of a batch.

A run says where rows come from (the number of an extent, or ``BATCH``), the first and how many. A
target is an extent to fill from its first row, with the runs it is made of, in order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.memory.series.addresses import load_64
from neural_gpu_bus.memory.series.kernels import (
    CAPACITY,
    COUNT,
    DATA,
    FIRST,
    FORM,
    ROW,
    SEGMENT_FIELDS,
    SOURCE_FIELDS,
    TARGET,
    TEXT,
    TEXT_NUMBER,
    VALIDITY,
    VALUES,
    _column,
    _place,
)

#: Of the file whose functions are compiled into these loops, which numba does not look at.
COMPILED_WITH = "32418402af419f58"

#: Of a run.
ORIGIN, RUN_FIRST, RUN_ROWS, RUN_FIELDS = range(4)
#: The origin that is no extent.
BATCH = -1
#: Of an extent that rows come from: mask of columns that may have NULLs in it.
ADDRESS, ROOM, NULLS, EXTENT_FIELDS = range(4)
#: Of a target: address and capacity as above, its first run and how many.
TARGET_RUN, TARGET_RUNS, TARGET_FIELDS = range(2, 5)

_HEADER, _TEXT_HEADER = 64, 16


@njit
def _places_of(columns, extents):  # type: ignore[no-untyped-def]
    places = np.empty((extents.shape[0], columns.shape[0], 2), np.int64)
    for number in range(extents.shape[0]):
        _place(columns, extents[number, ROOM], places[number])
    return places


@njit
def _source_of(columns, column, extent, places, source):  # type: ignore[no-untyped-def]
    """Where one column of an extent lies, as a source of rows."""
    base = extent[ADDRESS]
    has_nulls = extent[NULLS] & (np.int64(1) << np.int64(min(column, 62)))
    source[VALUES] = base + places[column, 1]
    source[VALIDITY] = base + places[column, 0] if has_nulls and places[column, 0] >= 0 else 0
    if columns[column, FORM] == TEXT:
        text = columns[column, TEXT_NUMBER]
        source[DATA] = base + load_64(base + _HEADER + _TEXT_HEADER * text)


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1])",
    nogil=True,
    cache=True,
)
def weave(columns, sources, extents, runs, targets, nulls):  # type: ignore[no-untyped-def]
    """Fill targets with their runs; ``nulls``: a mask of columns with NULLs for each.

    ``sources``: where the columns of the batch lie, see ``batches.sources_of``.
    """
    held = _places_of(columns, extents)
    places = np.empty((columns.shape[0], 2), np.int64)
    source = np.zeros(SOURCE_FIELDS, np.int64)
    segment = np.empty(SEGMENT_FIELDS, np.int64)
    order = np.empty(0, np.int64)
    for number in range(targets.shape[0]):
        target = targets[number]
        _place(columns, target[ROOM], places)
        segment[TARGET], segment[CAPACITY] = target[ADDRESS], target[ROOM]
        mask = np.int64(0)
        for column in range(columns.shape[0]):
            row, found, last = np.int64(0), False, np.int64(BATCH)
            for at in range(target[TARGET_RUN], target[TARGET_RUN] + target[TARGET_RUNS]):
                origin, rows = runs[at, ORIGIN], runs[at, RUN_ROWS]
                segment[ROW], segment[FIRST], segment[COUNT] = row, runs[at, RUN_FIRST], rows
                place = places[column]
                if origin == BATCH:
                    source_now = sources[column]
                    found |= _column(columns[column], source_now, order, segment, place, False)
                else:
                    if origin != last:
                        _source_of(columns, column, extents[origin], held[origin], source)
                        last = origin
                    found |= _column(columns[column], source, order, segment, place, True)
                row += rows
            if found:
                mask |= np.int64(1) << np.int64(min(column, 62))
        nulls[number] = mask


@njit(
    "void(int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1])",
    nogil=True,
    cache=True,
)
def text_bytes(columns, sources, extents, runs, targets, needs):  # type: ignore[no-untyped-def]
    """Bytes of each text column in the runs of each target, at most."""
    held = _places_of(columns, extents)
    for number in range(targets.shape[0]):
        begin = targets[number, TARGET_RUN]
        for column in range(columns.shape[0]):
            text = columns[column, TEXT_NUMBER]
            if text < 0:
                continue
            total = np.int64(0)
            for at in range(begin, begin + targets[number, TARGET_RUNS]):
                origin = runs[at, ORIGIN]
                if origin == BATCH:
                    offsets = sources[column, VALUES]
                else:
                    offsets = extents[origin, ADDRESS] + held[origin, column, 1]
                offsets += 8 * runs[at, RUN_FIRST]
                total += load_64(offsets + 8 * runs[at, RUN_ROWS]) - load_64(offsets)
            needs[number, text] = total


# ---- which runs


#: What happens at a row of a chunk: a row of the batch goes before it, or it goes, and a row of the
#: batch may come for it.
CHUNK, PLACE, IS_GONE, COMES, EVENT_FIELDS = range(5)


@njit("int64(int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1])", nogil=True, cache=True)
def plan_runs(events, chunks, runs, firsts):  # type: ignore[no-untyped-def]
    """Runs of the chunks that something happens in; how many.

    ``events``: by chunk, then row, what goes before a row ahead of what happens to it. ``chunks``:
    of each its extent's number, rows that repeat, rows in all. ``runs``: room for 2 an event and 1
    a chunk. ``firsts``: where the runs of each chunk begin, and where the last ends.
    """
    at, event = np.int64(0), np.int64(0)
    for chunk in range(chunks.shape[0]):
        firsts[chunk] = at
        cursor = chunks[chunk, 1]
        while event < events.shape[0] and events[event, CHUNK] == chunk:
            place, comes = events[event, PLACE], events[event, COMES]
            if place > cursor:
                runs[at, 0], runs[at, 1], runs[at, 2] = chunks[chunk, 0], cursor, place - cursor
                at += 1
                cursor = place
            if comes >= 0:
                extends = at > firsts[chunk] and runs[at - 1, 0] == BATCH
                if extends and runs[at - 1, 1] + runs[at - 1, 2] == comes:
                    runs[at - 1, 2] += 1
                else:
                    runs[at, 0], runs[at, 1], runs[at, 2] = BATCH, comes, 1
                    at += 1
            if events[event, IS_GONE]:
                cursor = place + 1
            event += 1
        if chunks[chunk, 2] > cursor:
            rest = chunks[chunk, 2] - cursor
            runs[at, 0], runs[at, 1], runs[at, 2] = chunks[chunk, 0], cursor, rest
            at += 1
    firsts[chunks.shape[0]] = at
    return at
