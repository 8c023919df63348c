"""Frame: read-only columns over a sealed block, and the one way to open one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import BlockDescriptor
from neural_gpu_bus.errors import (
    ColumnNotFoundError,
    DatasetEvictedError,
    MissingDependencyError,
    UnsupportedTypeError,
)
from neural_gpu_bus.memory.arrow_layout import UUID_KEY, ColumnSpans, Span, read_spans
from neural_gpu_bus.memory.column_types import ColumnType, column_type
from neural_gpu_bus.memory.folder import BLOCK_PATH, host_identity
from neural_gpu_bus.memory.mapping import FileMapping

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    Array = npt.NDArray[Any]


class Frame(Mapping[str, "Array"]):
    """Named columns of one length whose bytes lie in shared memory; nobody can change them.

    ``frame[name]`` is a numpy array without a copy for numbers, timestamps, durations, 64-bit times
    and fixed-size binary. These are copies, made at each look: bool (bits to bytes), 32-bit dates
    and times (numpy has only 64 bits), text and binary (Python objects, None for NULL), and any
    moment column that has NULLs (NaT). A float column shows NaN where it is NULL, without a copy.
    Integer, bool and fixed-size binary columns with NULLs are refused: numpy has no such value, so
    take ``values`` and ``valid``, or ``arrow()``.

    Whatever is derived from a frame keeps the bytes alive, whoever drops or replaces the dataset.
    Pickling sends the descriptor; the other side, on this host, attaches the same bytes.
    """

    __slots__ = ("__weakref__", "_bytes", "_columns", "_digest", "_folder", "_shown", "descriptor")

    def __init__(
        self,
        descriptor: BlockDescriptor,
        folder: Path,
        block: npt.NDArray[np.uint8],
        columns: tuple[ColumnSpans, ...],
    ) -> None:
        self.descriptor = descriptor
        self._folder = folder
        self._bytes = block
        self._columns = {column.name: column for column in columns}
        self._shown: dict[str, Array] = {}
        self._digest = ""

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self.descriptor.rows

    @property
    def nbytes(self) -> int:
        """Size of the block in memory, paddings included."""
        return self.descriptor.nbytes

    def __getitem__(self, name: str) -> Array:
        shown = self._shown.get(name)
        if shown is not None:
            return shown
        kind = self._kind(name)
        if kind.form == "text":
            return self._objects(name)
        column = self._columns[name]
        if column.nulls and kind.null == "refused":
            raise UnsupportedTypeError(
                f"column {name!r} ({column.type}) has {column.nulls} NULLs, for which numpy has no "
                "value",
                hint=f"use frame.values({name!r}) with frame.valid({name!r}), or frame.arrow()",
                column=name,
                type=column.type,
            )
        return self._numbers(name, kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        # Mapping's own would build the column to see whether it is there.
        return name in self._columns

    def __len__(self) -> int:
        """Number of columns, as in any mapping; ``rows`` has the other."""
        return len(self._columns)

    def values(self, name: str | None = None) -> Any:
        """Raw values of a column without a copy: what lies under NULL is a filler (NaN, 0).

        bool: the bitmap's bytes, bit 0 first. date32: days as int32. Text: its bytes, one after the
        other. Without a name: the mapping's own values, as Python's mappings have them.
        """
        if name is None:
            return super().values()
        kind = self._kind(name)
        column = self._columns[name]
        return self._view(column.data if kind.form == "text" else column.values, kind.raw)

    def valid(self, name: str) -> npt.NDArray[np.bool_] | None:
        """True where not NULL (a copy, a byte a row); None for a column without NULLs."""
        self._kind(name)
        column = self._columns[name]
        return self._bits(column.validity) if column.nulls else None

    def digest(self) -> str:
        """32 hex digits of names, types and values: equal for equal columns in whatever block.

        Reads every byte, once a frame, at 1 to 2 GB/s.
        """
        if not self._digest:
            self._digest = self._summed()
        return self._digest

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """A text column as numbers: int32 code a row (-1 for NULL), and the text of each code.

        Codes count up in order of first appearance. A copy.
        """
        self._kind(name)
        kind = self._columns[name].type
        if kind != "large_string":
            raise UnsupportedTypeError(
                f"column {name!r} is {kind}, not text",
                hint=f"take frame[{name!r}]; only texts have codes",
                column=name,
                type=kind,
            )
        encoded = self.arrow()[name].combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        texts = [str(text) for text in encoded.dictionary.to_pylist()]
        return codes.astype("int32", copy=False), texts

    def arrow(self) -> pa.Table:
        """The same bytes as an Arrow table, without a copy."""
        import pyarrow as pa

        buffer = pa.py_buffer(self._bytes)  # type: ignore[arg-type]  # the stub knows no numpy
        table = pa.ipc.open_file(buffer).read_all()
        own = {key: value for key, value in table.schema.metadata.items() if key != UUID_KEY}
        return table.replace_schema_metadata(own or None)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.arrow().__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]

    def polars(self) -> pl.DataFrame:
        """As a Polars frame; numbers and moments without a copy, text with one."""
        try:
            import polars as pl
        except ImportError:
            raise _missing("polars", "analysis") from None
        return pl.DataFrame(self.arrow())

    def pandas(self) -> pd.DataFrame:
        """As a pandas frame: a copy, NULLs as pandas has them for that type."""
        try:
            import pandas as pd  # noqa: F401  pyarrow imports it itself
        except ImportError:
            raise _missing("pandas") from None
        return self.arrow().to_pandas()

    def duckdb(self) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation that scans these bytes."""
        try:
            import duckdb
        except ImportError:
            raise _missing("duckdb", "analysis") from None
        return duckdb.from_arrow(self.arrow())

    def __reduce__(self) -> tuple[Any, ...]:
        return attach_frame, (self._folder, self.descriptor)

    def __eq__(self, other: object) -> bool:
        """Same block; compare ``arrow()`` for the same values."""
        return isinstance(other, Frame) and self.descriptor.uuid == other.descriptor.uuid

    def __hash__(self) -> int:
        return hash(self.descriptor.uuid)

    def __repr__(self) -> str:
        from neural_gpu_bus.memory.frame_text import describe

        return describe(self)

    # ---- bytes to arrays

    def _kind(self, name: str) -> ColumnType:
        try:
            return column_type(self._columns[name].type, name)
        except KeyError:
            raise ColumnNotFoundError(
                f"no column {name!r} in {self.descriptor.name or 'this frame'!r}",
                hint=f"it has {list(self._columns)}",
                column=name,
            ) from None

    def _summed(self) -> str:
        total = hashlib.sha256(f"{self.rows}".encode())
        for column in self._columns.values():
            total.update(f"\0{column.name}\0{column.type}\0{column.nulls}\0".encode())
            for span in (column.validity, column.values, column.data):
                total.update(self._view(span, "u1"))  # type: ignore[arg-type]  # as above
        return total.hexdigest()[:32]

    def _view(self, span: Span, dtype: str) -> Array:
        return self._bytes[span.offset : span.offset + span.nbytes].view(dtype)

    def _bits(self, span: Span) -> npt.NDArray[np.bool_]:
        import numpy as np

        bits = np.unpackbits(self._view(span, "u1"), count=self.rows, bitorder="little")
        return bits.view(np.bool_)

    def _numbers(self, name: str, kind: ColumnType) -> Array:
        column = self._columns[name]
        if kind.form == "bits":
            return self._bits(column.values)
        raw = self._view(column.values, kind.raw)
        shown = raw.view(kind.shown) if kind.adopted else raw.astype("<i8").view(kind.shown)
        if column.nulls and kind.null == "nat":
            shown = shown.copy()
            shown[~self._bits(column.validity)] = "NaT"
            return shown
        if kind.adopted:
            self._shown[name] = shown
        return shown

    def _objects(self, name: str) -> Array:
        import numpy as np

        array = self.arrow()[name].to_numpy(zero_copy_only=False)
        return np.asarray(array, dtype=object)


