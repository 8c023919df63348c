"""Quantiles: each group's values side by side, sorted; NaN stands above all others."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.aggregates.folding import rows_by_group
from neural_gpu_bus.aggregates.threads import side_by_side

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

#: From so many groups on, one sort by group and value beats one sort a group.
GROUPS_MANY = 50_000


class SortedGroups:
    """Values of one column (rows,), sorted within each group of ``codes``, but the last."""

    def __init__(self, codes: Array, groups: int, values: Array, threads: int) -> None:
        places, begins = rows_by_group(codes, groups)
        self._begins = begins
        self._values = values[places[: begins[-1]]]
        if groups > GROUPS_MANY:
            owners = np.repeat(np.arange(groups), np.diff(begins))
            self._values = self._values[np.lexsort((self._values, owners))]
        else:
            spans = [slice(*pair) for pair in pairwise(begins)]
            side_by_side(lambda span: self._values[span].sort(), spans, threads)

    @property
    def counts(self) -> Array:
        """Values of each group."""
        return np.diff(self._begins)

    def continuous(self, q: float) -> Array:
        """``percentile_cont``: between the two values nearest to the place q * (n - 1); 0 where
        there is none.
        """
        place = q * np.maximum(self.counts - 1, 0)
        low = np.floor(place).astype(np.int64)
        high = np.ceil(place).astype(np.int64)
        below, above = self._at(low), self._at(high)
        with np.errstate(all="ignore"):
            between = below + (place - low) * (above - below)
        return np.where(low == high, below, between)

    def discrete(self, q: float) -> Array:
        """``percentile_disc``: the first value that at least q of all do not exceed."""
        return self._at(np.maximum(np.ceil(q * self.counts).astype(np.int64), 1) - 1)

    def _at(self, place: Array) -> Array:
        if not len(self._values):
            return np.zeros(len(place), self._values.dtype)
        return self._values[np.minimum(self._begins[:-1] + place, len(self._values) - 1)]
