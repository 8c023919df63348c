"""Ray's object store, on a cluster of one node that this run starts and stops."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.datasets import columns
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix
    from neural_gpu_bus.benchmarks.memory.visits import Errand, Look

_CORES = 2


@contextmanager
def ray_cluster(store_bytes: int) -> Iterator[None]:
    """One node, no dashboard; all its processes and files are gone afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    import ray

    # Short, because Ray's sockets lie in it and their paths end at 107 characters.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            num_cpus=_CORES,
            object_store_memory=store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        signal.signal(signal.SIGTERM, on_termination)  # Ray's own ends the process halfway
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class RayObjects(Place):
    """``ray.put`` of a mapping of arrays; whoever has the reference finds it."""

    title: ClassVar[str] = "Ray get"
    title_put: ClassVar[str] = "Ray put"
    how: ClassVar[str] = "a dict of arrays, of which Ray makes no copy when it is read"
    references: dict[str, Any] = field(default_factory=dict)

    def put(self, key: str, matrix: Matrix) -> None:
        """One copy into its store."""
        import ray

        self.references[key] = ray.put(columns(matrix))

    def find(self, key: str) -> Any:
        """The mapping, its arrays in Ray's store."""
        import ray

        return ray.get(self.references[key])

    def columns(self, found: Any) -> Mapping[str, Any]:
        """It is one already."""
        mapping: Mapping[str, Any] = found
        return mapping

    def drop(self, key: str) -> None:
        """Ray counts references."""
        self.references.pop(key, None)

    def close(self) -> None:
        """Give them all back."""
        self.references.clear()

    def visits(self, errand: Errand, processes: int) -> Iterator[list[Look]]:
        """In workers of its own: a process that is none of Ray's has no way in."""
        import ray

        for _ in range(processes):
            visitor: Any = ray.remote(num_cpus=0)(_Visitor)
            visitor = visitor.remote()
            looks: list[Look] = ray.get(visitor.visit.remote(self, errand))
            yield looks
            ray.kill(visitor)


class _Visitor:
    def visit(self, place: Place, errand: Errand) -> list[Look]:
        from neural_gpu_bus.benchmarks.memory.visits import visit

        return visit(place, errand)
