"""A sealed block as the source of frames, and the one way to open one in this process."""

from __future__ import annotations

import mmap
import os
import struct
from binascii import a2b_base64
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.descriptors import AsOf, BlockDescriptor
from neural_gpu_bus.errors import DatasetEvictedError, ProtocolError
from neural_gpu_bus.memory.accounting.maps import Kind
from neural_gpu_bus.memory.accounting.own_session import Listed, list_mapping
from neural_gpu_bus.memory.files.folder import BLOCK_PATH, host_identity
from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.layout.arrow_layout import (
    UUID_KEY,
    ColumnSpans,
    Span,
    column_spans,
)
from neural_gpu_bus.memory.layout.frame_source import ColumnBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Bytes = npt.NDArray[np.uint8]


class BlockSource:
    """All rows and columns of one sealed block; see ``frame_source.FrameSource``.

    Making one touches no byte of the block: attaching 1,000 columns costs what one costs.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_folder",
        "_made",
        "_mapping",
        "_packed",
        "_places",
        "_table",
        "descriptor",
    )

    def __init__(
        self, descriptor: BlockDescriptor, folder: Path, mapping: FileMapping | None
    ) -> None:
        self.descriptor = descriptor
        self._folder = folder
        self._mapping = mapping
        self._bytes: Bytes | None = None
        self._made: dict[str, ColumnBytes] = {}
        self._packed = b""
        self._places: dict[str, int] | None = None
        self._table: pa.Table | None = None

    @property
    def title(self) -> str:
        """``'bars' version 3``."""
        block = self.descriptor
        return f"{block.name!r} version {block.version}" if block.name else "without a name"

    @property
    def rows(self) -> int:
        """Rows in every column."""
        return self.descriptor.rows

    @property
    def nbytes(self) -> int:
        """Size of the file, paddings included."""
        return self.descriptor.nbytes

    @property
    def version(self) -> int:
        """Of the dataset; 0 without a name."""
        return self.descriptor.version

    @property
    def as_of(self) -> AsOf:
        """When it was sealed, and for what was read, before which moment that began."""
        block = self.descriptor
        return AsOf(published_ns=block.created_ns, source_ns=block.source_ns or None)

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Names and Arrow types, in order."""
        return [(column.name, column.type) for column in self.descriptor.columns]

    @property
    def block_bytes(self) -> Bytes:
        """The whole file, read-only."""
        if self._bytes is None:
            assert self._mapping is not None  # noqa: S101  one of both is there
            self._bytes = self._mapping.array()
        return self._bytes

    def column(self, name: str) -> ColumnBytes:
        """Buffers of one column; ProtocolError where the descriptor points outside the file."""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._column(self._spans(name))
        return found

    def _column(self, spans: ColumnSpans) -> ColumnBytes:
        values = self._part(spans.name, spans.values)
        validity = self._part(spans.name, spans.validity) if spans.nulls else None
        data = self._part(spans.name, spans.data) if spans.data.offset else None
        return ColumnBytes(spans.name, spans.type, spans.nulls, validity, values, data)

    def _part(self, name: str, span: Span) -> Bytes:
        offset, nbytes = span
        if not 0 <= offset <= offset + nbytes <= self.descriptor.nbytes:
            raise _outside(f"column {name!r} lies at {offset} with {nbytes} bytes", self.descriptor)
        return self.block_bytes[offset : offset + nbytes]

    def _spans(self, name: str) -> ColumnSpans:
        block = self.descriptor
        if self._places is None:
            self._places = {item.name: at for at, item in enumerate(block.columns)}
        place = self._places[name]
        try:
            if not self._packed:
                self._packed = a2b_base64(block.spans)
            return column_spans(self._packed, place, name, block.columns[place].type)
        except (struct.error, ValueError) as error:
            raise _outside(f"column {name!r} is not told of: {error}", block) from None

    def arrow(self) -> pa.Table:
        """The same bytes as an Arrow table, without a copy; made once."""
        import pyarrow as pa

        if self._table is None:
            buffer = pa.py_buffer(self.block_bytes)  # type: ignore[arg-type]  # no numpy in the stub
            table = pa.ipc.open_file(buffer).read_all()
            own = {key: text for key, text in table.schema.metadata.items() if key != UUID_KEY}
            self._table = table.replace_schema_metadata(own or None)
        return self._table

    def arrow_rows(self, start: int, stop: int) -> pa.Table:
        """Some rows of it."""
        return self.arrow().slice(start, stop - start)

    def private(self) -> BlockSource:
        """The same pages mapped anew, writable for this process alone; a copy where the file is
        gone, because there is no other way to such a mapping.
        """
        try:
            mapping = _map(self._folder, self.descriptor, holding=self.block_bytes)
        except DatasetEvictedError:
            return self._copied()
        return BlockSource(self.descriptor, self._folder, mapping)

    def _copied(self) -> BlockSource:
        import numpy as np

        copy = np.frombuffer(mmap.mmap(-1, self.nbytes), np.uint8)  # on a page, as the block is
        copy[:] = self.block_bytes
        source = BlockSource(self.descriptor, self._folder, None)
        source._bytes = copy
        return source

    def reference(self) -> tuple[Any, ...]:
        """How another process of this host attaches it."""
        return attach_block, (self._folder, self.descriptor)

    def __eq__(self, other: object) -> bool:
        """The same block, by whatever path."""
        return isinstance(other, BlockSource) and self.descriptor.uuid == other.descriptor.uuid

    def __hash__(self) -> int:
        return hash(self.descriptor.uuid)


