"""A source of frames that is no block: any Arrow file, mapped. Frame needs no more than this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.descriptors import AsOf
from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes


def write_source(path: Path, table: pa.Table) -> PlainFrameSource:
    """The table as a file of one batch, and a source over it."""
    columns = [column.combine_chunks() for column in table.columns]
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=table.schema))
    return PlainFrameSource(path)


class PlainFrameSource:
    """All rows of an Arrow file of one batch."""

    title = "of a test"
    version = 7
    as_of = AsOf(published_ns=1, lsn="0/1")

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self._path = path
        file = os.open(path, os.O_RDONLY)
        mapping = FileMapping(file, path.stat().st_size, private=private)
        os.close(file)
        self._bytes = mapping.array()
        self._table = pa.ipc.open_file(pa.py_buffer(self._bytes)).read_all()
        self.rows = self._table.num_rows
        self.nbytes = mapping.nbytes
        self.columns = [(field.name, str(field.type)) for field in self._table.schema]

    def column(self, name: str) -> ColumnBytes:
        """Nobody counted NULLs: -1 where there may be some."""
        kind = dict(self.columns)[name]
        chunk: Any = self._table[name].chunk(0)
        assert chunk.offset == 0
        start = self._bytes.ctypes.data
        parts = [
            None
            if buffer is None
            else self._bytes[buffer.address - start : buffer.address - start + buffer.size]
            for buffer in chunk.buffers()
        ]
        validity, values, data = [*parts, None, None][:3]
        nothing = np.empty(0, np.uint8)
        nulls = 0 if validity is None else -1
        return ColumnBytes(name, kind, nulls, validity, nothing if values is None else values, data)

    def arrow(self) -> pa.Table:
        return self._table

    def arrow_rows(self, start: int, stop: int) -> pa.Table:
        return self._table.slice(start, stop - start)

    def private(self) -> PlainFrameSource:
        return PlainFrameSource(self._path, private=True)

    def reference(self) -> tuple[Any, ...]:
        return PlainFrameSource, (self._path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainFrameSource) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)
