"""Replay a trace against a policy: the memory's own table and functions, without the memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.memory.catalog.block_table import (
    BLOCK_RECORD,
    POLICY_STATE,
    POLICY_STATE_WORDS,
    insert,
    touch,
)
from neural_gpu_bus.memory.catalog.eviction import choose

#: Time between two requests: over the 8 us that LFU tells apart.
_REQUEST_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did with a trace."""

    requests: int
    hits: int
    requested_bytes: int
    hit_bytes: int
    #: What the hits would have cost to load again.
    saved_ns: int
    #: Calls that chose what goes, and the time in them.
    decisions: int = 0
    deciding_ns: int = 0

    @classmethod
    def of(
        cls, trace: Trace, hit: npt.NDArray[np.bool_], decisions: int = 0, deciding_ns: int = 0
    ) -> Outcome:
        """Sums over the requests, ``hit`` of shape (requests,)."""
        found = trace.requests[hit]
        return cls(
            requests=len(trace.requests),
            hits=len(found),
            requested_bytes=int(trace.nbytes[trace.requests].sum()),
            hit_bytes=int(trace.nbytes[found].sum()),
            saved_ns=int(trace.reload_ns[found].sum()),
            decisions=decisions,
            deciding_ns=deciding_ns,
        )

    @property
    def hit_ratio(self) -> float:
        """Hits among all requests, first ones included."""
        return self.hits / self.requests

    @property
    def byte_hit_ratio(self) -> float:
        """The same by bytes."""
        return self.hit_bytes / self.requested_bytes


class SimulatedMemory:
    """One region of ``bytes_max``; dataset ``i`` has the record ``i``."""

    def __init__(self, policy: str, trace: Trace, bytes_max: int) -> None:
        self.records = np.zeros(len(trace.nbytes), BLOCK_RECORD)
        self.decisions = 0
        self.deciding_ns = 0
        self._policy = policy
        self._trace = trace
        self._free_bytes = bytes_max
        self._bytes_max = bytes_max
        self._state = np.zeros(POLICY_STATE_WORDS, POLICY_STATE)

    def request(self, dataset: int, at: int) -> bool:
        """The ``at``-th request: found, or loaded and put in; too large a dataset is not kept."""
        if self.records["uuid"][dataset]:
            touch(self.records, dataset, at * _REQUEST_NS)
            return True
        nbytes = int(self._trace.nbytes[dataset])
        if nbytes <= self._bytes_max:
            self._make_room(nbytes)
            self._free_bytes -= nbytes
            insert(
                self.records,
                dataset,
                uuid=dataset + 1,
                nbytes=nbytes,
                reload_ns=int(self._trace.reload_ns[dataset]),
                sequence=at,
                now_ns=at * _REQUEST_NS,
            )
        return False

    def _make_room(self, nbytes: int) -> None:
        if nbytes <= self._free_bytes:
            return
        resident = self.records["uuid"] != 0
        began_ns = time.perf_counter_ns()
        gone = choose(self._policy, self.records, resident, nbytes - self._free_bytes, self._state)
        self.deciding_ns += time.perf_counter_ns() - began_ns
        self.decisions += 1
        self.records["uuid"][gone] = 0
        self._free_bytes += int(self.records["nbytes"][gone].sum())


def replay(policy: str, trace: Trace, bytes_max: int) -> Outcome:
    """Run the whole trace, from an empty memory, under a row of ``POLICIES``."""
    memory = SimulatedMemory(policy, trace, bytes_max)
    hit = [memory.request(dataset, at) for at, dataset in enumerate(trace.requests.tolist())]
    return Outcome.of(trace, np.array(hit), memory.decisions, memory.deciding_ns)
