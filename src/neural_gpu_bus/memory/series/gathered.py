"""Rows gathered from several chunks, in this process's own memory, as the source of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import AsOf
from neural_gpu_bus.memory.layout.column_types import column_type
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.memory.series.records import Stamp

    Bytes = npt.NDArray[np.uint8]


def as_of(stamp: Stamp) -> AsOf:
    """A stamp as frames have it; PostgreSQL spells positions as two halves in hex."""
    return AsOf(
        published_ns=stamp.published_ns,
        committed_ns=stamp.committed_ns or None,
        lsn=f"{stamp.lsn >> 32:X}/{stamp.lsn & 0xFFFFFFFF:X}" if stamp.lsn else "",
        generation=stamp.generation,
    )


class GatheredSource:
    """Columns of an Arrow table, each in one piece; see ``frame_source.FrameSource``."""

    __slots__ = ("__weakref__", "_reference", "_table", "as_of", "title")

    def __init__(self, title: str, table: pa.Table, told: AsOf, reference: tuple[Any, ...]) -> None:
        self.title = title
        self.as_of = told
        self._table = table.unify_dictionaries().combine_chunks()
        self._reference = reference

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self._table.num_rows

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        return self._table.nbytes

    @property
    def version(self) -> int:
        """A series has generations instead."""
        return 0

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Names and Arrow types, in order."""
        return [(field.name, str(field.type)) for field in self._table.schema]

    def column(self, name: str) -> ColumnBytes:
        """Buffers of one column."""
        kind = str(self._table.schema.field(name).type)
        found = column_type(kind, name)
        is_text = found.form == "text"
        if not self.rows:
            empty = _bytes(None)
            offsets = _bytes(bytes(int(found.offsets[-1]))) if found.offsets else empty
            return ColumnBytes(name, kind, 0, None, offsets, empty if is_text else None)
        array = _whole(self._table[name])
        validity, *others = array.buffers()
        values, *data = others if found.form != "nested" or found.offsets else [None]
        return ColumnBytes(
            name,
            kind,
            array.null_count,
            _bytes(validity) if array.null_count else None,
            _bytes(values),
            _bytes(data[0]) if is_text else None,
        )

    def arrow(self) -> pa.Table:
        """Over the same bytes."""
        return self._table

    def arrow_rows(self, start: int, stop: int) -> pa.Table:
        """Some rows of it."""
        return self._table.slice(start, stop - start)

    def private(self) -> GatheredSource:
        """Another copy, which may be written to."""
        import pyarrow as pa

        arrays = [_copied(_whole(self._table[name])) for name in self._table.column_names]
        table = pa.table(arrays, schema=self._table.schema)
        return GatheredSource(self.title, table, self.as_of, self._reference)

    def reference(self) -> tuple[Any, ...]:
        """Gathers the same rows in another process of this host."""
        return self._reference


def _whole(column: pa.ChunkedArray[Any]) -> Any:
    """As one array that begins at the first bit of its buffers."""
    import pyarrow as pa

    array: Any = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    return array.take(pa.array(range(len(array)), pa.int64())) if array.offset else array


def _copied(array: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(_copied(array.indices), array.dictionary)
    if pa.types.is_nested(array.type):
        return array.take(pa.array(range(len(array)), pa.int64()))
    copies = [
        None if part is None else pa.py_buffer(np.frombuffer(part, np.uint8).copy())  # type: ignore[arg-type]
        for part in array.buffers()
    ]
    return pa.Array.from_buffers(array.type, len(array), copies, array.null_count, array.offset)


def _bytes(buffer: Any) -> Bytes:
    import numpy as np

    if buffer is None:
        return np.zeros(0, np.uint8)
    return np.frombuffer(buffer, np.uint8)
