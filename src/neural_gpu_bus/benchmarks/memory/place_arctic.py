"""ArcticDB on LMDB, in shared memory. Business Source License 1.1: measured here, used nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.datasets import columns
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix

_LIBRARY = "bench"


@dataclass
class ArcticFrames(Place):
    """Symbols of one library; they are compressed, so each read makes a frame anew."""

    title: ClassVar[str] = "ArcticDB read"
    title_put: ClassVar[str] = "ArcticDB write"
    how: ClassVar[str] = "a pandas frame as a symbol; lmdb:// in shared memory, older versions go"
    folder: Path
    bytes_max: int

    @cached_property
    def library(self) -> Any:
        """Opened when first needed, in each process by itself."""
        from arcticdb import Arctic

        self.folder.mkdir(exist_ok=True)
        address = f"lmdb://{self.folder}?map_size={max(self.bytes_max >> 20, 64)}MB"
        return Arctic(address).get_library(_LIBRARY, create_if_missing=True)

    def open(self) -> None:
        """Open the library."""
        _ = self.library

    def put(self, key: str, matrix: Matrix) -> None:
        """Compress and write."""
        import pandas as pd

        frame = pd.DataFrame(columns(matrix), copy=False)
        self.library.write(key, frame, prune_previous_versions=True)

    def find(self, key: str) -> Any:
        """A pandas frame of its own."""
        return self.library.read(key).data

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of that frame."""
        return {name: found[name].to_numpy() for name in found.columns}

    def drop(self, key: str) -> None:
        """Delete the symbol."""
        self.library.delete(key)

    def files(self) -> str | None:
        """All in its folder."""
        return str(self.folder)

    def close(self) -> None:
        """Remove the folder."""
        self.__dict__.pop("library", None)
        shutil.rmtree(self.folder, ignore_errors=True)
