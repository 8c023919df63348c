"""Arrow files in shared memory, mapped by pyarrow."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from neural_gpu_bus.benchmarks.memory.datasets import columns
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    from neural_gpu_bus.benchmarks.memory.datasets import Matrix


@dataclass
class ArrowFiles(Place):
    """The path is the name; whether the file is still the newest nobody says."""

    title: ClassVar[str] = "pyarrow memory_map"
    title_put: ClassVar[str] = "pyarrow file"
    how: ClassVar[str] = "one record batch in an Arrow file; memory_map and read_all each time"
    folder: Path

    def open(self) -> None:
        """Make the folder."""
        self.folder.mkdir(exist_ok=True)

    def put(self, key: str, matrix: Matrix) -> None:
        """Write the file anew."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        table = pa.table({name: pa.array(column) for name, column in columns(matrix).items()})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    def find(self, key: str) -> Any:
        """A table over the mapped file."""
        return pa.ipc.open_file(pa.memory_map(str(self._path(key)))).read_all()

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of the mapping."""
        return {name: found[name].chunk(0).to_numpy() for name in found.column_names}

    def drop(self, key: str) -> None:
        """Unlink."""
        self._path(key).unlink(missing_ok=True)

    def files(self) -> str | None:
        """All in its folder."""
        return str(self.folder)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key.replace('/', '-')}.arrow"
