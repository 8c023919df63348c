"""One way to read every kind of file: open it, see its columns, take typed rows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from neural_gpu_bus.stores.files.content import identify


@dataclass(frozen=True, slots=True)
class FileRows:
    """The rows of a file."""

    schema: pa.Schema
    #: Number of rows where it is known beforehand.
    rows: int | None
    #: Goes through the file anew at each call; raises BadFileError at what cannot be read.
    batches: Callable[[], Iterator[pa.RecordBatch]]
    #: Line of the text file where a row starts (1 = first line, row 1 = first data row).
    line_of: Callable[[int], int | None]
    #: What is worth a look though nothing is wrong, in sentences.
    notes: tuple[str, ...] = ()


class DataFile(Protocol):
    """A file that was opened."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """As the file has them, in its order."""

    def read(self, types: Mapping[str, pa.DataType]) -> FileRows:
        """Its rows. ``types``: what text columns are to be read as; the types of the other columns
        of a CSV are found by looking at every row. Files that carry types keep their own.
        """


def open_file(path: Path) -> DataFile:
    """The file, by its content. Raises BadFileError naming the file and what it looks like."""
    from neural_gpu_bus.stores.files.arrow_files import ArrowFile, ParquetFile
    from neural_gpu_bus.stores.files.csv_file import CsvFile

    kind = identify(path)
    if kind == "parquet":
        return ParquetFile(path)
    if kind in ("arrow file", "arrow stream"):
        return ArrowFile(path, is_stream=kind == "arrow stream")
    return CsvFile(path, gzipped=kind == "csv.gz")
