"""Parquet and Arrow files: they carry their types; a cut or broken one is told as such."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neural_gpu_bus.stores.arrow_stream import END_OF_STREAM
from neural_gpu_bus.stores.files.content import bad_file
from neural_gpu_bus.stores.files.data_file import FileRows

#: Rows in memory at once; the writer cuts them further.
BATCH_ROWS = 1 << 16


def _no_line(_row: int) -> None:
    return None


@contextmanager
def _broken_is_bad_file(path: Path, kind: str, rows_read: list[int]) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        after = f" after row {rows_read[0]:,}" if rows_read[0] else ""
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise bad_file(
            path,
            f"is a broken or cut {kind}{after} ({said})",
            "fetch or write the file again; nothing of it was loaded",
        ) from None


class ParquetFile:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _broken_is_bad_file(path, "Parquet file", [0]):
            self._metadata = pq.read_metadata(path)
            self._schema = self._metadata.schema.to_arrow_schema().remove_metadata()
        self.column_names = tuple(self._schema.names)

    def read(self, types: Mapping[str, pa.DataType]) -> FileRows:  # noqa: ARG002  # keeps its own
        """Its rows, a row group's pages at a time."""
        return FileRows(self._schema, self._metadata.num_rows, self._batches, _no_line)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows_read = [0]
        with (
            _broken_is_bad_file(self.path, "Parquet file", rows_read),
            pq.ParquetFile(self.path, memory_map=True) as file,
        ):
            for batch in file.iter_batches(BATCH_ROWS):
                rows_read[0] += batch.num_rows
                yield batch


class ArrowFile:
    """An Arrow IPC file (Feather is one) or stream."""

    def __init__(self, path: Path, *, is_stream: bool) -> None:
        self.path = path
        self._kind = "Arrow stream" if is_stream else "Arrow file"
        self._is_stream = is_stream
        with _broken_is_bad_file(path, self._kind, [0]), pa.memory_map(str(path)) as source:
            if is_stream:
                self._schema, self._rows = pa.ipc.open_stream(source).schema, None
            else:
                file = pa.ipc.open_file(source)
                self._schema, self._rows = file.schema, _count_rows(file)
        self.column_names = tuple(self._schema.names)

    def read(self, types: Mapping[str, pa.DataType]) -> FileRows:  # noqa: ARG002  # keeps its own
        """Its rows, straight from the mapped file where it is not compressed."""
        return FileRows(self._schema.remove_metadata(), self._rows, self._batches, _no_line)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows_read = [0]
        with (
            _broken_is_bad_file(self.path, self._kind, rows_read),
            pa.memory_map(str(self.path)) as source,
        ):
            for batch in self._reader(source):
                batch.validate(full=True)
                rows_read[0] += batch.num_rows
                yield batch
            if self._is_stream:
                _check_end(source)

    def _reader(self, source: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
        if self._is_stream:
            yield from pa.ipc.open_stream(source)
            return
        file = pa.ipc.open_file(source)
        for index in range(file.num_record_batches):
            yield file.get_batch(index)


def _check_end(source: pa.MemoryMappedFile) -> None:
    """A stream that was cut between two batches reads as a shorter one: only its mark tells."""
    end, size = source.tell(), source.size()
    source.seek(max(0, end - len(END_OF_STREAM)))
    if end != size or source.read() != END_OF_STREAM:
        raise pa.ArrowInvalid(f"no end of stream at byte {end} of {size}")


def _count_rows(file: pa.ipc.RecordBatchFileReader) -> int:
    return sum(file.get_batch(index).num_rows for index in range(file.num_record_batches))
