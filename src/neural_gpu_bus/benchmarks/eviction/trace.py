"""A trace: which datasets were asked for, in order, with their sizes and costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests for datasets that never change their size or cost."""

    name: str
    #: What it is like, for people.
    meaning: str
    #: Shape (requests,): which dataset, from 0 on.
    requests: npt.NDArray[np.int64]
    #: Shape (datasets,).
    nbytes: npt.NDArray[np.int64]
    #: Shape (datasets,): what one reload costs.
    reload_ns: npt.NDArray[np.int64]

    @property
    def total_bytes(self) -> int:
        """Of all datasets that it asks for."""
        return int(self.nbytes[np.unique(self.requests)].sum())

    def next_use(self) -> npt.NDArray[np.int64]:
        """Shape (requests,): when each request's dataset is asked for again; their number where
        it never is."""
        end = len(self.requests)
        found = np.full(end, end, np.int64)
        order = np.argsort(self.requests, kind="stable")
        same = self.requests[order[1:]] == self.requests[order[:-1]]
        found[order[:-1][same]] = order[1:][same]
        return found
