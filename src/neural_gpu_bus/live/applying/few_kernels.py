# Compiled loops take plain arrays.
# ruff: noqa: PLR0917
"""A few rows from the stream's bytes into their partitions, in one compiled call.

Keys whose partition is known lie in a table: open addressing over their bytes, which stand one
after the other in ``store``: eight bytes of length, then of each column its value, of a text its
length first.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.live.applying.net_effect_kernels import INSERT, UPDATE
from neural_gpu_bus.memory.series.addresses import copy_bytes, load_64, store_64
from neural_gpu_bus.memory.series.few_rows_kernels import add_few
from neural_gpu_bus.memory.series.few_updates_kernels import plan_few
from neural_gpu_bus.memory.series.finding_kernels import _bytes_hash, _order_value, _same_bytes
from neural_gpu_bus.memory.series.kernels import DATA, VALUES
from neural_gpu_bus.stores.postgres.replication.prepared_kernels import NULLS, write_prepared

#: Of the files whose functions are compiled into these loops; a test says it.
COMPILED_WITH = "bbfb10b28098a7a0"

#: What a call says where it added nothing: the general way is to take the rows; the same, and it
#: tells where they went.
LEFT, UNKNOWN = 0, -1
#: Fields of a key's column: its number among all, bytes of a value, 0 for text.
PLACE, WIDTH = range(2)
#: Fields of the order: the column's number (-1: none), bytes of a value, whether it has a sign.
ORDER, ORDER_WIDTH, ORDER_SIGNED = range(3)
#: Fields of a slot: hash, the partition plus one (0: free), where its key begins.
HASH, NUMBER, AT, SLOT_FIELDS = range(4)
#: Of the table: keys, bytes of the store that are used, what hashes begin with.
KEYS, USED, SEED, TABLE_FIELDS = range(4)


@njit
def _key_bytes(key, sources, row, found):  # type: ignore[no-untyped-def]
    """Write one row's key; its bytes, -1 where there is no room."""
    base, size = np.int64(found.ctypes.data), np.int64(0)
    for number in range(key.shape[0]):
        source, width = sources[key[number, PLACE]], key[number, WIDTH]
        begin = source[VALUES] + width * row
        if width == 0:
            offsets = source[VALUES] + 8 * row
            begin = load_64(offsets)
            width = load_64(offsets + 8) - begin
            begin += source[DATA]
            if size + 8 > found.size:
                return np.int64(-1)
            store_64(base + size, width)
            size += 8
        if size + width > found.size:
            return np.int64(-1)
        copy_bytes(base + size, begin, width)
        size += width
    return size


@njit
def _slot_of(slots, store, hashed, key, size):  # type: ignore[no-untyped-def]
    """Where a key is, or would be."""
    mask, base = slots.shape[0] - 1, np.int64(store.ctypes.data)
    at = np.int64(np.uint64(hashed) & np.uint64(mask))
    while slots[at, NUMBER]:
        if slots[at, HASH] == hashed:
            held = base + slots[at, AT]
            if load_64(held) == size and _same_bytes(held + 8, np.int64(key.ctypes.data), size):
                break
        at = (at + 1) & mask
    return at


@njit
def _hash(table, key, size):  # type: ignore[no-untyped-def]
    return np.int64(_bytes_hash(np.uint64(table[SEED]), np.int64(key.ctypes.data), size))


@njit(
    "int64(int64[:, ::1], int64[:, ::1], int64[::1], uint8[::1], int64[:, ::1], uint8[::1], "
    "int64[::1])",
    nogil=True,
    cache=True,
)
def learn_keys(key, sources, partitions, found, slots, store, table):  # type: ignore[no-untyped-def]
    """Keep the partitions of these rows' keys; how many rows it came to: less than all where there
    is no room.
    """
    base = np.int64(store.ctypes.data)
    for row in range(partitions.size):
        size = _key_bytes(key, sources, row, found)
        if size < 0:
            continue
        hashed = _hash(table, found, size)
        at = _slot_of(slots, store, hashed, found, size)
        if slots[at, NUMBER]:
            continue
        if 2 * (table[KEYS] + 1) > slots.shape[0] or table[USED] + 8 + size > store.size:
            return np.int64(row)
        slots[at, HASH], slots[at, NUMBER] = hashed, partitions[row] + 1
        slots[at, AT] = table[USED]
        store_64(base + table[USED], size)
        copy_bytes(base + table[USED] + 8, np.int64(found.ctypes.data), size)
        table[KEYS] += 1
        table[USED] += 8 + size
    return np.int64(partitions.size)


@njit
def _find_partitions(key, sources, found, slots, store, table, partitions):  # type: ignore[no-untyped-def]
    """Of each row; how many, or ``LEFT`` or ``UNKNOWN``."""
    for row in range(partitions.size):
        size = _key_bytes(key, sources, row, found)
        if size < 0:
            return np.int64(LEFT)
        at = _slot_of(slots, store, _hash(table, found, size), found, size)
        if slots[at, NUMBER] == 0:
            return np.int64(UNKNOWN)
        partitions[row] = slots[at, NUMBER] - 1
    return np.int64(partitions.size)


