"""What no policy can exceed: computed with the whole trace known beforehand."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.benchmarks.eviction.replay import Outcome
from neural_gpu_bus.benchmarks.eviction.trace import Trace


def belady(trace: Trace, bytes_max: int) -> Outcome:
    """Belady's MIN (IBM Systems Journal 1966): what is asked for again last goes first.

    Nothing beats its hits where all sizes are equal. Where they differ it is a good guess; with
    costs too it may lose to a policy that knows them. What is never asked for again is not kept.
    """
    nbytes = trace.nbytes.tolist()
    next_use = trace.next_use().tolist()
    memory = _Farthest(bytes_max)
    hit = [
        memory.request(dataset, nbytes[dataset], again)
        for dataset, again in zip(trace.requests.tolist(), next_use, strict=True)
    ]
    return Outcome.of(trace, np.array(hit))


class _Farthest:
    """Memory that knows when each dataset is asked for again."""

    def __init__(self, bytes_max: int) -> None:
        self._free_bytes = bytes_max
        #: Dataset -> when it is asked for again, its bytes.
        self._resident: dict[int, tuple[int, int]] = {}
        #: (-when, dataset), with old entries among them.
        self._farthest: list[tuple[int, int]] = []

    def request(self, dataset: int, nbytes: int, again: int) -> bool:
        found = self._resident.pop(dataset, None)
        if found is not None:
            self._free_bytes += nbytes
        if self._make_room(nbytes, again):
            self._resident[dataset] = again, nbytes
            self._free_bytes -= nbytes
            heapq.heappush(self._farthest, (-again, dataset))
        return found is not None

    def _make_room(self, nbytes: int, again: int) -> bool:
        """Evict what is wanted later than ``again`` if that makes the room; else nothing."""
        gone: list[tuple[int, int]] = []
        free_bytes = self._free_bytes
        while free_bytes < nbytes and self._farthest and -self._farthest[0][0] >= again:
            when, dataset = heapq.heappop(self._farthest)
            if self._resident.get(dataset, (None, 0))[0] == -when:
                gone.append((when, dataset))
                free_bytes += self._resident[dataset][1]
        if free_bytes < nbytes:
            for entry in gone:
                heapq.heappush(self._farthest, entry)
            return False
        for _, dataset in gone:
            self._free_bytes += self._resident.pop(dataset)[1]
        return True


def possible(trace: Trace, bytes_max: int, worth: npt.NDArray[np.int64]) -> float:
    """An upper bound on the worth of all hits, whatever sizes and costs: PFOO-U.

    ``worth``, shape (datasets,), is what a hit is worth: 1, bytes or reload time. A hit keeps its
    dataset from one request to the next and so takes bytes x requests; capacity x requests is all
    there is. The best share of that by worth a byte and request, the last one in part (Berger,
    Beckmann, Harchol-Balter, "Practical Bounds on Optimal Caching with Variable Object Sizes",
    SIGMETRICS 2018, section 4). Where less than the capacity is wanted, only that counts.
    """
    start = np.arange(len(trace.requests))
    end = trace.next_use()
    kept = (end < len(start)) & (trace.nbytes[trace.requests] <= bytes_max)
    start, end, dataset = start[kept], end[kept], trace.requests[kept]
    size = trace.nbytes[dataset]
    change = np.zeros(len(trace.requests) + 1, np.int64)
    np.add.at(change, start, size)
    np.subtract.at(change, end, size)
    room = float(np.minimum(np.cumsum(change), bytes_max).sum())
    needed = (size * (end - start)).astype(np.float64)
    best = np.argsort(-worth[dataset] / needed, kind="stable")
    before = np.cumsum(needed[best]) - needed[best]
    share = np.clip((room - before) / needed[best], 0, 1)
    return float((worth[dataset][best] * share).sum())
