"""The direct way: ``plane.query``, ``plane.submit`` with a table and a Redis key, wait.

Cold reads its inputs from PostgreSQL in every run. Resident finds them in shared memory as named
datasets, put there once; nothing else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.benchmarks.equality import Rows
from neural_gpu_bus.benchmarks.measure import Stopwatch
from neural_gpu_bus.benchmarks.removal import remove_datasets
from neural_gpu_bus.benchmarks.results import COLD, RESIDENT
from neural_gpu_bus.benchmarks.tasks import Task
from neural_gpu_bus.benchmarks.ways import redis_key, result_table, sorted_rows

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import JobRecord
    from neural_gpu_bus.plane import DataPlane

#: A worker's first job loads its compiled kernels; no run takes longer than this.
WAIT_TIMEOUT_S = 120.0


class DirectWay:
    """A caller of a running plane: its connections, memory and workers are there."""

    def __init__(self, plane: DataPlane, schema: str, *, resident: bool) -> None:
        self.name = RESIDENT if resident else COLD
        self._plane = plane
        self._schema = schema
        self._resident = resident
        self._datasets: set[str] = set()
        #: Workload -> how its last job went.
        self.records: dict[str, JobRecord] = {}

    def prepare(self, task: Task) -> None:
        """Resident: read the inputs once, under their names."""
        if self._resident:
            for name, sql in task.inputs.items():
                self._plane.query(sql, name=dataset(task, name))
                self._datasets.add(dataset(task, name))

    def run(self, task: Task, watch: Stopwatch) -> int:
        """Read (cold), hand the job over, wait for its stored result."""
        inputs: dict[str, Any] = {}
        for name, sql in task.inputs.items():
            inputs[name] = dataset(task, name) if self._resident else self._plane.query(sql)
        if not self._resident:
            watch.lap("read")
        job = self._plane.submit(
            task.workload,
            {**inputs, **task.params},
            engine=task.engine,
            table=f"{self._schema}.{result_table(self.name, task)}",
            redis_key=redis_key(self.name, task),
        )
        frame = job.wait_result(WAIT_TIMEOUT_S)
        watch.lap("hand over")
        record = job.record
        watch.move("hand over", "compute", (record.attach_us + record.compute_us) / 1e6)
        watch.move("hand over", "store", (record.publish_us + record.store_us) / 1e6)
        self.records[task.workload] = record
        return frame.rows

    def redis_rows(self, task: Task) -> Rows:
        """The Arrow stream under the key."""
        table = self._plane.redis.read(redis_key(self.name, task))
        return sorted_rows({name: table[name] for name in table.column_names}, task.key)

    def close(self) -> None:
        """Forget the inputs; the plane belongs to the caller."""
        remove_datasets(self._plane, self._datasets)


def dataset(task: Task, input_name: str) -> str:
    """Name of a task's input in shared memory."""
    return f"ngb_demo/{task.slug}/{input_name}"