@njit("void(int64[:, ::1], int64[:, ::1])", nogil=True, cache=True)
def move_slots(slots, larger):  # type: ignore[no-untyped-def]
    """Put all slots into a table with more of them, which is empty."""
    mask = larger.shape[0] - 1
    for number in range(slots.shape[0]):
        if slots[number, NUMBER]:
            at = np.int64(np.uint64(slots[number, HASH]) & np.uint64(mask))
            while larger[at, NUMBER]:
                at = (at + 1) & mask
            larger[at] = slots[number]


@njit
def _decoded(  # type: ignore[no-untyped-def]
    buffer, tuples, tuple_columns, places,
    messages, widths, texts, counts, plan, text_room, scratch,
    sources, key, not_null, order, found, slots, store, table, partitions, values,
):  # fmt: skip
    """Rows whose columns, partitions and order values are there; or ``LEFT`` or ``UNKNOWN``."""
    if not write_prepared(
        buffer, tuples, tuple_columns, places, messages, widths, texts, counts, plan, text_room,
        scratch,
    ):  # fmt: skip
        return np.int64(LEFT)
    for place in not_null:
        if counts[NULLS, place]:
            return np.int64(LEFT)
    rows = tuples.size
    why = _find_partitions(key, sources, found, slots, store, table, partitions[:rows])
    if why == rows and order[ORDER] >= 0:
        at = sources[order[ORDER], VALUES]
        for row in range(rows):
            values[row] = _order_value(at, row, order[ORDER_WIDTH], order[ORDER_SIGNED])
    return why


#: Of rows and what they are read with, the same for all changes.
_ROWS = (
    "uint8[::1], uint8[::1], int64[::1], int64, int64[::1], "
    "uint8[::1], int64[::1], int64[:, ::1], int64[:, ::1], uint64[:, ::1], int64[::1], uint8[::1], "
    "int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], "
    "uint8[::1], int64[:, ::1], uint8[::1], int64[::1], int64[::1], int64[::1], "
)


@njit(
    f"int64({_ROWS} int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], "
    "boolean[::1])",
    nogil=True,
    cache=True,
)
def insert_few(  # type: ignore[no-untyped-def]
    kinds, buffer, tuples, tuple_columns, places,
    messages, widths, texts, counts, plan, text_room, scratch,
    sources, key, not_null, order, found, slots, store, table, partitions, values,
    stored, columns, slot_words, arenas, last_values, touched,
):  # fmt: skip
    """Rows that were added, all of these, or ``LEFT`` or ``UNKNOWN``.

    ``places`` to ``scratch``: see ``write_prepared``. ``sources``: of all columns, where they lie;
    ``stored``: of those of the series. ``not_null``: columns of key and order. ``found`` to
    ``table``: the keys. ``partitions``, ``values``: answers, of each row. Then what ``add_few``
    takes.
    """
    rows = kinds.size
    for row in range(rows):
        if kinds[row] != INSERT:
            return np.int64(LEFT)
    why = _decoded(
        buffer, tuples, tuple_columns, places, messages, widths, texts, counts, plan, text_room,
        scratch, sources, key, not_null, order, found, slots, store, table, partitions, values,
    )  # fmt: skip
    if why != rows:
        return why
    ordered = values[:rows] if order[ORDER] >= 0 else values[:0]
    added = add_few(
        columns, stored, partitions[:rows], ordered, slot_words, arenas, last_values, touched
    )
    return np.int64(rows if added else LEFT)


@njit(
    f"int64({_ROWS} int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[::1], "
    "int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def update_few(  # type: ignore[no-untyped-def]
    kinds, buffer, tuples, tuple_columns, places,
    messages, widths, texts, counts, plan, text_room, scratch,
    sources, key, not_null, order, found, slots, store, table, partitions, values,
    old_at, on, columns, stored, stored_order, slot_words, arenas,
    touched, extents, runs, targets,
):  # fmt: skip
    """How many partitions are to be written anew, or ``LEFT`` or ``UNKNOWN``; as ``insert_few``.

    Of rows whose identity stays (no old tuple comes then). ``on``: stored columns of the identity
    but for the order. Then what ``plan_few`` takes.
    """
    rows = kinds.size
    for row in range(rows):
        if kinds[row] != UPDATE or old_at[row] >= 0:
            return np.int64(LEFT)
    why = _decoded(
        buffer, tuples, tuple_columns, places, messages, widths, texts, counts, plan, text_room,
        scratch, sources, key, not_null, order, found, slots, store, table, partitions, values,
    )  # fmt: skip
    if why != rows:
        return why
    return plan_few(
        columns, stored, on, stored_order, partitions[:rows], values[:rows], slot_words, arenas,
        touched, extents, runs, targets,
    )  # fmt: skip
