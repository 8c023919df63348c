"""Results of jobs in shared memory: kept as long as their answers, within a share of the budget."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from neural_gpu_bus.ports import RESULT_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import BlockDescriptor
    from neural_gpu_bus.ports import Columns, Memory

#: All results together may take the budget of the memory divided by this.
BUDGET_SHARE = 4
#: A quarter of the names that the memory's index has room for.
RESULTS_MAX = 100_000
#: An answer is there a little later than its result, and is attached a little later again.
GRACE_S = 60
#: Every worker adds results; each looks at those of all after this share of the limits.
LOOK_SHARE = 16


class KeptResults:
    """Publishes results and drops the oldest: those older than ``ttl_s``, and above the limits."""

    def __init__(self, memory: Memory, *, ttl_s: float) -> None:
        self._memory = memory
        self._age_ns_max = int((ttl_s + GRACE_S) * 1e9)
        self._bytes_max = 0
        self._kept: deque[BlockDescriptor] = deque()
        self._kept_bytes = 0
        self._unseen_results, self._unseen_bytes = RESULTS_MAX, 0

    def publish(self, job_id: str, table: pa.Table, *, reload_ns: int = 0) -> Columns:
        """The result as the dataset ``jobs/<id>``; ``reload_ns``: what it took to compute."""
        frame = self._memory.put_result(job_id, table, reload_ns=reload_ns)
        block = frame.descriptor
        self._unseen_results += 1
        self._unseen_bytes += block.nbytes
        if self._must_look():
            self._look()
        else:
            self._kept.append(block)
            self._kept_bytes += block.nbytes
        self._drop_oldest(block)
        return frame

    def _must_look(self) -> bool:
        many = self._unseen_results > RESULTS_MAX // LOOK_SHARE
        return many or self._unseen_bytes > self._bytes_max // LOOK_SHARE

    def _look(self) -> None:
        """See what all workers have published, those before this one too."""
        self._bytes_max = self._memory.budget("shared") // BUDGET_SHARE
        blocks = self._memory.blocks(RESULT_NAMES)
        self._kept = deque(sorted(blocks, key=lambda block: block.created_ns))
        self._kept_bytes = sum(block.nbytes for block in blocks)
        self._unseen_results = self._unseen_bytes = 0

    def _drop_oldest(self, newest: BlockDescriptor) -> None:
        """The newest stays in any case: its answer is yet to be given."""
        oldest_ns = newest.created_ns - self._age_ns_max
        while (
            self._kept
            and self._kept[0].uuid != newest.uuid
            and (
                self._kept[0].created_ns < oldest_ns
                or self._kept_bytes > self._bytes_max
                or len(self._kept) > RESULTS_MAX
            )
        ):
            gone = self._kept.popleft()
            self._kept_bytes -= gone.nbytes
            self._memory.drop_result(gone)
