"""Unified memory: found by name, by descriptor, or by a pickled frame."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.datasets import columns
from neural_gpu_bus.benchmarks.memory.place import Place
from neural_gpu_bus.memory import UnifiedMemory

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix
    from neural_gpu_bus.descriptors import BlockDescriptor, Region

#: The whole budget is for datasets: none of them has to go while it is measured.
_ALL_SHARED: dict[Region, float] = {"shared": 1.0, "gpu": 0.0, "neural": 0.0}


@dataclass
class ByName(Place):
    """``get(name)``."""

    title: ClassVar[str] = "direct, by name"
    folder: Path
    bytes_max: int

    @cached_property
    def memory(self) -> UnifiedMemory:
        """Opened when first needed, in each process by itself."""
        return UnifiedMemory(self.folder, self.bytes_max, shares=_ALL_SHARED)

    def open(self) -> None:
        """Join those who use the folder."""
        _ = self.memory

    def put(self, key: str, matrix: Matrix) -> None:
        """One memcpy into a new block."""
        self.memory.put(key, columns(matrix))

    def find(self, key: str) -> Any:
        """A frame."""
        return self.memory.get(key)

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of the block."""
        return {name: found[name] for name in found}

    def drop(self, key: str) -> None:
        """All versions."""
        self.memory.drop(key)

    def files(self) -> str | None:
        """All in its folder."""
        return str(self.folder)

    def close(self) -> None:
        """Leave."""
        self.memory.close()


@dataclass
class ByDescriptor(ByName):
    """``attach(descriptor)``, as a worker does that was handed a job."""

    title: ClassVar[str] = "direct, by descriptor"
    known: dict[str, BlockDescriptor] = field(default_factory=dict)

    def find(self, key: str) -> Any:
        """A frame."""
        return self.memory.attach(self.known[key])


@dataclass
class ByPickle(ByName):
    """A frame that came through a pipe, as pools of processes send it."""

    title: ClassVar[str] = "direct, a pickled frame"
    pickled: dict[str, bytes] = field(default_factory=dict)

    def find(self, key: str) -> Any:
        """A frame."""
        return pickle.loads(self.pickled[key])  # noqa: S301  made by this very run