def attach_block(folder: Path, descriptor: BlockDescriptor) -> BlockSource:
    """Map a block by its descriptor.

    Raises DatasetEvictedError where it is gone, another stands in its place, or it lies in the
    memory of another host.
    """
    return BlockSource(descriptor, folder, _map(folder, descriptor))


def _map(folder: Path, descriptor: BlockDescriptor, *, holding: Bytes | None = None) -> FileMapping:
    """Its file, seen to be that very block; mapped privately where it is ``holding`` the bytes of
    the shared mapping.
    """
    if descriptor.host != host_identity():
        raise _evicted(
            descriptor, f"it lies on another host ({descriptor.host})", "send its values"
        )
    if not BLOCK_PATH.fullmatch(descriptor.path):
        raise _evicted(descriptor, f"{descriptor.path!r} is no path of a block", "get it by name")
    try:
        # Without a wait: what lies there may be a pipe, which somebody else put there.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(f"{folder}/{descriptor.path}", flags)
    except OSError as error:
        raise _evicted(descriptor, str(error.strerror), "get its newest version by name") from None
    try:
        if os.fstat(file).st_size != descriptor.nbytes:
            raise _evicted(descriptor, "its file has another size", "get it by name")
        # Read, not looked at through the mapping: that would be a page fault, 4 us instead of 1.
        if os.pread(file, len(descriptor.uuid), descriptor.uuid_at) != descriptor.uuid.encode():
            raise _evicted(descriptor, "its file is another block", "get it by name")
        listed = list_mapping(folder, descriptor.uuid, descriptor.nbytes, _kind(descriptor))
        # The private mapping keeps the shared one: a block without a name lasts as long as that.
        end = partial(_end, listed, holding)
        private = holding is not None
        try:
            mapping = FileMapping(
                file, descriptor.nbytes, private=private, block=descriptor.uuid, at_end=end
            )
        except BaseException:
            end()
            raise
    finally:
        os.close(file)
    return mapping


def _kind(descriptor: BlockDescriptor) -> Kind:
    return Kind.NAMED if descriptor.name else Kind.UNNAMED


def _end(listed: Listed | None, _holding: Bytes | None) -> None:
    if listed is not None:
        listed.end()


def _evicted(descriptor: BlockDescriptor, why: str, way_out: str) -> DatasetEvictedError:
    what = f"{descriptor.name!r} version {descriptor.version}" if descriptor.name else "a block"
    return DatasetEvictedError(
        f"{what} is not in this memory any more: {why}",
        hint=way_out,
        name=descriptor.name,
        version=descriptor.version,
    )


def _outside(what: str, descriptor: BlockDescriptor) -> ProtocolError:
    return ProtocolError(
        f"{what}, by a descriptor of a block of {descriptor.nbytes} bytes",
        hint="get the dataset by name again; this descriptor is of another block",
        position=0,
    )