def attach_frame(folder: Path, descriptor: BlockDescriptor) -> Frame:
    """Map a block by its descriptor.

    Raises DatasetEvictedError where it is gone, another stands in its place, or it lies in the
    memory of another host.
    """
    if descriptor.host != host_identity():
        raise _evicted(
            descriptor, f"it lies on another host ({descriptor.host})", "send its values"
        )
    if not BLOCK_PATH.fullmatch(descriptor.path):
        raise _evicted(descriptor, f"{descriptor.path!r} is no path of a block", "get it by name")
    try:
        file = os.open(folder / descriptor.path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise _evicted(descriptor, str(error.strerror), "get its newest version by name") from None
    try:
        if os.fstat(file).st_size != descriptor.nbytes:
            raise _evicted(descriptor, "its file has another size", "get it by name")
        block = FileMapping(file, descriptor.nbytes).array()
    finally:
        os.close(file)
    return open_block(folder, descriptor, block)


def open_block(folder: Path, descriptor: BlockDescriptor, block: npt.NDArray[np.uint8]) -> Frame:
    """A frame over mapped bytes, once they are seen to be that very block."""
    columns = read_spans(block, [(column.name, column.type) for column in descriptor.columns])
    head_bytes = columns[0].validity.offset
    if descriptor.uuid.encode() not in block[:head_bytes].tobytes():
        raise _evicted(descriptor, "its file is another block", "get it by name")
    return Frame(descriptor, folder, block, columns)


def _evicted(descriptor: BlockDescriptor, why: str, way_out: str) -> DatasetEvictedError:
    what = f"{descriptor.name!r} version {descriptor.version}" if descriptor.name else "a block"
    return DatasetEvictedError(
        f"{what} is not in this memory any more: {why}",
        hint=way_out,
        name=descriptor.name,
        version=descriptor.version,
    )


def _missing(library: str, extra: str = "") -> MissingDependencyError:
    package = f"'neural-gpu-bus[{extra}]'" if extra else library
    return MissingDependencyError(
        f"{library} is not installed",
        hint=f"pip install {package}, or use frame.arrow()",
        library=library,
        extra=extra,
    )
