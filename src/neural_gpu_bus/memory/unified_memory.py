"""UnifiedMemory: blocks in a folder of shared memory, found by name or descriptor."""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from neural_gpu_bus.arguments import check_whole_number
from neural_gpu_bus.descriptors import BlockDescriptor, DatasetFacts, MemoryStatistics, Region
from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.memory.accounting.regions import check_region
from neural_gpu_bus.memory.catalog.eviction import DEFAULT_POLICY
from neural_gpu_bus.memory.catalog.index import decode
from neural_gpu_bus.memory.catalog.names import check_given_name, check_version
from neural_gpu_bus.memory.files import folder as folders
from neural_gpu_bus.memory.frames.frame import Frame, attach_frame
from neural_gpu_bus.memory.frames.kept_frames import HITS_TOLD_AT
from neural_gpu_bus.memory.growing import GrowingColumns
from neural_gpu_bus.memory.known import known_facts, known_statistics
from neural_gpu_bus.memory.layout.arrow_layout import plan_block
from neural_gpu_bus.memory.memory_use import MemoryUse
from neural_gpu_bus.memory.writing.block_writer import BlockWriter
from neural_gpu_bus.memory.writing.reservation import BlockReservation
from neural_gpu_bus.ports import RESULT_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

#: Looks at the index before a name whose blocks keep vanishing counts as evicted. Each look loses
#: only to two whole new versions published meanwhile.
GET_ATTEMPTS_MAX = 10
#: Names on each side of an unknown one that are compared with it, for its hint: 0.5 ms.
NAMES_COMPARED = 64


