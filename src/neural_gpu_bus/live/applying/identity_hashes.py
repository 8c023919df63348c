"""Hashes by which a batch tells rows apart: 128 bits of what is the identity of each tuple."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neural_gpu_bus.live.applying.tuples import Batch

if TYPE_CHECKING:
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]

#: Odd, 2**64 divided by the golden ratio (Knuth, volume 3, section 6.4).
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def identity_hashes(batch: Batch, names: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Of the new and of the old tuple of each change, shape (changes, 2); zeros for none.

    Partitions of a table have rows of their own: one that moves goes in one and comes in another,
    and of changes of both the stream does not say which was first.
    """
    found = batch.hashes("new", names), batch.hashes("old", names)
    if batch.relations is not None:
        of_relation = batch.relations.astype(np.uint64) * _MIXER
        for hashes in found:
            hashes[:, 0] ^= of_relation
    return found
