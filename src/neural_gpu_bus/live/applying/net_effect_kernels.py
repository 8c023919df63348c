# ruff: noqa: PLR0917
"""The compiled walk over a batch of changes: what is left of each key at its end."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Kinds of changes, as pgoutput spells them.
INSERT, UPDATE, DELETE = 73, 85, 68
#: What stood before a change: a row from before the batch, or nothing.
FROM_BEFORE, NOTHING = -1, -2


@njit(forceinline=True)
def _slot(slots, keys, high, low):  # type: ignore[no-untyped-def]
    """Where a key is or would be; a slot holds the number of a key plus one."""
    mask = slots.size - 1
    at = np.int64(low & np.uint64(mask))
    while slots[at] and (keys[slots[at] - 1, 0] != high or keys[slots[at] - 1, 1] != low):
        at = (at + 1) & mask
    return at


@njit(
    "void(uint8[::1], uint64[:, ::1], uint64[:, ::1], uint8[::1], int32[::1], uint64[:, ::1],"
    " int64[::1], uint8[::1], uint8[::1], int64[::1], int64[::1])",
    nogil=True,
    cache=True,
)
def walk(kinds, new, old, has_old, slots, keys, tops, gone, alive, before, root):  # type: ignore[no-untyped-def]
    """``slots``, ``keys``, ``tops``: room for twice as many keys as changes; zeros.

    A key has a stack of rows that the batch put there (``tops``: the newest change plus one, each
    change's ``below`` the next): more than one only where keys are not unique, and then it does not
    matter which of equal rows goes. Results: ``gone``: the change removes a row from before, found
    by its old tuple, or without one by its new; ``alive``: its new tuple is there at the end;
    ``before``: the change whose tuple it replaced; ``root``: the change that removed the row from
    before which this one goes back to.
    """
    below = np.empty(kinds.size, np.int64)
    count = np.int32(0)
    for change in range(kinds.size):
        before[change], root[change] = NOTHING, NOTHING
        if kinds[change] != INSERT:
            by = old[change] if has_old[change] else new[change]
            at = _slot(slots, keys, by[0], by[1])
            number = slots[at] - 1
            if number >= 0 and tops[number]:
                last = tops[number] - 1
                tops[number] = below[last]
                alive[last] = 0
                before[change], root[change] = last, root[last]
            else:
                gone[change] = 1
                before[change], root[change] = FROM_BEFORE, change
        if kinds[change] != DELETE:
            at = _slot(slots, keys, new[change, 0], new[change, 1])
            if not slots[at]:
                keys[count] = new[change]
                count += np.int32(1)
                slots[at] = count
            number = slots[at] - 1
            below[change] = tops[number]
            tops[number] = change + 1
            alive[change] = 1