class UnifiedMemory:
    """Layer 2 of one process. See ``ports.Memory`` for the contract.

    ``bytes_max`` bounds all blocks of all processes in that folder together, ``shares`` says what
    part of it each region has, ``group`` who else may use it, ``policy`` what goes first when it
    is full. Safe for threads. After fork the child goes on with a session of its own.
    """

    def __init__(
        self,
        folder: Path,
        bytes_max: int,
        *,
        shares: Mapping[Region, float] | None = None,
        group: str | None = None,
        policy: str = DEFAULT_POLICY,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._use = MemoryUse(
            folder, bytes_max, shares=shares, group=group, policy=policy, clock_ns=clock_ns
        )
        self._writer = BlockWriter(self._use)
        #: Tables that grow.
        self.growing = GrowingColumns(self._use)
        # Bound once, for the half microsecond in which ``get`` has to answer.
        self._get_kept = self._use.kept.get

    @property
    def folder(self) -> Path:
        """Where the blocks lie."""
        return self._use.folder

    # ---- write

    def reserve(
        self,
        schema: pa.Schema,
        rows: int,
        *,
        text_bytes: Mapping[str, int] | None = None,
        null_counts: Mapping[str, int] | None = None,
        list_values: Mapping[str, int] | None = None,
        dictionaries: Mapping[str, pa.Array[Any]] | None = None,
        region: Region = "shared",
        name: str | None = None,
        cleared: bool = True,
    ) -> BlockReservation:
        """Reserve a block to fill in place; see ``ports.Reserve``.

        Evicts what is worth least where the region's budget is spent. Not ``cleared``, its bytes
        may be those of an earlier block: for a writer who fills every one of them. Raises
        SharedMemoryFullError where nothing more can go, or the file system has no room;
        UnsupportedTypeError for a type that a block cannot hold.
        """
        check_region(region)
        rows = check_whole_number("rows", rows, 0)
        if name is not None:
            check_given_name(name)
        block = uuid.uuid4().hex
        layout = plan_block(
            schema,
            rows,
            uuid=block,
            text_bytes=text_bytes or {},
            null_counts=null_counts or {},
            list_values=list_values or {},
            dictionaries=dictionaries or {},
        )
        return self._writer.reserve(
            schema, layout, block, region=region, name=name, cleared=cleared
        )

    def put(
        self,
        name: str,
        columns: Mapping[str, Any] | pa.Table,
        *,
        region: Region = "shared",
        reload_ns: int = 0,
    ) -> Frame:
        """Copy columns once and publish them as the newest version of ``name``.

        ``reload_ns``: what making it again would cost; eviction goes by it.
        """
        check_given_name(name)
        return self._copied(columns, region).seal(name, reload_ns=reload_ns)

    def put_all(
        self,
        datasets: Mapping[str, Mapping[str, Any] | pa.Table],
        *,
        region: Region = "shared",
    ) -> dict[str, Frame]:
        """Publish several datasets in one step: a reader sees all of them, or none."""
        for name in datasets:
            check_given_name(name)
        reservations: list[BlockReservation] = []
        try:
            for name, columns in datasets.items():
                reservations.append(self._copied(columns, region, name))
        except BaseException:
            for reservation in reservations:
                reservation.abandon()
            raise
        return self._writer.publish(reservations)

    def publish(self, *reservations: BlockReservation, reload_ns: int = 0) -> dict[str, Frame]:
        """Seal reservations, each under its own name, in one step: all are seen, or none.

        Raises what ``seal`` raises; then none is published, and all are given back.
        """
        return self._writer.publish(reservations, reload_ns=reload_ns)

    def put_result(self, job_id: str, columns: pa.Table, *, reload_ns: int = 0) -> Frame:
        """Publish a job's result; see ``ports.Memory``."""
        reservation = self._copied(columns, "shared")
        return reservation.seal_reserved(RESULT_NAMES + job_id, reload_ns=reload_ns)

    def share(self, columns: Mapping[str, Any] | pa.Table) -> Frame:
        """Copy columns once into a block without a name; it goes with its last reference here."""
        return self._copied(columns, "shared").seal()

    def _copied(self, columns: Any, region: Region, name: str | None = None) -> BlockReservation:
        from neural_gpu_bus.memory.writing.given_columns import given_columns

        given = given_columns(columns, name or "")
        reservation = self.reserve(
            given.schema, given.rows, **given.sizes(), region=region, name=name, cleared=False
        )
        try:
            given.copy_into(reservation)
        except BaseException:
            reservation.abandon()
            raise
        return reservation

    # ---- read

    def get(self, name: str, version: int | None = None) -> Frame:
        """The newest version of a dataset, or that one while it is kept.

        Raises DatasetNotFoundError for an unknown name, DatasetEvictedError for an old version, or
        one that had to make room.
        """
        if version is not None:
            check_version(version)
            return self._get_version(name, version)
        try:
            kept = self._get_kept(name)
        except TypeError:  # a list is no name: told below
            kept = None
        if kept is not None and kept.counters[kept.place] == kept.number:
            frame = kept.frame()
            if frame is not None:
                kept.hits = hits = kept.hits + 1
                if hits >= HITS_TOLD_AT:
                    self._use.tell(kept)
                return frame
        return self._get_newest(name)

    def attach(self, descriptor: BlockDescriptor) -> Frame:
        """The very block of a descriptor; DatasetEvictedError where it is gone."""
        use = self._use
        frame = use.attached.get(descriptor.uuid)
        if frame is None or frame.descriptor != descriptor:
            use.session.counters.attaches += 1
            try:
                frame = attach_frame(use.folder, descriptor)
            except DatasetEvictedError:
                use.session.counters.attach_misses += 1
                raise
            use.attached[descriptor.uuid] = frame
        return frame

    def _get_newest(self, name: str) -> Frame:
        use = self._use
        use.forget_stale()
        clock = use.index.clock
        for _ in range(GET_ATTEMPTS_MAX):
            place = clock.place(name)
            number = clock.counters[place]  # before the index is asked
            raw = use.index.newest(name)
            if raw is None:
                use.session.counters.shared.misses += 1
                raise self._not_found(name)
            descriptor = decode(raw)
            with suppress(DatasetEvictedError):  # replaced between the two looks: look again
                frame = self.attach(descriptor)
                if not number & 1:
                    use.kept.keep(name, frame, clock.counters, place, number)
                use.count_hits(descriptor, 1)
                return frame
        return self.attach(descriptor)

    def _get_version(self, name: str, version: int) -> Frame:
        descriptor = self._use.index.version(name, version)
        if descriptor is not None:
            self._use.count_hits(descriptor, 1)
            return self.attach(descriptor)
        if self._use.index.newest(name) is None:
            raise self._not_found(name)
        for frame in list(self._use.attached.values()):
            if frame.descriptor.name == name and frame.descriptor.version == version:
                return frame  # nobody can find it any more, but it lives here
        raise DatasetEvictedError(
            f"version {version} of {name!r} is not kept: the newest two are",
            hint="get the newest without a version; hold a frame to keep its version",
            name=name,
            version=version,
        )

    def pin(self, frame: Frame) -> Frame:
        """The same bytes under a path that lasts while the frame returned is held.

        For a queued job: its input stays attachable though the dataset is replaced or dropped. A
        second link to the file, so nothing is copied, and the kernel counts. It goes with this
        process at the latest. Raises DatasetEvictedError where the file is gone already.
        """
        if not frame.descriptor.name:
            return frame
        folder = self._use.folder
        own = f"{self._use.session.corner.name}/{uuid.uuid4().hex}.arrow"
        with suppress(FileNotFoundError):  # told by attaching
            (folder / own).hardlink_to(folder / frame.descriptor.path)
        pinned = attach_frame(folder, msgspec.structs.replace(frame.descriptor, path=own))
        weakref.finalize(pinned, folders.remove_own, folder / own, os.getpid())
        return pinned

    # ---- names

    def keep(self, name: str, *, forever: bool = True) -> None:
        """Never evict this dataset, nor its next versions; ``forever=False`` takes that back.

        DatasetNotFoundError if unknown.
        """
        if not self._use.index.set_pinned(name, pinned=forever):
            raise self._not_found(name)

    def drop(self, name: str) -> None:
        """Forget all versions of a dataset; views live on. DatasetNotFoundError if unknown."""
        gone = self._use.index.drop(name)
        self._use.kept.forget(name)
        if not gone:
            raise self._not_found(name)
        self._use.remove(gone)

    def drop_result(self, block: BlockDescriptor) -> None:
        """Forget a job's result while that very block is its newest; see ``ports.Memory``."""
        if gone := self._use.index.drop(block.name, newest_uuid=block.uuid):
            self._use.kept.forget(block.name)
            self._use.remove(gone)

    def names(self) -> list[str]:
        """Names of all datasets, sorted."""
        return self._use.index.names()

    def blocks(self, prefix: str) -> list[BlockDescriptor]:
        """Newest blocks of all names that begin so; nothing is attached."""
        return self._use.index.blocks(prefix)

    def facts(self, prefix: str = "", *, mapped: bool = False) -> list[DatasetFacts]:
        """What is known of every dataset whose name begins so; nothing is attached.

        With ``mapped`` also which processes have each mapped.
        """
        self._use.tell_all()
        return known_facts(self._use, prefix, mapped=mapped)

    def budget(self, region: Region) -> int:
        """Bytes that a region may hold."""
        return self._use.budgets[region]

    def statistics(self) -> MemoryStatistics:
        """All processes together, at this moment. Others' finds may be told 256 late."""
        self._use.tell_all()
        return known_statistics(self._use)

    def holds(self, uuid: str) -> bool:
        """Whether that block is a version of some dataset, or somebody here looks at it."""
        use = self._use
        return uuid in use.attached or use.index.has_block(bytes.fromhex(uuid))

    def count_use(self, engine: str, blocks: Iterable[BlockDescriptor]) -> None:
        """A job on that engine used these blocks."""
        use = self._use
        now_ns = use.clock_ns()
        for block in blocks:
            use.session.counters.uses[engine] += 1
            use.index.ledger.count(block, 1, now_ns)
        use.session.counters.write_down()

    def close(self) -> None:
        """Give up this process's blocks without a name, and the index. Frames stay readable."""
        self._use.close()

    def _not_found(self, name: str) -> DatasetNotFoundError | DatasetEvictedError:
        gone = self._use.index.evicted(name)
        if gone is not None:
            ago_s = (self._use.clock_ns() - gone.evicted_ns) / 1e9
            return DatasetEvictedError(
                f"{name!r} version {gone.version} ({gone.nbytes:,} bytes) was evicted "
                f"{ago_s:.1f} s ago to make room (policy {gone.policy})",
                hint="load it again; plane.keep(name) keeps a dataset from being evicted",
                name=name,
                version=gone.version,
            )
        near = self._use.index.names_near(name, NAMES_COMPARED)
        return DatasetNotFoundError(
            f"no dataset {name!r} in memory",
            hint=did_you_mean(
                name,
                near,
                "`ngb memory` lists what there is; private memory goes with the "
                "last process that has a plane open: `ngb up` keeps it",
            ),
            name=name,
        )
