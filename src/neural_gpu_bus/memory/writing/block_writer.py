"""Blocks on their way into memory: reserved, filled, sealed, published; one step for several."""

from __future__ import annotations

import mmap
import os
import weakref
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor, Region
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.accounting.maps import Kind
from neural_gpu_bus.memory.accounting.own_session import list_mapping
from neural_gpu_bus.memory.files import folder as folders
from neural_gpu_bus.memory.files.mapping import FileMapping
from neural_gpu_bus.memory.frames.block_source import BlockSource
from neural_gpu_bus.memory.frames.frame import Frame
from neural_gpu_bus.memory.layout.arrow_layout import BlockLayout, pack_spans
from neural_gpu_bus.memory.writing import block_file
from neural_gpu_bus.memory.writing.reservation import BlockReservation

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.memory.files.page_reuse import WrittenFile
    from neural_gpu_bus.memory.memory_use import MemoryUse


class BlockWriter:
    """The writing half of ``UnifiedMemory``."""

    def __init__(self, use: MemoryUse) -> None:
        self._use = use

    def reserve(
        self,
        schema: pa.Schema,
        layout: BlockLayout,
        block: str,
        *,
        region: Region,
        name: str | None,
        cleared: bool,
    ) -> BlockReservation:
        """Memory for a layout that was planned for this block."""
        file = self._reserved_file(block, layout.nbytes, region, cleared=cleared)
        try:
            return BlockReservation(schema, layout, file, self.seal_one, name=name)
        except BaseException:
            file.abandon()
            raise

    def publish(
        self, reservations: Sequence[BlockReservation], *, reload_ns: int = 0
    ) -> dict[str, Frame]:
        """Seal reservations, each under its own name, in one step; see ``UnifiedMemory``."""
        try:
            names = _different_names(reservations)
            for reservation in reservations:
                reservation.finish()
            frames = self._publish(reservations, names, reload_ns)
        except BaseException:
            for reservation in reservations:
                reservation.abandon()
            raise
        return dict(zip(names, frames, strict=True))

    def _reserved_file(
        self, block: str, nbytes: int, region: Region, *, cleared: bool
    ) -> block_file.BlockFile:
        use = self._use
        path = use.session.corner.path / f"{block}.arrow"
        try:
            with (
                use.occupancy.claimed(use.session, region, nbytes, use.remove, use.release_kept),
                folders.no_room_told(use.folder, nbytes),
            ):
                written = self._written_file(path, nbytes, block, region, cleared=cleared)
            return block_file.BlockFile(written, nbytes, region, use.give_back)
        except BaseException:
            path.unlink(missing_ok=True)  # an interrupt may come when it is made already
            raise

    def _written_file(
        self, path: Path, nbytes: int, block: str, region: Region, *, cleared: bool
    ) -> WrittenFile:
        if (spare := self._use.reuse.take(nbytes)) is not None:
            self._use.session.counters.reused_bytes += nbytes
            written = block_file.take_over(spare, path, nbytes, block)
            if cleared:
                written.mapping.array()[:nbytes] = 0
            return written
        try:
            return block_file.make(path, nbytes, block)
        except OSError as error:
            if error.errno not in folders.NO_ROOM:
                raise
        # Others fill the file system: what is worth least here may still make room.
        use = self._use
        use.release_kept()
        use.sweep()
        missing = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE - folders.free_bytes(use.folder)
        use.occupancy.make_room(use.session, region, use.remove, missing)
        return block_file.make(path, nbytes, block)

    def seal_one(self, reservation: BlockReservation, name: str | None, reload_ns: int) -> Frame:
        """Last step of a reservation's ``seal``."""
        if name is not None:
            return self._publish([reservation], [name], reload_ns)[0]
        file = reservation.file
        path = f"{self._use.session.corner.name}/{file.uuid}.arrow"
        descriptor = self._described(reservation, "", path, reload_ns)
        frame = self._framed(self._opened(reservation, descriptor, Kind.UNNAMED))
        reservation.sealed()
        self._kept_for_writing(file)
        return frame

    def _publish(
        self, reservations: Sequence[BlockReservation], names: Sequence[str], reload_ns: int
    ) -> list[Frame]:
        """Files into place and names into the index, in one step."""
        blocks, sources, moves = [], [], []
        for reservation, name in zip(reservations, names, strict=True):
            path = f"{folders.DATASETS}/{reservation.file.uuid}.arrow"
            descriptor = self._described(reservation, name, path, reload_ns)
            sources.append(self._opened(reservation, descriptor, Kind.NAMED))
            blocks.append(descriptor)
            is_named = partial(self._use.index.has_block, bytes.fromhex(descriptor.uuid))
            moves.append(partial(_move, reservation.file, self._use.folder / path, is_named))
        published, gone = self._use.index.publish(blocks, moves, now_ns=self._use.clock_ns())
        for reservation in reservations:
            reservation.sealed()  # before anything can fail: the files are the index's now
        self._use.remove(gone)
        counters = self._use.session.counters
        frames = []
        for reservation, source, block in zip(reservations, sources, published, strict=True):
            source.descriptor = block
            frames.append(self._framed(source))
            counters.add_unnamed(block.region, -block.nbytes)
            counters.puts += 1
            counters.put_bytes += block.nbytes
            self._use.kept.forget(block.name)
            self._kept_for_writing(reservation.file)
        counters.write_down()
        return frames

    def _described(
        self, reservation: BlockReservation, name: str, path: str, reload_ns: int
    ) -> BlockDescriptor:
        layout, file = reservation.layout, reservation.file
        return BlockDescriptor(
            name=name,
            version=0,
            path=path,
            uuid=file.uuid,
            rows=layout.rows,
            nbytes=layout.nbytes,
            columns=tuple(ColumnDescriptor(c.name, c.type, c.nulls) for c in layout.columns),
            created_ns=self._use.clock_ns(),
            host=folders.host_identity(),
            spans=b2a_base64(pack_spans(layout.columns), newline=False).decode(),
            uuid_at=layout.uuid_at,
            region=file.region,
            reload_ns=reload_ns,
            source_ns=reservation.source_ns,
        )

    def _opened(
        self, reservation: BlockReservation, descriptor: BlockDescriptor, kind: Kind
    ) -> BlockSource:
        """The block as a reader has it: sealed, and mapped anew without the right to write."""
        assert reservation.file.written is not None  # noqa: S101  finished, not abandoned
        path = reservation.file.path
        if path.parent != self._use.session.corner.path:
            raise _not_ours(reservation)
        if reservation.file.exposed:
            reservation.file.part()
        folders.seal_file(reservation.file.written.file)
        file = os.open(path, os.O_RDONLY)
        try:
            mapping = self._mapped(file, descriptor, kind)
        finally:
            os.close(file)
        return BlockSource(descriptor, self._use.folder, mapping)

    def _framed(self, source: BlockSource) -> Frame:
        frame = self._use.attached[source.descriptor.uuid] = Frame(source)
        return frame

    def _mapped(self, file: int, descriptor: BlockDescriptor, kind: Kind) -> FileMapping:
        listed = list_mapping(self._use.folder, descriptor.uuid, descriptor.nbytes, kind)
        try:
            at_end = self._at_end(descriptor, kind, listed.end if listed is not None else None)
            return FileMapping(file, descriptor.nbytes, block=descriptor.uuid, at_end=at_end)
        except BaseException:
            if listed is not None:
                listed.end()
            raise

    def _at_end(
        self, descriptor: BlockDescriptor, kind: Kind, end: Callable[[], object] | None
    ) -> Callable[[], object] | None:
        if kind is not Kind.UNNAMED:
            return end
        return partial(
            _end_unnamed, weakref.ref(self._use), self._use.folder, descriptor, end, os.getpid()
        )

    def _kept_for_writing(self, file: block_file.BlockFile) -> None:
        """Its pages may serve another block, once this one is dropped."""
        written, file.written = file.written, None
        assert written is not None  # noqa: S101  sealed a moment ago
        if file.exposed or file.forked:
            written.close()
        else:
            self._use.reuse.keep(written)


def _not_ours(reservation: BlockReservation) -> BadParameterError:
    return BadParameterError(
        f"reservation {reservation.file.uuid} was made by another process, before a fork, or in "
        "another memory",
        hint="seal it where it was reserved",
        parameter="reservation",
    )


def _different_names(reservations: Sequence[BlockReservation]) -> list[str]:
    names = [reservation.name for reservation in reservations]
    found = [name for name in names if name is not None]
    if len(set(found)) < len(names):
        raise BadParameterError(
            f"reservations to publish in one step need different names, got {names}",
            hint="name each: reserve(name, schema, rows)",
            parameter="reservations",
        )
    return found


def _move(file: block_file.BlockFile, target: Path, is_named: Callable[[], bool]) -> None:
    file.move(target, is_named)


def _end_unnamed(
    use: weakref.ref[MemoryUse],
    folder: Path,
    block: BlockDescriptor,
    listed_end: Callable[[], object] | None,
    pid: int,
) -> None:
    """For the finalizer of a block without a name; in a child the file is its parent's."""
    if listed_end is not None:
        listed_end()
    if os.getpid() != pid:
        return
    owner = use()
    if owner is None:
        folders.remove(folder / block.path)
    else:
        owner.end_unnamed(block)
