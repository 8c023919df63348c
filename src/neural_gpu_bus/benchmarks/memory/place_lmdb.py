"""LMDB with the columns' bytes as a value, read in place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.datasets import from_bytes
from neural_gpu_bus.benchmarks.memory.place import Place

if TYPE_CHECKING:
    import lmdb

    from neural_gpu_bus.benchmarks.memory.datasets import Matrix


@dataclass
class LmdbValues(Place):
    """One transaction a read, so that each sees what is new, as ours does."""

    title: ClassVar[str] = "LMDB value"
    title_put: ClassVar[str] = "LMDB put"
    how: ClassVar[str] = (
        "plain bytes of one matrix; sync=False, writemap=True, get(buffers=True), in which py-lmdb "
        "touches every page"
    )
    folder: Path
    bytes_max: int

    @cached_property
    def environment(self) -> lmdb.Environment:
        """Opened when first needed, in each process by itself."""
        import lmdb

        self.folder.mkdir(exist_ok=True)
        return lmdb.open(
            str(self.folder), map_size=self.bytes_max, sync=False, writemap=True, readahead=False
        )

    def open(self) -> None:
        """Map the file."""
        _ = self.environment

    def put(self, key: str, matrix: Matrix) -> None:
        """One copy into its pages."""
        with self.environment.begin(write=True) as transaction:
            transaction.put(key.encode(), matrix.data)

    def find(self, key: str) -> Any:
        """The transaction, without which the buffer says nothing, and the buffer."""
        transaction = self.environment.begin(buffers=True)
        return transaction, transaction.get(key.encode())

    def columns(self, found: Any) -> Mapping[str, Any]:
        """Views of its pages."""
        return from_bytes(found[1])

    def drop(self, key: str) -> None:
        """Its pages are used again."""
        with self.environment.begin(write=True) as transaction:
            transaction.delete(key.encode())

    def files(self) -> str | None:
        """All in its folder."""
        return str(self.folder)

    def close(self) -> None:
        """Unmap and remove."""
        self.__dict__.pop("environment", self.environment).close()
        shutil.rmtree(self.folder, ignore_errors=True)
