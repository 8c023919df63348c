"""What a batch of changes comes to: rows that go, rows that come. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.live.applying import net_effect_kernels as kernels

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NetEffect:
    """Changes by their numbers in the batch.

    ``removed``: each takes away a row from before the batch, found by its old tuple, or where it
    has none by its new one. ``added``: their new tuples are there at the end. ``takes``: for each
    added one which of ``removed`` it goes back to, -1 for none. ``before``: for every change whose
    tuple it replaced, or ``FROM_BEFORE``, or ``NOTHING``.
    """

    removed: Numbers
    added: Numbers
    takes: Numbers
    before: Numbers


def net_effect(kinds: Kinds, new: Hashes, old: Hashes, has_old: Kinds) -> NetEffect:
    """Of changes in the order of the stream.

    ``kinds``: shape (changes,), I, U or D as pgoutput has them. ``new`` and ``old``: shape
    (changes, 2), hashes of the identity in each tuple; zeros where there is none.
    """
    count = len(kinds)
    gone, alive = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    before, root = np.empty(count, np.int64), np.empty(count, np.int64)
    slots = np.zeros(1 << max(4, (2 * count).bit_length()), np.int32)
    keys, tops = np.empty((count, 2), np.uint64), np.zeros(count, np.int64)
    kernels.walk(kinds, new, old, has_old, slots, keys, tops, gone, alive, before, root)
    removed, added = np.flatnonzero(gone), np.flatnonzero(alive)
    number = np.full(count + 1, -1, np.int64)
    number[removed] = np.arange(len(removed))
    takes = number[np.where(root[added] >= 0, root[added], count)]
    return NetEffect(removed, added, takes, before)
