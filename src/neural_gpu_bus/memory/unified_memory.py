"""UnifiedMemory: blocks in a folder of shared memory, found by name or descriptor."""

from __future__ import annotations

import os
import stat
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.descriptors import BlockDescriptor, ColumnDescriptor, MemoryStatistics
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.memory import folder as folders
from neural_gpu_bus.memory.arrow_layout import BlockLayout, plan_block
from neural_gpu_bus.memory.frame import Frame, attach_frame
from neural_gpu_bus.memory.index import Index, check_given_name
from neural_gpu_bus.memory.mapping import FileMapping, allocate
from neural_gpu_bus.memory.reservation import BlockReservation

if TYPE_CHECKING:
    import pyarrow as pa

#: Datasets a process keeps mapped because it got them by name: the next ``get`` finds them at once.
FRAMES_KEPT_MAX = 64
#: Looks at the index before a name whose blocks keep vanishing counts as evicted. Each look loses
#: only to two whole new versions published meanwhile.
GET_ATTEMPTS_MAX = 10

#: Read-only for the owner: nobody opens a sealed block for writing by mistake.
_SEALED_MODE = stat.S_IRUSR

_living: weakref.WeakSet[UnifiedMemory] = weakref.WeakSet()


class UnifiedMemory:
    """Layer 2 of one process. See ``ports.Memory`` for the contract.

    ``bytes_max`` bounds all blocks of all processes in that folder together. Safe for threads.
    After fork the child goes on with a session of its own.
    """

    def __init__(
        self, folder: Path, bytes_max: int, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder = folders.prepare(folder)
        host = os.statvfs(self._folder)
        self._bytes_max = min(bytes_max, host.f_blocks * host.f_frsize)
        self._clock_ns = clock_ns
        self._session: folders.Session | None = None
        #: Name -> (encoded descriptor as the index had it, frame); the latest used last.
        self._kept: OrderedDict[str, tuple[bytes, Frame]] = OrderedDict()
        #: uuid -> frame, while anybody holds it.
        self._attached: weakref.WeakValueDictionary[str, Frame] = weakref.WeakValueDictionary()
        self._index = Index(self._folder)
        with self._index.exclusive() as known:
            folders.sweep_sessions(self._folder)
            folders.sweep_datasets(self._folder, known)
        _living.add(self)

    @property
    def folder(self) -> Path:
        """Where the blocks lie."""
        return self._folder

    # ---- write

    def reserve(
        self,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
    ) -> BlockReservation:
        """Reserve a block to fill in place; see ``ports.Reserve``.

        Raises SharedMemoryFullError where the budget or the file system has no room,
        UnsupportedTypeError for a type that a block cannot hold.
        """
        block = uuid.uuid4().hex
        layout = plan_block(
            schema, rows, uuid=block, text_bytes=text_bytes or {}, null_counts=null_counts or {}
        )
        with folders.no_room_told(self._folder, layout.nbytes):
            path = self._folder / self._own_session().name / f"{block}.arrow"
            mapping = self._create(path, layout)
        return BlockReservation(schema, layout, path, mapping, self._seal, uuid=block)

    def put(self, name: str, columns: Mapping[str, Any] | pa.Table) -> Frame:
        """Copy columns once and publish them as the newest version of ``name``."""
        check_given_name(name)
        return self._copied(columns).seal(name)

    def put_result(self, job_id: str, columns: pa.Table) -> Frame:
        """Publish a job's result; see ``ports.Memory``."""
        return self._copied(columns).seal_result(job_id)

    def share(self, columns: Mapping[str, Any] | pa.Table) -> Frame:
        """Copy columns once into a block without a name; it goes with its last reference here."""
        return self._copied(columns).seal()

    # ---- read

    def get(self, name: str, version: int | None = None) -> Frame:
        """The newest version of a dataset, or that one while it is kept.

        Raises DatasetNotFoundError for an unknown name, DatasetEvictedError for an old version.
        """
        if version is not None:
            return self._get_version(name, version)
        raw = self._index.newest(name)
        kept = self._kept.get(name)
        if kept is not None and kept[0] == raw:
            return kept[1]
        return self._get_newest(name)

    def attach(self, descriptor: BlockDescriptor) -> Frame:
        """The very block of a descriptor; DatasetEvictedError where it is gone."""
        frame = self._attached.get(descriptor.uuid)
        if frame is None or frame.descriptor != descriptor:
            frame = attach_frame(self._folder, descriptor)
            self._attached[descriptor.uuid] = frame
        return frame

    def pin(self, frame: Frame) -> Frame:
        """The same bytes under a path that lasts while the frame returned is held.

        For a queued job: its input stays attachable though the dataset is replaced or dropped. A
        second link to the file, so nothing is copied, and the kernel counts. It goes with this
        process at the latest. Raises DatasetEvictedError where the file is gone already.
        """
        if not frame.descriptor.name:
            return frame
        own = f"{self._own_session().name}/{uuid.uuid4().hex}.arrow"
        with suppress(FileNotFoundError):  # told by attaching
            (self._folder / own).hardlink_to(self._folder / frame.descriptor.path)
        pinned = attach_frame(self._folder, msgspec.structs.replace(frame.descriptor, path=own))
        weakref.finalize(pinned, folders.remove_own, self._folder / own, os.getpid())
        return pinned

    # ---- names

    def drop(self, name: str) -> None:
        """Forget all versions of a dataset; views live on. DatasetNotFoundError if unknown."""
        gone = self._index.drop(name)
        self._kept.pop(name, None)
        if not gone:
            raise self._not_found(name)
        self._remove(gone)

    def drop_result(self, block: BlockDescriptor) -> None:
        """Forget a job's result while that very block is its newest; see ``ports.Memory``."""
        if gone := self._index.drop(block.name, newest_uuid=block.uuid):
            self._kept.pop(block.name, None)
            self._remove(gone)

    def names(self) -> list[str]:
        """Names of all datasets, sorted."""
        return self._index.names()

    def blocks(self, prefix: str) -> list[BlockDescriptor]:
        """Newest blocks of all names that begin so; nothing is attached."""
        return self._index.blocks(prefix)

    def statistics(self) -> MemoryStatistics:
        """All processes together, at this moment."""
        names, blocks, named_bytes = self._index.totals()
        own, own_bytes = folders.session_blocks(self._folder)
        return MemoryStatistics(
            folder=str(self._folder),
            bytes_max=self._bytes_max,
            bytes_used=named_bytes + own_bytes,
            bytes_free_host=folders.free_bytes(self._folder),
            datasets=names,
            blocks=blocks + own,
        )

    def close(self) -> None:
        """Give up this process's blocks without a name, and the index. Frames stay readable."""
        _living.discard(self)
        self._kept.clear()
        if self._session is not None:
            self._session.close()
            self._session = None
        self._index.close()

    # ---- inside

    def _create(self, path: Path, layout: BlockLayout) -> FileMapping:
        """A file of its full size with memory behind every page, mapped for writing."""
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # The size counts at once, before any page: of two that reserve at the same moment
            # each sees the other, so the budget is never overrun.
            os.ftruncate(file, layout.nbytes)
            self._check_budget(layout.nbytes)
            allocate(file, layout.nbytes)
            return FileMapping(file, layout.nbytes, writable=True)
        except BaseException:
            folders.remove(path)
            raise
        finally:
            os.close(file)

    def _check_budget(self, needed_bytes: int) -> None:
        used = self._index.totals()[2] + folders.session_blocks(self._folder)[1]
        if used > self._bytes_max:
            why = f"{used - needed_bytes:,} of the budget of {self._bytes_max:,} are in use"
            raise folders.memory_full(self._folder, needed_bytes, why)

    def _copied(self, columns: Any) -> BlockReservation:
        from neural_gpu_bus.memory.given_columns import (
            copy_into,
            flat_table,
            null_counts,
            text_bytes,
        )

        table = flat_table(columns)
        reservation = self.reserve(
            table.schema,
            table.num_rows,
            text_bytes=text_bytes(table),
            null_counts=null_counts(table),
        )
        try:
            copy_into(reservation, table)
        except BaseException:
            reservation.abandon()
            raise
        return reservation

    def _seal(self, reservation: BlockReservation, name: str | None) -> Frame:
        path, layout = reservation.path, reservation.layout
        descriptor = BlockDescriptor(
            name=name or "",
            version=0,
            path=f"{folders.DATASETS}/{path.name}"
            if name
            else f"{path.parent.parent.name}/{path.parent.name}/{path.name}",
            uuid=reservation.uuid,
            rows=layout.rows,
            nbytes=layout.nbytes,
            columns=tuple(ColumnDescriptor(c.name, c.type, c.nulls) for c in layout.columns),
            created_ns=self._clock_ns(),
            host=folders.host_identity(),
        )
        path.chmod(_SEALED_MODE)
        file = os.open(path, os.O_RDONLY)
        try:
            mapping = FileMapping(file, layout.nbytes)
        finally:
            os.close(file)
        if name is None:
            weakref.finalize(mapping, folders.remove_own, path, os.getpid())
        else:
            descriptor = self._publish(descriptor, path)
        frame = Frame(descriptor, self._folder, mapping.array(), layout.columns)
        self._attached[descriptor.uuid] = frame
        return frame

    def _publish(self, descriptor: BlockDescriptor, path: Path) -> BlockDescriptor:
        target = self._folder / descriptor.path
        try:
            published, gone = self._index.publish(descriptor, lambda: path.rename(target))
        except BaseException:
            folders.remove(target)
            raise
        self._remove(gone)
        self._kept.pop(descriptor.name, None)
        return published

    def _get_newest(self, name: str) -> Frame:
        self._forget_stale()
        for _ in range(GET_ATTEMPTS_MAX):
            raw = self._index.newest(name)
            if raw is None:
                raise self._not_found(name)
            descriptor = msgspec.msgpack.decode(raw, type=BlockDescriptor)
            with suppress(DatasetEvictedError):  # replaced between the two looks: look again
                frame = self.attach(descriptor)
                self._kept[name] = raw, frame
                while len(self._kept) > FRAMES_KEPT_MAX:
                    self._kept.popitem(last=False)
                return frame
        return self.attach(descriptor)

    def _get_version(self, name: str, version: int) -> Frame:
        descriptor = self._index.version(name, version)
        if descriptor is not None:
            return self.attach(descriptor)
        if self._index.newest(name) is None:
            raise self._not_found(name)
        raise DatasetEvictedError(
            f"version {version} of {name!r} is not kept",
            hint="get the newest without a version",
            name=name,
            version=version,
        )

    def _forget_stale(self) -> None:
        """Let go of kept frames that somebody replaced or dropped, so their memory is freed."""
        for name, (raw, _) in list(self._kept.items()):
            if self._index.newest(name) != raw:
                self._kept.pop(name, None)

    def _own_session(self) -> folders.Session:
        if self._session is None:
            with self._index.exclusive():
                self._session = self._session or folders.Session(self._folder)
        return self._session

    def _remove(self, gone: list[BlockDescriptor]) -> None:
        for block in gone:
            folders.remove(self._folder / block.path)

    def _not_found(self, name: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            f"no dataset {name!r} in memory",
            hint=did_you_mean(name, self.names(), "`ngb memory` lists what there is"),
            name=name,
        )

    def reopen_after_fork(self) -> None:
        """In a child made by fork: leave the parent's session and index alone, open our own."""
        if self._session is not None:
            self._session.forget()
            self._session = None
        self._index = Index(self._folder)


def _after_fork_in_child() -> None:
    for memory in list(_living):
        memory.reopen_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
