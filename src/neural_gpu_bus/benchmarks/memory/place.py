"""The contract of a place that keeps columns under a key: ours and each rival's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix
    from neural_gpu_bus.benchmarks.memory.visits import Errand, Look


class Place(ABC):
    """Columns under a key. Subclasses are dataclasses that travel by their fields alone, so that
    each process opens what it needs for itself.
    """

    title: ClassVar[str]
    #: The same for its writing.
    title_put: ClassVar[str]
    #: Largest dataset it can keep.
    nbytes_max: ClassVar[float] = math.inf
    #: How it keeps the columns, for whoever wants to know whether that is fair.
    how: ClassVar[str] = ""

    def open(self) -> None:  # noqa: B027  (not every place has to)
        """Connect; nobody times it."""

    @abstractmethod
    def put(self, key: str, matrix: Matrix) -> None:
        """Keep the columns under that key; what was there goes."""

    @abstractmethod
    def find(self, key: str) -> Any:
        """What its user holds who has found the dataset again."""

    @abstractmethod
    def columns(self, found: Any) -> Mapping[str, Any]:
        """All columns of it as numpy arrays."""

    @abstractmethod
    def drop(self, key: str) -> None:
        """Forget it."""

    def close(self) -> None:  # noqa: B027  (nor leaves something behind)
        """Take away all that it made; it can be opened again."""

    def files(self) -> str | None:
        """Text in the path of every file that it maps; None for a place that maps none."""
        return None

    def visits(self, errand: Errand, processes: int) -> Iterator[list[Look]]:
        """The errand, run by that many fresh processes one after the other."""
        from neural_gpu_bus.benchmarks.memory.visits import in_fresh_processes

        return in_fresh_processes(self, errand, processes)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass
