"""``multiprocessing.shared_memory``: a segment for each dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neural_gpu_bus.benchmarks.memory.datasets import columns, from_bytes
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix

#: Of the names of segments.
_PREFIX = "ngb-bench-segment-"


@dataclass
class SharedSegments(Place):
    """Names, versions and readers' safety are left to its user; nothing here asks for them."""

    title: ClassVar[str] = "shared_memory"
    title_put: ClassVar[str] = "shared_memory, new segment"
    how: ClassVar[str] = "plain bytes of one matrix; found again in a dict, nothing is checked"
    #: Of the process that makes the segments, so that two runs do not meet.
    pid: int = field(default_factory=os.getpid)

    @cached_property
    def attached(self) -> dict[str, SharedMemory]:
        """This process's own."""
        return {}

    def put(self, key: str, matrix: Matrix) -> None:
        """A new segment and one copy."""
        self.drop(key)
        segment = SharedMemory(self._name(key), create=True, size=matrix.nbytes)
        self.attached[key] = segment
        views = self.columns(segment)
        for name, column in columns(matrix).items():
            np.copyto(views[name], column)

    def find(self, key: str) -> Any:
        """The segment, attached when first asked for."""
        segment = self.attached.get(key)
        if segment is None:
            segment = self.attached[key] = SharedMemory(self._name(key))
        return segment

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of the segment, cut to whole rows: macOS rounds segments up to pages."""
        return from_bytes(found.buf[: found.size // 80 * 80])

    def drop(self, key: str) -> None:
        """Unlink. Python cannot unmap it while an array over it lives."""
        segment = self.attached.pop(key, None)
        if segment is None:
            return
        segment.unlink()
        with suppress(BufferError):
            segment.close()

    def files(self) -> str | None:
        """Segments are files on Linux."""
        return f"{_PREFIX}{self.pid}-"

    def close(self) -> None:
        """Unlink all."""
        for key in list(self.attached):
            self.drop(key)

    def _name(self, key: str) -> str:
        return f"{_PREFIX}{self.pid}-{key.replace('/', '-')}"
